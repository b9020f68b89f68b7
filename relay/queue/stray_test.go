package queue_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A request of a webhook in the Spool of mail is neither sent nor given up, also if its
// destination is suspended and it is too old. Package relay/webhook tests the rest.
func TestRequestOfSuspendedDestination(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Destination = func(to string) string { return to }
	}, func(b *bench) {
		b.pass(time.Minute)
		now := time.Now().UTC()
		m := store.Mail{Tenant: "acme", EnvelopeID: "06ekx_1_0", Received: now.Add(-100 * time.Hour), Size: 2}
		m.ID = hook.ID(m.Tenant, m.EnvelopeID, m.Received)
		d := store.Delivery{Recipient: "shop@acme", Destination: "shop@acme", Next: now}
		if err := b.spool.Put(t.Context(), m, []store.Delivery{d}, strings.NewReader("{}")); err != nil {
			t.Fatal(err)
		}
		if err := b.spool.Suspend(t.Context(), store.Suspension{Destination: "shop@acme", Since: now, Until: now, Tried: now}); err != nil {
			t.Fatal(err)
		}
		b.pass(24 * time.Hour)
		b.wantDepth(1)
		if got := b.sink.all(); len(got) != 0 {
			t.Errorf("%d messages were sent, want none", len(got))
		}
		if e := of[*queue.Expired](b.events); len(e) != 0 {
			t.Errorf("%d recipients have expired, want none", len(e))
		}
	})
}

// A queue of mail takes no request.
func TestForwardOfRequest(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		m := message(1, "", "shop@acme")
		m.Options.EnvelopeID = "06ekx_1_0"
		m.ID = hook.ID(m.Identity.Tenant, m.Options.EnvelopeID, m.Received)
		if err := b.q.Forward(b.Context(), m); err == nil || !strings.Contains(err.Error(), "set Sender.Queue.Spool") {
			t.Errorf("Forward = %v, want an error that says what to do", err)
		}
		b.wantDepth(0)
	})
}
