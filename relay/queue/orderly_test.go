package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// wantUntried checks that the only delivery is free and counts no attempt and no death.
func (b *bench) wantUntried() {
	b.Helper()
	list := b.deliveries()
	if len(list) != 1 {
		b.Fatalf("the spool holds %d deliveries, want 1", len(list))
	}
	if d := list[0].Delivery; d.Node != "" || d.Attempts != 0 || d.Deaths != 0 {
		b.Errorf("node %q, %d attempts, %d deaths, want none", d.Node, d.Attempts, d.Deaths)
	}
}

func TestStopDuringLease(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com")) // Run does not work yet
		b.q.Spool = &badSpool{Spool: b.spool, lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
			time.Sleep(time.Second)
			return lease()
		}}
	}, func(b *bench) {
		if err := b.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		b.pass(3 * time.Second)
		b.wantUntried()
	})
}

func TestStopWhileNextHasNoSlot(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error {
			time.Sleep(time.Second)
			return &relay.BusyError{Free: make(chan struct{})}
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(100 * time.Millisecond)
		began := time.Now()
		if err := b.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Run ended after %v, want the one second that the attempt takes", took)
		}
		b.wantUntried()
	})
}

// A message finds no slot after its destination has gone down. It waits in the spool,
// where a person can cancel it.
func TestNoSlotAfterDestinationWentDown(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Destination = domainOf
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.To[0].Address != "late@dead.example" {
				time.Sleep(time.Second)
				return unreachable{}
			}
			time.Sleep(1500 * time.Millisecond)
			free := make(chan struct{})
			close(free)
			return &relay.BusyError{Free: free}
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@dead.example"))
		b.forward(message(2, "a@acme.example", "late@dead.example"))
		b.pass(4 * time.Second)
		admin := &queue.Admin{Queue: b.q}
		late := queue.Selection{Filter: store.Filter{Recipient: "late@dead.example"}}
		changes(t, "Cancel", queue.Changed{Done: 1}, func() (queue.Changed, error) { return admin.Cancel(b.Context(), late, "", false) })
	})
}
