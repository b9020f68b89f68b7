package e2e_test

import (
	"errors"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// startUpstream starts an upstream until the end of the test.
func startUpstream(t *testing.T, up *relaytest.Upstream) *relaytest.Upstream {
	t.Helper()
	up.Start()
	t.Cleanup(up.Close)
	return up
}

// announced returns the next line that the quickstart prints.
func (term *terminal) announced(t *testing.T) string {
	t.Helper()
	line, err := term.lines.ReadString('\n')
	if err != nil {
		t.Errorf("the quickstart announces %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// TestUpstream hands mail on, in each way that -upstream knows.
func TestUpstream(t *testing.T) {
	const username, password = "me@house.example", "up stream:/@"
	t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
	for name, tt := range map[string]struct {
		up            *relaytest.Upstream
		before, after string // around the address in the URL
	}{
		"STARTTLS": {&relaytest.Upstream{Username: username, Password: password}, "smtp://" + username + "@", "?tls=skip-verify"},
		"TLS":      {&relaytest.Upstream{Username: username, Password: password, ImplicitTLS: true}, "smtps://me%40house.example@", "?tls=skip-verify"},
		"no TLS":   {&relaytest.Upstream{Username: username, Password: password, NoTLS: true}, "smtp://" + username + "@", "?tls=none"},
		"no login": {&relaytest.Upstream{}, "smtp://", "?tls=skip-verify"},
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t, tt.up)
			dir := t.TempDir()
			term := openTerminal(t, dir, "-upstream", tt.before+up.Addr()+tt.after)
			if !strings.Contains(term.text, "\nMessages go to "+up.Addr()+". What happens:\n") {
				t.Errorf("it doesn't say where messages go:\n%s", term.text)
			}
			s := (&relay{access: term.access(t)}).submission(false)
			s.Text, s.Raw = texts[0].text, nil
			s.Raw = s.raw()
			if err := sendWithNetSMTP(s); err != nil {
				t.Fatal(err)
			}
			d := up.Deliveries()
			if len(d) != 1 {
				t.Fatalf("the upstream has %d messages", len(d))
			}
			checkWhole(t, d[0].Content, s.Raw)
			if d[0].From != s.From || len(d[0].To) != 1 || d[0].To[0].Address != s.To {
				t.Errorf("the upstream has it from %s to %v", d[0].From, d[0].To)
			}
			if d[0].Username != up.Username || (d[0].TLS == nil) != up.NoTLS {
				t.Errorf("it came from user %q, with TLS: %v", d[0].Username, d[0].TLS != nil)
			}
			want := regexp.MustCompile(`^handed on from <shop@mycompany\.example> to <customer@example\.com>, \d+ bytes: ` + regexp.QuoteMeta(up.Addr()) + `$`)
			if line := term.announced(t); !want.MatchString(line) {
				t.Errorf("it announces %q", line)
			}
			if _, err := os.Stat(filepath.Join(dir, "outbox")); err == nil {
				t.Error("there is an outbox, too")
			}
			term.interrupt(t)
		})
	}
}

// TestUpstreamRefuses sees what the client and the person at the terminal are
// told when a message can't be handed on.
func TestUpstreamRefuses(t *testing.T) {
	const password = "pass56word"
	t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
	nobody := func(c relaytest.Command) relaytest.Answer {
		if c.Line == "RCPT TO:<customer@example.com>" {
			return relaytest.Answer{Text: "550 5.1.6 customer has moved away"}
		}
		return relaytest.Answer{}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	const trouble = "4.3.0 not possible right now, try again later"
	for name, tt := range map[string]struct {
		up         *relaytest.Upstream // nil: there is none at the address
		query      string
		code       int
		reply      string
		announcing []string // parts of the lines
	}{
		"wrong password": {&relaytest.Upstream{Username: "me", Password: "another"}, "?tls=skip-verify", 451, trouble,
			[]string{"not accepted from <shop@mycompany.example> to <customer@example.com>: smarthost: 127.0.0.1: AUTH: the server replied 535 ", "message refused "}},
		"down": {nil, "?tls=skip-verify", 451, trouble,
			[]string{"not accepted from <shop@mycompany.example> to <customer@example.com>: smarthost: 127.0.0.1: connecting: ", "message refused "}},
		"unknown certificate": {&relaytest.Upstream{Username: "me", Password: password}, "", 451, trouble,
			[]string{": smarthost: 127.0.0.1: TLS handshake: tls: failed to verify certificate: ", "message refused "}},
		"no TLS": {&relaytest.Upstream{Username: "me", Password: password, NoTLS: true}, "", 451, trouble,
			[]string{": smarthost: 127.0.0.1: STARTTLS: the server doesn't offer it", "message refused "}},
		"recipient": {&relaytest.Upstream{Username: "me", Password: password, Script: nobody}, "?tls=skip-verify", 550,
			"5.1.6 <customer@example.com>: customer has moved away",
			[]string{": <customer@example.com>: customer has moved away"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := closed.Addr().String()
			if tt.up != nil {
				addr = startUpstream(t, tt.up).Addr()
			}
			term := openTerminal(t, t.TempDir(), "-upstream", "smtp://me@"+addr+tt.query)
			s := (&relay{access: term.access(t)}).submission(true)
			s.Raw = s.raw()
			var reply *textproto.Error
			if err := sendWithNetSMTP(s); !errors.As(err, &reply) || reply.Code != tt.code || reply.Msg != tt.reply {
				t.Errorf("the client is told %v, want %d %s", err, tt.code, tt.reply)
			}
			for _, want := range tt.announcing {
				line := term.announced(t)
				if !strings.Contains(line, want) {
					t.Errorf("it announces %q, want %q", line, want)
				}
				if strings.Contains(line, password) {
					t.Errorf("it shows the password: %q", line)
				}
			}
			if tt.up != nil && len(tt.up.Deliveries()) > 0 {
				t.Error("the message was handed on")
			}
			term.interrupt(t)
		})
	}
}
