package smarthost_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

func TestTLS(t *testing.T) {
	for _, tc := range []struct {
		name   string
		up     *relaytest.Upstream
		mode   smarthost.TLSMode
		config func(trusting *tls.Config) *tls.Config
		want   string // in the error; "" for none
	}{
		{name: "STARTTLS", up: &relaytest.Upstream{}},
		{name: "implicit", up: &relaytest.Upstream{ImplicitTLS: true}, mode: smarthost.ImplicitTLS},
		{name: "none", up: &relaytest.Upstream{NoTLS: true}, mode: smarthost.NoTLS},
		{name: "none though offered", up: &relaytest.Upstream{}, mode: smarthost.NoTLS},
		{
			name: "unknown certificate", up: &relaytest.Upstream{},
			config: func(*tls.Config) *tls.Config { return nil },
			want:   "TLS handshake: tls: failed to verify certificate",
		},
		{
			name: "unknown certificate, implicit", up: &relaytest.Upstream{ImplicitTLS: true}, mode: smarthost.ImplicitTLS,
			config: func(*tls.Config) *tls.Config { return nil },
			want:   "TLS handshake: tls: failed to verify certificate",
		},
		{
			name: "certificate of another", up: &relaytest.Upstream{},
			config: func(c *tls.Config) *tls.Config { c.ServerName = "mail.example.com"; return c },
			want:   "TLS handshake: tls: failed to verify certificate",
		},
		{
			name: "not verified", up: &relaytest.Upstream{},
			config: func(*tls.Config) *tls.Config { return &tls.Config{InsecureSkipVerify: true} },
		},
		{name: "not offered", up: &relaytest.Upstream{NoTLS: true}, want: "STARTTLS: the server doesn't offer it"},
		{
			name: "refused", up: &relaytest.Upstream{Script: on("STARTTLS", relaytest.Answer{Text: "554 5.7.0 Not today"})},
			want: "STARTTLS: the server replied 554 5.7.0 Not today",
		},
		{
			name: "replies before TLS", // to be taken for replies under TLS
			up:   &relaytest.Upstream{Script: on("STARTTLS", relaytest.Answer{Text: "220 Go ahead\r\n250 smuggled"})},
			want: "STARTTLS: the server sent more than the reply",
		},
		{
			name: "no TLS after STARTTLS", up: &relaytest.Upstream{Script: on("STARTTLS", relaytest.Answer{Text: "220 Go\r\n", Close: true})},
			want: "TLS handshake: the server closed the connection",
		},
		{name: "plain where TLS is expected", up: &relaytest.Upstream{}, mode: smarthost.ImplicitTLS, want: "TLS handshake"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			f := start(t, tc.up)
			f.TLS, f.Logger = tc.mode, slog.New(slog.NewTextHandler(&log, nil))
			if tc.config != nil {
				f.TLSConfig = tc.config(f.TLSConfig)
			}
			err := forward(t, f, message(hello, "b@example.com"))
			d := tc.up.Received()
			if tc.want == "" {
				if err != nil || len(d) != 1 || (d[0].TLS != nil) != (tc.mode != smarthost.NoTLS) {
					t.Errorf("%v, %d deliveries", err, len(d))
				}
				return
			}
			wantTemporary(t, err, "127.0.0.1", tc.want)
			if len(d) != 0 {
				t.Error("delivered")
			}
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "smarthost: TLS with the upstream fails") {
				t.Errorf("log: %s", &log)
			}
		})
	}
}

const secret = "sup3r+Geheim"

