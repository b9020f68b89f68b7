package smarthost_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A tenant reads nothing of a wrong setting of the smarthost, or of one that is unwell.
// The delivery has all of it, for the operator.
func TestTenantDoesNotReadSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		up   *relaytest.Upstream
		wrap func(*smarthost.Forwarder)
		want string // in the reason for the operator
	}{
		"password": {&relaytest.Upstream{Username: "relay", Password: secret}, func(f *smarthost.Forwarder) {
			f.Username, f.Password = "relay", credentials.NewPassword("wrong")
		}, "AUTH: the server replied 535"},
		"greeting":    {&relaytest.Upstream{Script: on(relaytest.Greeting, relaytest.Answer{Text: "554 5.7.1 blocked"})}, nil, "greeting: the server replied 554 5.7.1 blocked"},
		"certificate": {&relaytest.Upstream{}, func(f *smarthost.Forwarder) { f.TLSConfig = &tls.Config{} }, "TLS handshake"},
		"address":     {&relaytest.Upstream{}, func(f *smarthost.Forwarder) { f.Addr = "localhost" }, "Addr must be host:port"},
		"refused":     {&relaytest.Upstream{}, func(f *smarthost.Forwarder) { f.Addr = "127.0.0.1:1" }, "connecting"},
		"closing":     {&relaytest.Upstream{Script: on("RCPT", relaytest.Answer{Text: "421 4.3.2 closing\r\n", Close: true})}, nil, "421 4.3.2 closing"},
		"later":       {&relaytest.Upstream{Script: on("MAIL", relaytest.Answer{Text: "451 4.3.0 the account is over its quota"})}, nil, "451 4.3.0 the account is over its quota"},
		"doubt":       {&relaytest.Upstream{Script: on("MAIL", relaytest.Answer{Text: "550 5.7.1 the account is closed"})}, nil, "550 5.7.1 the account is closed"},
		"mail":        {&relaytest.Upstream{Script: on("MAIL", relaytest.Answer{Close: true})}, nil, "MAIL: the server closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, test.up)
			if test.wrap != nil {
				test.wrap(f)
			}
			events, d := deferOnce(t, f)
			if !strings.HasPrefix(d.Reason, store.InternalReason+": ") || !strings.Contains(d.Reason, test.want) {
				t.Errorf("the delivery has the reason %q, want %q in it", d.Reason, test.want)
			}
			wantNoSettings(t, events)
		})
	}
}

// wantNoSettings fails unless the events say no more than that a server has a problem.
func wantNoSettings(t *testing.T, events []store.Event) {
	t.Helper()
	found := false
	for _, e := range events {
		if e.Reply != (store.Reply{}) || e.Reason != "" && e.Reason != store.InternalReason {
			t.Errorf("the event has the reason %q and the reply %v, want nothing of the upstream", e.Reason, e.Reply)
		}
		found = found || e.Kind == store.EventDeferred && e.Reason == store.InternalReason
	}
	if !found {
		t.Errorf("no event says that the server has a problem: %v", events)
	}
}

// deferOnce sends a message by a queue until it is deferred. It returns what was recorded,
// and the delivery.
func deferOnce(t *testing.T, next relay.Forwarder) ([]store.Event, store.Delivery) {
	t.Helper()
	spool := new(memory.Store)
	ended, deferred := make(chan error), make(chan bool, 10)
	q := &queue.Queue{
		Spool: spool, Next: next, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler), Record: true,
		OnEvent: func(e queue.Event) {
			if _, ok := e.(*queue.Deferred); ok {
				deferred <- true
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- q.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	send := func(id string) {
		m := message(hello, "b@example.com")
		m.ID, m.Identity = id, credentials.Identity{Tenant: "acme", Username: "shop"}
		if err := q.Forward(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	send("first")
	select {
	case <-deferred:
	case <-time.After(20 * time.Second):
		t.Fatal("the message was not deferred")
	}
	send("second") // which waits if the destination is suspended
	events := recorded(t, spool)
	leased, err := spool.Deliveries(ctx, store.Filter{Mail: "first"}, store.Page{Limit: 1})
	if err != nil || len(leased) != 1 {
		t.Fatalf("got %d deliveries, %v", len(leased), err)
	}
	return events, leased[0].Delivery
}

func recorded(t *testing.T, spool *memory.Store) (events []store.Event) {
	t.Helper()
	records, err := spool.Records(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		events = append(events, r.Events...)
	}
	return events
}

// A reply to the message is the tenant's, also if the smarthost repeats it.
func TestTenantReadsReplyToMessage(t *testing.T) {
	t.Parallel()
	f := start(t, &relaytest.Upstream{Script: on("RCPT", relaytest.Answer{Text: "450 4.2.2 mailbox full"})})
	events, d := deferOnce(t, f)
	if !strings.Contains(d.Reason, "mailbox full") || store.IsInternal(d.Reason) {
		t.Errorf("the delivery has the reason %q", d.Reason)
	}
	for _, e := range events {
		if e.Kind == store.EventDeferred && e.Reply.Text != "mailbox full" {
			t.Errorf("the event has the reply %v", e.Reply)
		}
	}
}
