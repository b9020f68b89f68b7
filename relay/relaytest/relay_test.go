package relaytest_test

import (
	"errors"
	"fmt"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

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

// If a field that Serve needs is missing, the test fails with its name.
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
	return r.Send(from, []string{to}, "From: "+from+"\nTo: "+to+"\n\n"+text+"\n")
}

// A refusal is the reply that the client got.
func TestSendRefused(t *testing.T) {
	r := relaytest.NewRelay(t)
	var reply *textproto.Error
	err := send(r, "shop@evil.example", "bob@example.com", "hello")
	if !errors.As(err, &reply) || reply.Code != 550 || !strings.HasPrefix(reply.Msg, "5.7.1 ") {
		t.Errorf("got %v, want 550 5.7.1", err)
	}
}

// Without TLS Send logs in where the relay allows that.
func TestSendWithoutTLS(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	r.Server.TLSConfig, r.Server.InsecureAuth = nil, true
	r.Start()
	if err := send(r, "shop@acme.example", "bob@example.com", "hello"); err != nil {
		t.Fatal(err)
	}
	if got := r.Wait(1); len(got) != 1 {
		t.Errorf("got %d messages, want 1", len(got))
	}
}

// Wait is for what is sent in the background.
func TestWait(t *testing.T) {
	r := relaytest.NewRelay(t)
	go send(r, "shop@acme.example", "bob@example.com", "first")
	go send(r, "shop@acme.example", "bob@example.com", "second")
	if got := r.Wait(2); len(got) != 2 {
		t.Errorf("got %d messages, want 2", len(got))
	}
}

// Wait gives up after a while. In a bubble that takes no time.
func TestWaitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := &failing{TB: t}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			new(relaytest.Recorder).Wait(tb, 1)
		}()
		<-ended
		if want := "relaytest: got 0 messages in 30s, want 1"; tb.fatal != want {
			t.Errorf("the test failed with %q, want %q", tb.fatal, want)
		}
	})
}
