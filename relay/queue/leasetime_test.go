package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// Lease is how long a dead node's work waits for another, and it is renewed in
// time by one that lives.
func TestLease(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lease  time.Duration
		dead   bool // to the Spool
		after  time.Duration
		others int
	}{
		{"short, alive", 3 * time.Second, false, 10 * minute, 0},
		{"short, dead, before its end", 3 * time.Second, true, 2 * time.Second, 0},
		{"short, dead", 3 * time.Second, true, 10 * time.Second, 1},
		{"default, dead, before its end", 0, true, queue.LeaseTime - time.Second, 0},
		{"default, dead", 0, true, queue.LeaseTime + 7*time.Second, 1},
		{"long, dead, before its end", 5 * minute, true, 4 * minute, 0},
		{"long, dead", 5 * minute, true, 5*minute + 7*time.Second, 1},
		{"negative is the default", -1, true, queue.LeaseTime - time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Lease = tt.lease
				b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(20 * minute); return nil }
				if tt.dead {
					down := errors.New("the line is down")
					b.q.Spool = &badSpool{
						Spool: b.spool,
						lease: func(context.Context, func() ([]store.Leased, error)) ([]store.Leased, error) { return nil, down },
						renew: func(context.Context, func() ([]store.Delivery, error)) ([]store.Delivery, error) { return nil, down },
					}
				}
			}, func(b *bench) {
				b.forward(message(1, "a@acme.example", "r@example.com"))
				other := newBench(t)
				other.q.Spool, other.q.Lease = b.spool, tt.lease
				other.start()
				b.pass(tt.after)
				if n := len(other.sink.all()); n != tt.others {
					t.Errorf("the other node handed on %d after %v, want %d", n, tt.after, tt.others)
				}
				b.pass(30 * minute)
				other.stop()
			})
		})
	}
}
