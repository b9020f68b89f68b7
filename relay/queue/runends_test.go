package queue_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

func TestRunEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		next  func(ctx context.Context) error
		most  time.Duration
		tries int64 // left in the spool
	}{
		{"idle", func(context.Context) error { return nil }, 0, 0},
		{"an attempt ends in time", func(context.Context) error { time.Sleep(3 * time.Second); return nil }, 4 * time.Second, 29},
		{"an attempt ends when told", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 11 * time.Second, 30},
		{"an attempt never ends", func(context.Context) error { time.Sleep(day); return nil }, 16 * time.Second, 30},
	} {
		for _, memory := range []int64{0, -1} {
			t.Run(fmt.Sprintf("%s, memory %d", test.name, memory), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)
					b.q.Workers, b.q.MaxMemory = 1, memory
					b.sink.script = func(ctx context.Context, _ *relay.Message) error { return test.next(ctx) }
					b.start()
					for i := range 30 {
						b.forward(message(i, "a@acme.example", "r@example.com"))
					}
					b.pass(time.Second)
					start := time.Now()
					if err := b.stop(); err != nil {
						t.Errorf("Run: %v", err)
					}
					if took := time.Since(start); took > test.most {
						t.Errorf("Run ended after %v, want at most %v", took, test.most)
					}
					b.wantDepth(test.tries)
					for _, l := range b.deliveries() {
						if l.Delivery.Node != "" || l.Delivery.Attempts != 0 || l.Delivery.Deaths != 0 {
							t.Errorf("a delivery is as follows, want it released and untouched: %+v", l.Delivery)
							break
						}
					}
					// Another takes over at once.
					other := newBench(t)
					other.q.Spool = b.spool
					other.start()
					b.pass(minute)
					b.wantDepth(0)
					other.stop()
					time.Sleep(2 * day) // for attempts that never end to end
				})
			})
		}
	}
}

// A Spool that blocks must not keep Run from ending.
func TestRunEndsWithASpoolThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.q.Spool = &badSpool{Spool: b.spool, settle: func(ctx context.Context, _ []store.Outcome, _ func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		b.start()
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(time.Second)
		start := time.Now()
		if err := b.stop(); err == nil {
			t.Error("Run returned nil, want an error: there is a lease that it couldn't settle")
		}
		if took := time.Since(start); took > minute {
			t.Errorf("Run ended after %v, want less than a minute", took)
		}
	})
}

func TestRunTwice(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		if err := b.q.Run(t.Context()); err == nil || err.Error() != "queue: Run is being called already" {
			t.Errorf("a second Run at the same time returned %v", err)
		}
		b.stop()
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.start() // one after the other is fine
		b.pass(time.Second)
		b.wantDepth(0)
	})
}
