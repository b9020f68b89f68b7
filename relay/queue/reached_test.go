package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// After an outage, mail goes on when the server has accepted MAIL of a probe, and not
// when it has taken the probe's content.
func TestProbeWithALargeContent(t *testing.T) {
	var after error // how the probe ends
	var down, probed atomic.Bool
	setUp := func(b *bench) {
		down.Store(true)
		probed.Store(false)
		b.q.Destination = domainOf
		b.q.Retry = func(int) time.Duration { return time.Second }
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			switch {
			case down.Load():
				return unreachable{}
			case probed.CompareAndSwap(false, true):
				time.Sleep(time.Second)
				m.OnReached()
				time.Sleep(20 * minute)
				return after
			}
			return nil
		}
	}
	const n = 50
	inBubble(t, setUp, func(b *bench) {
		b.forward(message(0, "a@acme.example", "r@example.com"))
		for i := range n {
			b.forward(message(i+1, "a@acme.example", fmt.Sprintf("r%d@example.com", i)))
		}
		b.pass(100 * time.Millisecond)
		down.Store(false)
		b.pass(10 * time.Second)
		b.wantDepth(1) // the probe
		if len(of[*queue.Resumed](b.events)) != 1 {
			t.Error("no event says that the destination is back")
		}
		b.pass(30 * minute)
		b.wantDepth(0)
	})

	// If the server is gone by the end, the destination is suspended again.
	after = unreachable{}
	inBubble(t, setUp, func(b *bench) {
		b.forward(message(0, "a@acme.example", "r@example.com"))
		b.pass(100 * time.Millisecond)
		down.Store(false)
		b.pass(10 * minute)
		list, err := b.spool.Suspensions(b.Context())
		if err != nil || len(list) != 0 {
			t.Errorf("while the probe is sent, %d destinations are suspended, want none (%v)", len(list), err)
		}
		b.pass(10*minute + 10*time.Second)
		if got := len(of[*queue.Suspended](b.events)); got != 2 {
			t.Errorf("%d events say that the destination is suspended, want 2", got)
		}
		b.pass(minute)
		b.wantDepth(0)
	})
}
