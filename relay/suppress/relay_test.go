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

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The reply of an upstream decides on the next message to that recipient, with a real
// relay, queue, history and upstream.
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
	st := new(memory.Store)
	sup := &suppress.List{Store: st, History: st, Logger: quiet}
	learned := make(chan string, 9)
	hist := &history.History{Store: st, Logger: quiet, Publish: func(ctx context.Context, events []store.Event) error {
		err := sup.Learn(ctx, events)
		for _, e := range events {
			if err == nil && (e.Kind == store.EventDelivered || e.Kind == store.EventHardBounced) {
				learned <- e.Recipient
			}
		}
		return err
	}}
	next := &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS(), Logger: quiet}
	defer next.Close()
	q := &queue.Queue{Spool: st, Record: true, Next: next, Hostname: "relay.test", Logger: quiet}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	wg.Go(func() { hist.Run(ctx) })
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
