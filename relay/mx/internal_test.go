package mx_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The servers of recipients are not the operator's: tenants read what such a server says,
// also at its greeting.
func TestTenantReadsGreeting(t *testing.T) {
	z := mailFor()
	z.mx["other.example"] = []string{"10 host.example."}
	z.addrs["host.example"] = []string{localhost}
	f := start(t, &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Text: "554 5.7.1 blocked"})}, z)
	spool, deferred := new(memory.Store), make(chan bool, 10)
	q := &queue.Queue{
		Spool: spool, Next: f, Destination: mx.Destination, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler), Record: true,
		OnEvent: func(e queue.Event) {
			if _, ok := e.(*queue.Deferred); ok {
				deferred <- true
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	m := message("r@other.example")
	m.Identity = credentials.Identity{Tenant: "acme", Username: "shop"}
	if err := q.Forward(ctx, m); err != nil {
		t.Fatal(err)
	}
	select {
	case <-deferred:
	case <-time.After(20 * time.Second):
		t.Fatal("the message was not deferred")
	}
	records, err := spool.Records(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		for _, e := range r.Events {
			if e.Kind == store.EventDeferred && (e.Reply.Text != "blocked" || store.IsInternal(e.Reason)) {
				t.Errorf("the event has the reason %q and the reply %v, want the words of the server", e.Reason, e.Reply)
			}
		}
	}
}
