package suppress_test

import (
	"context"
	"errors"
	"log/slog"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The reply of an upstream decides on the next message to that recipient, with a real
// relay, queue and upstream.
func TestRelayLearnsFromItsUpstream(t *testing.T) {
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case strings.Contains(c.Line, "<nobody@"):
			return relaytest.Answer{Text: "550 5.1.1 No such user"}
		case strings.Contains(c.Line, "<blocked@"):
			return relaytest.Answer{Text: "550 5.7.1 Blocked by policy: no such user"}
		}
		return relaytest.Answer{}
	}}
	up.Start()
	defer up.Close()
	quiet := slog.New(slog.DiscardHandler)
	sup := &suppress.List{Store: new(memory.Store), Logger: quiet}
	learned := make(chan string, 9)
	next := &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS(), Logger: quiet}
	defer next.Close()
	q := &queue.Queue{Spool: new(memory.Store), Next: next, Hostname: "relay.test", Logger: quiet, OnEvent: func(e queue.Event) {
		if to := learnFrom(t, sup, e); to != "" {
			learned <- to
		}
	}}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	defer wg.Wait()
	defer stop()

	r := relaytest.NewUnstartedRelay(t)
	r.Server.Forwarder, r.Server.AllowRecipient = q, sup.AllowRecipient
	r.Start()
	const content = "From: shop@acme.example\n\nHello.\n"
	send := func(to ...string) error { return r.Send("shop@acme.example", to, content) }
	for _, to := range []string{"nobody@example.net", "blocked@example.net", "bob@example.net"} {
		if err := send(to); err != nil {
			t.Fatalf("the first message to %s: %v", to, err)
		}
		if got := <-learned; got != to {
			t.Fatalf("learned of %s, want %s", got, to)
		}
	}

	var reply *textproto.Error
	if err := send("Nobody@EXAMPLE.net"); !errors.As(err, &reply) || reply.Code != 550 {
		t.Fatalf("the second message to nobody: got %v, want 550", err)
	}
	want := "5.1.1 RCPT TO: <nobody@example.net> is on the suppression list since " + time.Now().UTC().Format("2 January 2006") +
		": 127.0.0.1 replied 550 5.1.1 No such user"
	if reply.Msg != want {
		t.Errorf("the reply is\n%q, want\n%q", reply.Msg, want)
	}
	if err := send("blocked@example.net"); err != nil {
		t.Errorf("550 5.7.1 has suppressed a recipient: %v", err)
	}
	if err := send("bob@example.net"); err != nil {
		t.Errorf("a delivery has suppressed a recipient: %v", err)
	}
	if err := sup.Remove(t.Context(), "acme", "nobody@example.net"); err != nil {
		t.Fatal(err)
	}
	if err := send("nobody@example.net"); err != nil {
		t.Errorf("after Remove: %v", err)
	}
}

// learnFrom teaches a list what became of a recipient, and returns the recipient.
func learnFrom(t *testing.T, sup *suppress.List, e queue.Event) string {
	out, ok := eventOf(e)
	if !ok {
		return ""
	}
	if err := sup.Learn(context.Background(), []store.Event{out}); err != nil {
		t.Errorf("Learn: %v", err)
	}
	return out.Recipient
}

// eventOf returns the end of a recipient as a history has it.
func eventOf(e queue.Event) (out store.Event, ok bool) {
	var s queue.Subject
	switch e := e.(type) {
	case *queue.Delivered:
		out.Kind, out.Reply, s = store.EventDelivered, e.Reply, e.Subject
	case *queue.Bounced:
		out.Kind, out.Reply, s = store.EventHardBounced, e.Reply, e.Subject
	}
	out.Time, out.Received = time.Now().UTC().Truncate(time.Microsecond), s.Received
	out.ID, out.Mail, out.Tenant, out.Recipient = s.ID+"_1", s.ID, s.Tenant, s.Recipient
	return out, out.Kind != 0 && s.NoticeOf == ""
}
