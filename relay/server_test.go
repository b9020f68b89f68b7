package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A wrong is a Forwarder whose fields are wrong.
type wrong struct{ relay.Forwarder }

func (wrong) Check() error { return errors.New("next: Forwarder.Addr is required") }

func TestServeSaysWhatIsMissing(t *testing.T) {
	creds := &credentials.Manager{Store: new(memory.Store)}
	next := relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })
	config := &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}
	old := config.Clone()
	old.MaxVersion = tls.VersionTLS11
	for _, test := range []struct {
		name string
		srv  *relay.Server
		want string
	}{
		{"no credentials", &relay.Server{Forwarder: next, TLSConfig: config}, "Server.Credentials is required"},
		{"no store", &relay.Server{Credentials: new(credentials.Manager), Forwarder: next, TLSConfig: config}, "Server.Credentials.Store is required"},
		{"no forwarder", &relay.Server{Credentials: creds, TLSConfig: config}, "Server.Forwarder is required"},
		{"wrong forwarder", &relay.Server{Credentials: creds, Forwarder: wrong{next}, TLSConfig: config}, "next: Forwarder.Addr is required"},
		{"no TLS", &relay.Server{Credentials: creds, Forwarder: next}, "Server.TLSConfig is required"},
		{"no certificate", &relay.Server{Credentials: creds, Forwarder: next, TLSConfig: new(tls.Config)}, "Server.TLSConfig has no certificate"},
		{"TLS too old", &relay.Server{Credentials: creds, Forwarder: next, TLSConfig: old}, "MaxVersion is less than TLS 1.2"},
		{"bad host name", &relay.Server{Credentials: creds, Forwarder: next, TLSConfig: config, Hostname: "a b"}, "not a host name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.srv.ListenAndServe("127.0.0.1:0")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("ListenAndServe: got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	r := relaytest.NewRelay(t)
	if err := new(relay.Server).ListenAndServe(r.Addr); err == nil || errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("ListenAndServe on a port in use: got %v, want an error", err)
	}
}

func TestServeAfterClose(t *testing.T) {
	r := relaytest.NewRelay(t)
	r.Server.Close()
	if err := r.Server.ListenAndServe("127.0.0.1:0"); !errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("ListenAndServe after Close: got %v, want ErrServerClosed", err)
	}
	var unused relay.Server
	if err := unused.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of a server that never served: got %v, want nil", err)
	}
	if err := unused.ListenAndServe("127.0.0.1:0"); !errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("ListenAndServe after Shutdown: got %v, want ErrServerClosed", err)
	}
}

func TestMessageCarriesTheEnvelope(t *testing.T) {
	r := relaytest.NewRelay(t)
	c := login(t, r)
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=q+2B1 SMTPUTF8", "250")
	c.cmd(`RCPT TO:<"b b"@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob+2B1@example.com`, "250")
	c.cmd("RCPT TO:<carol@example.com> NOTIFY=NEVER", "250")
	c.cmd("RCPT TO:<carol@example.com>", "250")
	c.cmd("DATA", "354")
	reply := c.cmd(hello+".", "250 2.0.0 accepted as ")
	m := r.Messages()[0]
	if want := "250 2.0.0 accepted as " + m.ID; reply != want {
		t.Errorf("got the reply %q, want %q", reply, want)
	}
	if want := "id " + m.ID + ";"; !bytes.Contains(m.Data, []byte(want)) {
		t.Errorf("got no %q in the Received line:\n%s", want, m.Data)
	}
	if m.From != "shop@acme.example" || m.Identity.Username != r.Username || m.Identity.Domain != r.Domain || !m.Remote.IsLoopback() {
		t.Errorf("got a message from %q, %+v, %v", m.From, m.Identity, m.Remote)
	}
	wantTo := []relay.Recipient{
		{Address: `"b b"@example.com`, Notify: []string{"SUCCESS", "FAILURE"}, OriginalRecipient: "RFC822;bob+1@example.com"},
		{Address: "carol@example.com", Notify: []string{"NEVER"}},
	}
	if !reflect.DeepEqual(m.To, wantTo) {
		t.Errorf("got the recipients\n%+v, want\n%+v", m.To, wantTo)
	}
	want := relay.Options{Body: "8BITMIME", UTF8: true, Return: "HDRS", EnvelopeID: "q+1"}
	if m.Options != want {
		t.Errorf("got the options %+v, want %+v", m.Options, want)
	}
	if !bytes.Contains(m.Data, []byte("with UTF8SMTPSA id")) {
		t.Errorf("got another protocol in the Received line:\n%s", m.Data)
	}
}

