package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A busySite is a site of Next with so many slots, or so many messages a second.
type busySite struct {
	slots   int
	every   time.Duration // between two messages; 0: any
	takes   time.Duration
	reaches bool          // it calls OnReached when it has a slot
	slack   time.Duration // how long a message may go later that was allowed and not sent
	late    time.Duration // how long after the next message is allowed it says so
	err     error         // what becomes of a message that has a slot

	mu    sync.Mutex
	asked int
	used  int
	most  int
	next  time.Time
	free  chan struct{}
}

func (s *busySite) forward(_ context.Context, m *relay.Message) error {
	s.mu.Lock()
	s.asked++
	if wait := time.Until(s.next); wait > 0 {
		defer s.mu.Unlock()
		free := make(chan struct{})
		time.AfterFunc(wait+s.late, func() { close(free) })
		return &relay.BusyError{Site: "mx.example", Free: free, Wait: wait}
	}
	if s.used == s.slots {
		defer s.mu.Unlock()
		if s.free == nil {
			s.free = make(chan struct{})
		}
		return &relay.BusyError{Site: "mx.example", Free: s.free}
	}
	s.used++
	s.most = max(s.most, s.used)
	if earliest := time.Now().Add(-s.slack); s.next.Before(earliest) {
		s.next = earliest
	}
	s.next = s.next.Add(s.every)
	s.mu.Unlock()
	if s.reaches && m.OnReached != nil {
		m.OnReached()
	}
	time.Sleep(s.takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.free != nil {
		close(s.free)
		s.free = nil
	}
	return s.err
}

// Of thousands of destinations that share one busy site, one asks Next again when a slot
// gets free, and not all.
func TestManyDestinationsShareABusySite(t *testing.T) {
	t.Parallel()
	const n = 5000
	for _, c := range []struct {
		name  string
		site  *busySite
		ideal time.Duration
	}{
		{"slots", &busySite{slots: 10, takes: 100 * time.Millisecond}, n / 10 * 100 * time.Millisecond},
		{"slots, told of MAIL", &busySite{slots: 10, takes: 100 * time.Millisecond, reaches: true}, n / 10 * 100 * time.Millisecond},
		{"rate", &busySite{slots: n, every: 10 * time.Millisecond, takes: 300 * time.Millisecond}, n * 10 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := c.site
			inBubble(t, func(b *bench) {
				b.q.Destination, b.sink.script = domainOf, site.forward
			}, func(b *bench) {
				for i := range n {
					b.forward(ofTenant(store.TenantID(fmt.Sprint("t", i%5)), message(i, "a@acme.example", fmt.Sprintf("r@d%d.example", i))))
				}
				b.pass(time.Second)
				start := time.Now()
				b.forward(ofTenant("rival", message(n, "b@rival.example", "reset@rival.example")))
				for len(of[*queue.Delivered](b.events)) < n+1 && time.Since(start) < 10*minute {
					b.pass(100 * time.Millisecond)
				}
				if took := time.Since(start); took > c.ideal*11/10 {
					t.Errorf("%d messages took %v, want about %v", n, took, c.ideal)
				}
				if n := b.askedUntil(start, "reset@rival.example"); n > time.Second {
					t.Errorf("the message of another tenant waited %v", n)
				}
				t.Logf("Next was asked %d times for %d messages; %d at once", site.asked, n, site.most)
				if site.asked > 3*n {
					t.Errorf("Next was asked %d times for %d messages, want at most 3 a message", site.asked, n)
				}
			})
		})
	}
}

// askedUntil returns how long after a moment Next was asked last for a recipient.
func (b *bench) askedUntil(since time.Time, to string) (last time.Duration) {
	for _, g := range b.sink.all() {
		if g.to[0] == to {
			last = g.at.Sub(since)
		}
	}
	return last
}

// If the lane that is to ask loses its mail, another asks.
func TestBusySiteWhoseNextTenantIsSuspended(t *testing.T) {
	site := &busySite{slots: 1, takes: 10 * time.Second}
	inBubble(t, func(b *bench) {
		b.q.Destination, b.sink.script = domainOf, site.forward
	}, func(b *bench) {
		for i, tenant := range []store.TenantID{"one", "two", "three"} {
			b.forward(ofTenant(tenant, message(i, "a@acme.example", fmt.Sprintf("r@%s.example", tenant))))
			b.pass(time.Millisecond)
		}
		admin := &queue.Admin{Queue: b.q}
		if err := admin.Suspend(b.Context(), store.Suspension{Tenant: "two"}); err != nil {
			t.Fatal(err)
		}
		b.pass(25 * time.Second)
		b.wantDepth(1)
	})
}

// If all lanes that ask get a slot, none waits for the next one. When their messages end
// without a MAIL that was accepted, other lanes ask at once.
func TestBusySiteWhereAllThatAskFail(t *testing.T) {
	const n = 200
	site := &busySite{slots: n, every: 10 * time.Millisecond, slack: 100 * time.Millisecond, late: 15 * time.Millisecond,
		takes: 30 * time.Millisecond, err: reply(550, "5.1.8 no such sender")}
	inBubble(t, func(b *bench) {
		b.q.Destination, b.sink.script = domainOf, site.forward
	}, func(b *bench) {
		start := time.Now()
		for i := range n {
			b.forward(ofTenant(store.TenantID(fmt.Sprint("t", i)), message(i, "", fmt.Sprintf("r@d%d.example", i))))
		}
		for len(of[*queue.Bounced](b.events)) < n && time.Since(start) < 10*minute {
			b.pass(100 * time.Millisecond)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d messages took %v, want about 4s", n, took)
		}
	})
}
