package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

func TestStats(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			switch to := m.To[0].Address; {
			case strings.HasPrefix(to, "slow"):
				time.Sleep(20 * time.Second)
			case strings.HasPrefix(to, "later"):
				return reply(451, "greylisted")
			case strings.HasPrefix(to, "never"):
				return reply(550, "no such user")
			}
			return nil
		}
		b.q.Destination = domainOf
	}, func(b *bench) {
		stats := func() queue.Stats {
			got, err := b.q.Stats(b.Context())
			if err != nil {
				b.Error(err)
			}
			return got
		}
		began := time.Now().UTC().Truncate(time.Microsecond)
		for i, to := range []string{"slow@a.example", "later@b.example", "never@c.example"} {
			b.forward(message(i, "shop@acme.example", to))
		}
		b.pass(time.Second)
		if got := stats(); got.Attempts != 1 || got.Queued != 3 || got.Delivered != 1 || got.Deferred != 1 || got.Bounced != 1 {
			b.Errorf("after a second: %+v", got) // the bounce is delivered too
		}
		if got := stats().Depth; got.Deliveries != 2 || !got.Oldest.Equal(began) {
			b.Errorf("the spool holds %+v", got)
		}
		b.pass(20 * time.Second)
		got := stats()
		if sum := got.AttemptSeconds.Sum; got.Attempts != 0 || sum != 20 || total(got.AttemptSeconds) != 4 {
			b.Errorf("4 attempts of 20 s in all: got %d open, %+v", got.Attempts, got.AttemptSeconds)
		}
		if got.Delivered != 2 || total(got.DeliverySeconds) != 2 || got.DeliverySeconds.Sum < 20 || got.DeliverySeconds.Sum > 21 {
			b.Errorf("2 deliveries, one of them after 20 s: got %d, %+v", got.Delivered, got.DeliverySeconds)
		}

		a := &queue.Admin{Queue: b.q}
		all := queue.Selection{All: true}
		for _, err := range []error{
			a.Suspend(b.Context(), store.Suspension{Tenant: "rival"}), a.Suspend(b.Context(), store.Suspension{Destination: "d.example"}),
			a.Resume(b.Context(), store.Suspension{Tenant: "rival"}),
		} {
			if err != nil {
				b.Error(err)
			}
		}
		a.Hold(b.Context(), all, "")
		if n := stats().Depth.Held; n != 1 {
			b.Errorf("%d are held, want 1", n)
		}
		a.Release(b.Context(), all)
		b.pass(time.Second)
		a.Retry(b.Context(), all)
		b.pass(time.Second)
		a.Cancel(b.Context(), all, "", false)
		got = stats()
		if got.Held != 1 || got.Released != 1 || got.Retried != 1 || got.Canceled != 1 || got.Suspended != 2 || got.Resumed != 1 || got.Deferred != 3 {
			b.Errorf("after changes by a person: %+v", got)
		}
		if len(got.Suspensions) != 1 || got.Suspensions[0].Destination != "d.example" {
			b.Errorf("suspended are %+v, want d.example", got.Suspensions)
		}
	})
}

func total(h relay.Histogram) (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// A Spool that fails costs only what it was asked for.
func TestStatsWithoutSpool(t *testing.T) {
	broken := errors.New("no connection")
	q := &queue.Queue{Spool: failingDepth{err: broken}}
	q.Count(new(queue.Queued))
	if got, err := q.Stats(t.Context()); !errors.Is(err, broken) || got.Queued != 1 || got.AttemptSeconds.Counts == nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := new(queue.Queue).Stats(t.Context()); err == nil {
		t.Error("a Queue without a Spool has a Depth")
	}
}

type failingDepth struct {
	store.Spool
	err error
}

func (s failingDepth) Depth(context.Context) (store.Depth, error) { return store.Depth{}, s.err }

// Events are counted from many goroutines, and a snapshot does not change later.
func TestStatsParallel(t *testing.T) {
	q := new(queue.Queue)
	before, _ := q.Stats(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			q.Count(&queue.Delivered{Subject: queue.Subject{Received: time.Now()}})
			q.Count(new(queue.Expired))
			q.Stats(t.Context())
		})
	}
	wg.Wait()
	after, _ := q.Stats(t.Context())
	if after.Delivered != 8 || after.Expired != 8 || total(after.DeliverySeconds) != 8 || total(before.DeliverySeconds) != 0 {
		t.Errorf("counted %+v, and before that %+v", after, before)
	}
}