// A Forwarder's ReplyError is sent to the client. The text of any other error is not.
func TestForwarderErrorsAsReplies(t *testing.T) {
	remote := func(code int, enhanced, text string) error {
		return &relay.ReplyError{Code: code, Enhanced: enhanced, Text: text, Host: "mx.example.com"}
	}
	final := finalError{errors.New("secret detail")}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"plain", errors.New("secret detail"), "451 4.3.0 not possible right now, try again later"},
		{"final", final, "554 5.3.0 the message can't be delivered"},
		{"timeout", fmt.Errorf("secret: %w", context.DeadlineExceeded), "451 4.4.1 no reply in time, try again later"},
		{"remote", fmt.Errorf("secret: %w", remote(552, "5.2.2", "mailbox full")), "552 5.2.2 mailbox full"},
		{"made safe", remote(550, "4.1.1", "no\r\n250 \x00\x80user"), "550 5.0.0 no 250 ??user"},
		{"no text", remote(550, "5.1.1", ""), "550 5.1.1 "},
		{"no such class", remote(600, "5.1.1", "what"), "451 4.3.0 not possible right now, try again later"},
		{"no reply code", remote(250, "", "fine"), "451 4.3.0 not possible right now, try again later"},
		{"recipients", &relay.RefusedError{Recipients: []relay.RefusedRecipient{
			{Address: "a@example.com", Err: remote(450, "4.2.1", "busy")},
			{Address: "b@example.com", Err: remote(550, "5.1.1", "no such user")},
		}}, "550 5.1.1 <b@example.com> (and 1 more): no such user"},
		{"panic", nil, "451 4.3.0 not possible right now, try again later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := relaytest.NewUnstartedRelay(t)
			r.Server.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error {
				if test.err == nil {
					panic("secret detail")
				}
				return test.err
			})
			refused := refusals(r.Server)
			r.Start()
			c := login(t, r)
			c.envelope()
			c.cmd("DATA", "354")
			c.send(hello + ".\r\n")
			if got := c.reply(); got != test.want {
				t.Errorf("got the reply %q, want %q", got, test.want)
			}
			field, to := relay.FieldData, []string{"bob@example.com"}
			if test.name == "recipients" {
				field, to = relay.FieldRcptTo, []string{"a@example.com", "b@example.com"}
			}
			if e := <-refused; e.Field != field || !slices.Equal(e.To, to) {
				t.Errorf("got an event about %s %q, want %s %q", e.Field, e.To, field, to)
			}
			c.cmd("NOOP", "250")
		})
	}
}

// The event about a malformed address names the address in printable ASCII.
func TestEventsNameMalformedAddresses(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	refused := refusals(r.Server)
	r.Start()
	c := login(t, r)
	c.cmd("MAIL FROM:<shop@acme..example>", "501 5.1.7")
	c.cmd("MAIL FROM:<shop@acme.example>", "250")
	c.cmd("RCPT TO:<bob\x1b@ex&ample.com>", "501 5.1.3")
	c.cmd("RCPT TO:<bob@"+strings.Repeat("x", 300)+">", "501 5.1.3")
	if e := <-refused; e.From != "shop@acme..example" {
		t.Errorf("got an event about the sender %q, want shop@acme..example", e.From)
	}
	if e := <-refused; !slices.Equal(e.To, []string{"bob?@ex&ample.com"}) || e.From != "shop@acme.example" {
		t.Errorf("got an event about the recipient %q, from %q", e.To, e.From)
	}
	if e := <-refused; len(e.To) != 1 || len(e.To[0]) != 254 {
		t.Errorf("got an event about the recipients %q, want one of 254 bytes", e.To)
	}
}

// refusals returns the MessageRefused events of a server that is not started yet.
func refusals(s *relay.Server) <-chan *relay.MessageRefused {
	c := make(chan *relay.MessageRefused, 10)
	s.OnEvent = func(e relay.Event) {
		if e, ok := e.(*relay.MessageRefused); ok {
			c <- e
		}
	}
	return c
}

type finalError struct{ error }

func (finalError) Temporary() bool { return false }

