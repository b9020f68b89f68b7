package relaytest_test

import (
	"fmt"
	"net/smtp"
	"runtime"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func TestRelayRecords(t *testing.T) {
	r := relaytest.NewRelay(t)
	for _, test := range []struct {
		name, from string
		ok         bool
	}{
		{"allowed", "shop@acme.example", true},
		{"another domain", "shop@evil.example", false},
	} {
		before := len(r.Messages())
		err := send(r, test.from, "bob@example.com", "hello")
		if (err == nil) != test.ok {
			t.Errorf("%s: sending: %v", test.name, err)
		}
		if got := len(r.Messages()) > before; got != test.ok {
			t.Errorf("%s: recorded %v, want %v", test.name, got, test.ok)
		}
	}
}

// What is missing for Serve fails the test, and says what it is.
func TestRelayServeFails(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*relay.Server)
	}{
		{"relaytest: relay: Server.Credentials is required", func(s *relay.Server) { s.Credentials = nil }},
		{"relaytest: relay: Server.Forwarder is required", func(s *relay.Server) { s.Forwarder = nil }},
	} {
		tb := &failing{TB: t}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := relaytest.NewUnstartedRelay(tb)
			test.change(r.Server)
			r.Start()
		}()
		<-ended
		if tb.fatal != test.want {
			t.Errorf("the test failed with %q, want %q", tb.fatal, test.want)
		}
	}
}

// failing is a test that remembers what it failed with.
type failing struct {
	testing.TB
	fatal string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func send(r *relaytest.Relay, from, to, text string) error {
	c, err := smtp.Dial(r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(r.ClientTLS()); err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", r.Username, r.Password, "127.0.0.1")); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: %s\r\nTo: %s\r\n\r\n%s\r\n", from, to, text)
	return w.Close()
}
