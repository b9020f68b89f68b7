package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// of returns the message as one of another tenant.
func ofTenant(tenant store.TenantID, m *relay.Message) *relay.Message {
	m.Identity.Tenant = tenant
	return m
}

// waited returns how long the first attempt for a recipient took since a moment.
func (b *bench) waited(since time.Time, to string) time.Duration {
	for _, g := range b.sink.all() {
		if g.to[0] == to {
			return g.at.Sub(since)
		}
	}
	return 1<<63 - 1
}

// A message of a tenant that has nothing else waiting doesn't wait for the many of
// another, from memory or from the spool, before or after a restart.
func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	const ahead = 10_000
	for _, memory := range []int64{0, -1} {
		for _, dest := range []func(string) string{nil, domainOf} {
			t.Run(fmt.Sprintf("memory %d, destinations %t", memory, dest != nil), func(t *testing.T) {
				inBubble(t, func(b *bench) {
					b.q.Workers, b.q.PerDestination, b.q.MaxMemory, b.q.Destination = 10, 10, memory, dest
					b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(100 * time.Millisecond); return nil } // 100 a second
				}, func(b *bench) {
					for i := range ahead {
						b.forward(message(i, "a@acme.example", "r@example.com"))
					}
					b.pass(10 * time.Second)
					for i := range 5 {
						start, to := time.Now(), fmt.Sprintf("reset%d@example.com", i)
						b.forward(ofTenant("rival", message(ahead+i, "b@rival.example", to)))
						b.pass(3 * time.Second)
						if took := b.waited(start, to); took > 2*time.Second {
							t.Errorf("the message of another tenant waited %v, want less than 2 s", took)
						}
					}
					b.pass(2 * minute)
					b.wantDepth(0)
				})
			})
		}
	}
}

// Mail of many tenants in the spool is delivered in turns.
func TestTenantsTakeTurnsAfterARestart(t *testing.T) {
	var start time.Time
	inBubble(t, func(b *bench) {
		b.q.Workers = 10
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(100 * time.Millisecond); return nil }
		for i := range 5000 { // Run doesn't work yet
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
		for i := range 20 {
			tenant := store.TenantID(fmt.Sprintf("t%d", i))
			b.forward(ofTenant(tenant, message(5000+i, "b@rival.example", string(tenant)+"@example.com")))
		}
		start = time.Now()
	}, func(b *bench) {
		b.pass(10 * time.Second)
		for i := range 20 {
			if took := b.waited(start, fmt.Sprintf("t%d@example.com", i)); took > 2*time.Second {
				t.Errorf("the message of tenant %d waited %v, want less than 2 s", i, took)
			}
		}
		b.pass(2 * minute)
		b.wantDepth(0)
	})
}

// Destinations where each step takes minutes don't delay mail of other tenants.
func TestSlowDestinationsDoNotDelayOthers(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		t.Run(fmt.Sprintf("memory %d", memory), func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Destination, b.q.MaxMemory = domainOf, memory
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					if strings.HasPrefix(domainOf(m.To[0].Address), "slow") {
						time.Sleep(25 * minute)
					}
					return nil
				}
			}, func(b *bench) {
				for i := range 70 {
					b.forward(message(i, "a@acme.example", fmt.Sprintf("r%d@slow%d.example", i, i%7)))
				}
				b.pass(10 * time.Second)
				start := time.Now()
				b.forward(ofTenant("rival", message(100, "b@rival.example", "r@good.example")))
				b.pass(5 * time.Second)
				if took := b.waited(start, "r@good.example"); took > time.Second {
					t.Errorf("the message of another tenant waited %v, want less than a second", took)
				}
				b.pass(2 * hour)
				b.wantDepth(0)
			})
		})
	}
}