// A reset or a deletion ends the session at once. After a reset on another node no
// further message of the session is accepted.
func TestRevokedSessions(t *testing.T) {
	for _, test := range []struct {
		name   string
		revoke func(credentials.Tenant, *relaytest.Relay) error
	}{
		{"reset", func(acme credentials.Tenant, r *relaytest.Relay) error {
			_, err := acme.ResetPassword(context.Background(), r.Username)
			return err
		}},
		{"user deleted", func(acme credentials.Tenant, r *relaytest.Relay) error {
			return acme.DeleteUser(context.Background(), r.Username)
		}},
		{"domain deleted", func(acme credentials.Tenant, r *relaytest.Relay) error {
			return acme.DeleteDomain(context.Background(), r.Domain)
		}},
	} {
		t.Run(test.name+" here", func(t *testing.T) {
			r := relaytest.NewRelay(t)
			c := login(t, r)
			c.envelope()
			c.cmd("DATA", "354")
			c.send("From: shop@acme.example\r\n\r\nhalf")
			if err := test.revoke(r.Credentials.Tenant(r.Tenant), r); err != nil {
				t.Fatal(err)
			}
			c.want("421 4.7.0")
			if got := c.readLine(); got != "EOF" {
				t.Errorf("the session goes on with %q", got)
			}
			again := dial(t, r, true)
			again.want("220")
			again.cmd("EHLO client.test", "250")
			again.cmd(expand(r, "AUTH PLAIN $plain"), "535 5.7.8")
		})
		other := func(r *relaytest.Relay) credentials.Tenant {
			m := &credentials.Manager{Store: r.Credentials.Store, Cost: r.Credentials.Cost}
			return m.Tenant(r.Tenant)
		}
		t.Run(test.name+" on another node, before MAIL", func(t *testing.T) {
			r := relaytest.NewRelay(t)
			c := login(t, r)
			if err := test.revoke(other(r), r); err != nil {
				t.Fatal(err)
			}
			c.cmd("MAIL FROM:<shop@acme.example>", "421 4.7.0")
		})
		t.Run(test.name+" on another node, after the data", func(t *testing.T) {
			r := relaytest.NewRelay(t)
			c := login(t, r)
			c.envelope()
			c.cmd("DATA", "354")
			if err := test.revoke(other(r), r); err != nil {
				t.Fatal(err)
			}
			c.cmd(hello+".", "421 4.7.0")
			if n := len(r.Messages()); n != 0 {
				t.Errorf("got %d messages, want none", n)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	var mu sync.Mutex
	var events []relay.Event
	var log bytes.Buffer
	r.Server.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	r.Server.OnEvent = func(e relay.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	r.Start()
	c := dial(t, r, true)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd("AUTH PLAIN AG5vYm9keQB3cm9uZw==", "535")
	c.cmd("AUTH PLAIN AEFQQVNTV09SRABzZWNyZXQ=", "535") // the username is APASSWORD
	c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
	c.deliver()
	c.cmd("MAIL FROM:<a@evil.example>", "550")
	if _, err := r.Credentials.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
		t.Fatal(err)
	}
	c.want("421")
	if got := c.readLine(); got != "EOF" {
		t.Errorf("the session goes on with %q", got)
	}

	r.Server.Shutdown(t.Context())
	mu.Lock()
	defer mu.Unlock()
	id := r.Messages()[0].ID
	want := []string{
		`*relay.LoginRefused username=nobody | cause="unknown user" | code=535`,
		`*relay.LoginRefused username="(no username)" | cause="unknown user" | code=535`,
		`*relay.LoggedIn mechanism=PLAIN | tls="TLS 1.3"`,
		`*relay.MessageAccepted id=` + id + ` | from=shop@acme.example | recipients=1`,
		`*relay.MessageRefused field="MAIL FROM" | code=550`,
		`*relay.SessionCutOff reason="credentials reset or deleted"`,
		`*relay.SessionEnded code=421 | reason="the password was reset or the user deleted, log in again" | commands=8 | logins_refused=2 | accepted=1 | refused=1`,
	}
	if len(events) != len(want) {
		t.Fatalf("got %d events, want %d:\n%s", len(events), len(want), &log)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for i, e := range events {
		kind, attrs, _ := strings.Cut(want[i], " ")
		if got := fmt.Sprintf("%T", e); got != kind {
			t.Errorf("event %d is a %s, want a %s", i, got, kind)
		}
		for _, attr := range strings.Split(attrs, " | ") {
			if !strings.Contains(lines[i], attr) {
				t.Errorf("got the log line %d\n%s, want %s in it", i, lines[i], attr)
			}
		}
	}
	for _, secret := range []string{r.Password, "=wrong", "APASSWORD", "secret"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("got %q in the log:\n%s", secret, &log)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

func TestCloseEndsForwardsInProgress(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	begun, ended := make(chan struct{}), make(chan struct{})
	r.Server.Forwarder = relay.ForwarderFunc(func(ctx context.Context, _ *relay.Message) error {
		close(begun)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	r.Start()
	c := login(t, r)
	c.envelope()
	c.cmd("DATA", "354")
	c.send(hello + ".\r\n")
	<-begun
	r.Server.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("got no end of the context of Forward after Close")
	}
}

// Replies to pipelined commands are sent in one packet (RFC 2920).
func TestRepliesAreGathered(t *testing.T) {
	r := relaytest.NewRelay(t)
	c := login(t, r)
	c.send("MAIL FROM:<shop@acme.example>\r\nRCPT TO:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
	buf := make([]byte, 4096)
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.conn.Read(buf)
	if err != nil || strings.Count(string(buf[:n]), "\r\n") != 4 {
		t.Errorf("the first read got %q, %v; want four replies", buf[:n], err)
	}
}