func TestAuth(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	plain := base64.StdEncoding.EncodeToString([]byte("\x00relay\x00" + secret))
	for _, tc := range []struct {
		name string
		up   *relaytest.Upstream
		mode smarthost.TLSMode
		auth string // what the upstream is to see, without the secrets
		want string // in the error; "" for none
	}{
		{name: "PLAIN", auth: "AUTH PLAIN " + plain},
		{name: "PLAIN is preferred", up: &relaytest.Upstream{Mechanisms: []string{"LOGIN", "XOAUTH2", "PLAIN"}}, auth: "AUTH PLAIN " + plain},
		{name: "LOGIN", up: &relaytest.Upstream{Mechanisms: []string{"LOGIN"}}, auth: "AUTH LOGIN"},
		{name: "no TLS, as asked for", up: &relaytest.Upstream{NoTLS: true}, mode: smarthost.NoTLS, auth: "AUTH PLAIN " + plain},
		{name: "never before TLS", up: &relaytest.Upstream{NoTLS: true}, want: "STARTTLS"},
		{
			name: "unknown mechanisms", up: &relaytest.Upstream{Mechanisms: []string{"CRAM-MD5"}},
			want: "AUTH: the server offers neither PLAIN nor LOGIN",
		},
		{
			name: "not offered", up: &relaytest.Upstream{Script: on("EHLO", relaytest.Answer{Text: "250-x\r\n250 STARTTLS"})},
			want: "AUTH: the server doesn't offer it",
		},
		{
			name: "wrong password", up: &relaytest.Upstream{Password: "another"}, auth: "AUTH PLAIN " + plain + "; AUTH LOGIN",
			want: "AUTH: the server replied 535 5.7.8 Authentication failed",
		},
		{
			name: "wrong password, PLAIN", up: &relaytest.Upstream{Password: "another", Mechanisms: []string{"PLAIN"}}, auth: "AUTH PLAIN " + plain,
			want: "AUTH: the server replied 535 5.7.8 Authentication failed",
		},
		{
			name: "wrong password, LOGIN", up: &relaytest.Upstream{Password: "another", Mechanisms: []string{"LOGIN"}}, auth: "AUTH LOGIN",
			want: "AUTH: the server replied 535 5.7.8 Authentication failed",
		},
		{
			name: "a reply that repeats the password", auth: "AUTH PLAIN " + plain,
			up:   &relaytest.Upstream{Script: on("AUTH", relaytest.Answer{Text: "535 bad password " + secret})},
			want: "AUTH: the server's reply repeats the password",
		},
		{
			name: "a reply that repeats the response", auth: "AUTH PLAIN " + plain,
			up:   &relaytest.Upstream{Script: on("AUTH", relaytest.Answer{Text: "500 what is AUTH PLAIN " + plain + "?"})},
			want: "AUTH: the server's reply repeats the password",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := tc.up
			if up == nil {
				up = &relaytest.Upstream{}
			}
			rec := &recorder{then: up.Script}
			up.Username, up.Script = "relay", rec.script
			if up.Password == "" {
				up.Password = secret
			}
			var log bytes.Buffer
			f := start(t, up)
			f.TLS, f.Logger = tc.mode, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			f.Username, f.Password = "relay", credentials.NewPassword(secret)

			err := forward(t, f, message(hello, "b@example.com"))
			if got := strings.Join(rec.lines("AUTH"), "; "); got != tc.auth {
				t.Errorf("the upstream saw %q, not %q", got, tc.auth)
			}
			shown := log.String() + fmt.Sprint(err)
			if strings.Contains(shown, secret) || strings.Contains(shown, encoded) || strings.Contains(shown, plain) {
				t.Errorf("the password is shown: %s", shown)
			}
			if tc.want == "" {
				if d := up.Received(); err != nil || len(d) != 1 || d[0].Username != "relay" {
					t.Errorf("%v, %+v", err, d)
				}
				return
			}
			wantTemporary(t, err, "127.0.0.1", tc.want)
			if !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("log: %s", &log)
			}
		})
	}
}

// A Forwarder can be printed and logged, before and after it has logged in.
func TestPasswordIsNotShown(t *testing.T) {
	up := &relaytest.Upstream{Username: "relay", Password: secret}
	f := start(t, up)
	f.Username, f.Password = "relay", credentials.NewPassword(secret)
	for range 2 {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "forwarder", f)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "forwarder", f)
		shown := fmt.Sprintf("%v %+v %#v %s", f, f, f, &log)
		if strings.Contains(shown, secret) {
			t.Errorf("shown: %s", shown)
		}
		mustForward(t, f, message(hello, "b@example.com"))
	}
}