// Many domains behind one host that has few slots hold no worker, and don't delay
// mail for an idle host.
func TestBusySiteHoldsNoWorker(t *testing.T) {
	slots := make(chan struct{}, 2)
	var free atomic.Pointer[chan struct{}]
	freed := func() {
		c := make(chan struct{})
		if old := free.Swap(&c); old != nil {
			close(*old)
		}
	}
	inBubble(t, func(b *bench) {
		freed()
		b.q.Destination, b.q.Workers = domainOf, 8
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if domainOf(m.To[0].Address) == "idle.example" {
				return nil
			}
			if !m.NoWait {
				t.Error("the queue doesn't set NoWait")
			}
			wait := *free.Load()
			select {
			case slots <- struct{}{}:
			default:
				return &relay.BusyError{Site: "slow host", Free: wait}
			}
			time.Sleep(time.Second)
			<-slots
			freed()
			return nil
		}
	}, func(b *bench) {
		const n = 200
		for i := range n {
			b.forward(message(i, "a@acme.example", fmt.Sprintf("r@d%d.example", i)))
		}
		b.pass(10 * time.Second)
		start := time.Now()
		b.forward(message(n, "a@acme.example", "r@idle.example"))
		b.pass(2 * time.Second)
		if took := b.waited(start, "r@idle.example"); took > time.Second {
			t.Errorf("the message for an idle host waited %v, want less than a second", took)
		}
		b.pass(3 * minute)
		b.wantDepth(0)
		if n := len(of[*queue.Deferred](b.events)); n > 0 {
			t.Errorf("%d were deferred, want none", n)
		}
		freed()
	})
}

// An upstream with few slots is not asked again and again by all that waits.
func TestFewSlots(t *testing.T) {
	const slots, n = 10, 1000
	var mu sync.Mutex
	used, asked := 0, 0
	var free chan struct{}
	inBubble(t, func(b *bench) {
		free = make(chan struct{})
		b.sink.script = func(context.Context, *relay.Message) error {
			mu.Lock()
			asked++
			if used == slots {
				defer mu.Unlock()
				return &relay.BusyError{Site: "upstream", Free: free}
			}
			used++
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			used--
			close(free)
			free = make(chan struct{})
			return nil
		}
	}, func(b *bench) {
		for i := range n {
			b.forward(ofTenant(store.TenantID(fmt.Sprint("t", i%5)), message(i, "a@acme.example", "r@example.com")))
		}
		start := time.Now()
		for len(of[*queue.Delivered](b.events)) < n && time.Since(start) < minute {
			b.pass(100 * time.Millisecond)
		}
		if took, ideal := time.Since(start), n/slots*100*time.Millisecond; took > ideal*11/10 {
			t.Errorf("%d messages took %v, want about %v", n, took, ideal)
		}
		mu.Lock()
		defer mu.Unlock()
		if asked > 2*n {
			t.Errorf("Next was asked %d times for %d messages", asked, n)
		}
		t.Logf("Next was asked %d times", asked)
	})
}

// With two nodes, slow Puts and slow attempts deliver no message twice.
func TestSlowPutsDoubleNothing(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			err := put()
			time.Sleep(45 * time.Second)
			return err
		}}
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(50 * time.Second); return nil }
	}, func(b *bench) {
		other := newBench(t)
		other.q.Spool = b.spool
		other.start()
		for i := range 20 {
			go b.q.Forward(t.Context(), message(i, "a@acme.example", "r@example.com"))
		}
		b.pass(10 * minute)
		b.wantDepth(0)
		if n := len(b.sink.all()) + len(other.sink.all()); n != 20 {
			t.Errorf("handed on %d times, want 20", n)
		}
		other.stop()
	})
}

// Two different messages of one ID are an error, and the first one is safe.
func TestTwoMessagesOfOneID(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error { return reply(451, "later") }
	}, func(b *bench) {
		m := message(1, "a@acme.example", "one@example.com")
		b.forward(m)
		b.forward(m) // the same again
		b.pass(time.Second)
		err := b.q.Forward(t.Context(), m.WithRecipients([]relay.Recipient{{Address: "two@example.com"}}))
		if !errors.Is(err, store.ErrTaken) {
			t.Errorf("Forward of another message of that ID: %v, want %q", err, store.ErrTaken)
		}
		b.wantDepth(1)
	})
}
