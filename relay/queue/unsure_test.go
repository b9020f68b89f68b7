package queue_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// A Put that fails, and is committed half a minute later, has leased deliveries to a
// node that doesn't know of them. They don't stay leased.
func TestPutThatIsCommittedLate(t *testing.T) {
	var late atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			if late.Load() {
				time.AfterFunc(30*time.Second, func() { put() })
				return errCut
			}
			return put()
		}}
	}, func(b *bench) {
		late.Store(true)
		if err := b.q.Forward(context.Background(), message(1, "a@acme.example", "r@example.com")); err == nil {
			t.Fatal("Forward succeeded")
		}
		late.Store(false)
		b.pass(5 * minute)
		b.wantDepth(0)
		if n := tries(b, "r@example.com"); n != 1 {
			t.Errorf("handed on %d times, want once", n)
		}
	})
}
