package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A countingSpool counts how often each delivery is written.
type countingSpool struct {
	store.Spool
	mu       sync.Mutex
	writes   map[string]int
	suspends int // calls of Suspend
}

func (s *countingSpool) Suspend(ctx context.Context, suspension store.Suspension) error {
	s.mu.Lock()
	s.suspends++
	s.mu.Unlock()
	return s.Spool.Suspend(ctx, suspension)
}

func (s *countingSpool) count(mail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == nil {
		s.writes = make(map[string]int)
	}
	s.writes[mail]++
}

func (s *countingSpool) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	list, err := s.Spool.Lease(ctx, r)
	for _, l := range list {
		s.count(l.Delivery.Mail)
	}
	return list, err
}

func (s *countingSpool) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	for _, o := range outcomes {
		s.count(o.Mail)
	}
	return s.Spool.Settle(ctx, outcomes)
}

// Mail for a destination that is down costs few writes, however long it is down.
// Two nodes send one probe at a time, mail of another tenant is delivered as usual,
// and all is given up in time.
func TestDestinationThatIsDownForDays(t *testing.T) {
	t.Parallel()
	const n = 2000
	var probes, most, probing atomic.Int64
	var spool *countingSpool
	script := func(_ context.Context, m *relay.Message) error {
		if m.From == "" || domainOf(m.To[0].Address) == "good.example" {
			return nil
		}
		probes.Add(1)
		most.Store(max(most.Load(), probing.Add(1)))
		time.Sleep(time.Second)
		probing.Add(-1)
		return unreachable{}
	}
	inBubble(t, func(b *bench) {
		spool = &countingSpool{Spool: b.spool}
		b.q.Spool, b.q.Destination, b.sink.script = spool, domainOf, script
	}, func(b *bench) {
		other := newBench(t)
		other.q.Spool, other.q.Destination, other.sink.script = spool, domainOf, script
		other.start()
		b.forward(message(n+1, "a@acme.example", "r@dead.example"))
		b.pass(5 * time.Second)
		most.Store(0)
		for i := range n {
			m := message(i, "a@acme.example", fmt.Sprintf("r%d@dead.example", i))
			m.To[0].Notify = []string{"NEVER"}
			b.forward(m)
		}
		b.pass(hour)
		start := time.Now()
		b.forward(ofTenant("rival", message(n+2, "b@rival.example", "r@good.example")))
		b.pass(5 * time.Second)
		if took := b.waited(start, "r@good.example"); took > 2*time.Second {
			t.Errorf("mail of another tenant waited %v", took)
		}
		if n := probes.Load(); n > 3600/30 {
			t.Errorf("%d attempts in an hour, want one a probe", n)
		}
		b.pass(3*day - hour)
		b.pass(hour / 2)
		b.wantDepth(0)
		if m := most.Load(); m != 1 {
			t.Errorf("%d probes at once, want one", m)
		}
		if got := len(of[*queue.Expired](b.events)) + len(of[*queue.Expired](other.events)); got != n+1 {
			t.Errorf("%d expired, want %d", got, n+1)
		}
		var writes []int
		for _, w := range spool.writes {
			writes = append(writes, w)
		}
		slices.Sort(writes)
		if w := writes[len(writes)*95/100]; w > 10 {
			t.Errorf("19 of 20 messages were written up to %d times, want at most 10", w)
		}
		other.stop()
	})
}

// A suspended destination that nothing waits for costs few writes, and new mail for
// it is a probe soon.
func TestSuspendedDestinationWithoutMail(t *testing.T) {
	var spool *countingSpool
	var up atomic.Bool
	inBubble(t, func(b *bench) {
		spool = &countingSpool{Spool: b.spool}
		b.q.Spool, b.q.Destination = spool, domainOf
		b.sink.script = func(context.Context, *relay.Message) error {
			if up.Load() {
				return nil
			}
			return unreachable{}
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@dead.example"))
		b.pass(5 * time.Second)
		admin := &queue.Admin{Queue: b.q}
		if got, err := admin.Cancel(b.Context(), queue.Selection{Filter: store.Filter{Destination: "dead.example"}}, "no longer needed", false); err != nil || got.Done != 1 {
			t.Fatalf("Cancel: got %+v, %v, want one", got, err)
		}
		b.pass(30 * minute)
		if got, most := spool.suspends, 300; got > most {
			t.Errorf("got %d calls of Suspend in half an hour, want at most %d", got, most)
		}
		up.Store(true)
		b.forward(message(2, "a@acme.example", "r@dead.example"))
		b.pass(20 * time.Second)
		b.wantDepth(0)
	})
}

// A suspension outlives the process, and other nodes know it too.
func TestSuspensionsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := new(memory.Store)
		var down atomic.Bool
		down.Store(true)
		next := func(*life, *relay.Message) error {
			if down.Load() {
				return unreachable{}
			}
			return nil
		}
		first := born(t, spool, "one", next)
		first.forward(message(1, "a@acme.example", "r@example.com"))
		first.pass(10 * minute)
		tried := len(first.sink.all())
		first.stop()

		second := born(t, spool, "two", next)
		second.pass(time.Second)
		for i := range 100 {
			second.forward(message(10+i, "a@acme.example", "r@example.com"))
		}
		second.pass(time.Second)
		if n := len(second.sink.all()); n > 1 {
			t.Errorf("the second node tried %d, want one probe at most, because the first has tried %d times in vain", n, tried)
		}
		list, err := spool.Suspensions(t.Context())
		if err != nil || len(list) != 1 || list[0].Failures < 4 || list[0].Reason == "" || list[0].By != "" {
			t.Errorf("suspensions: %+v, %v", list, err)
		}
		down.Store(false)
		second.pass(hour)
		second.wantDepth(0)
		if list, _ := spool.Suspensions(t.Context()); len(list) != 0 {
			t.Errorf("suspensions after the destination is back: %+v, want none", list)
		}
		second.stop()
	})
}

// A destination, or a tenant, that a person has suspended is not tried, not probed
// and not given up. After the end of that its mail goes out.
func TestSuspendedByAPerson(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Suspension{
		"a destination": {Destination: "example.com", By: "alice"}, "a tenant": {Tenant: "acme", By: "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Destination, b.q.Workers = domainOf, 1
				b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(time.Second); return nil }
			}, func(b *bench) {
				for i := range 50 {
					b.forward(message(i, "a@acme.example", "r@example.com"))
				}
				if err := b.spool.Suspend(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				b.pass(10 * time.Second)
				tried := len(b.sink.all())
				if tried > 8 {
					t.Errorf("%d were tried in 10 s, want those of the time until the node looked", tried)
				}
				b.forward(message(100, "a@acme.example", "r@example.com"))
				b.forward(ofTenant("rival", message(101, "b@rival.example", "r@other.example")))
				b.pass(5 * day)
				if n := len(b.sink.all()); n != tried+1 {
					t.Errorf("%d were tried while it was suspended, want the one of others", n-tried)
				}
				s.Version = 1
				if err := b.spool.Resume(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				b.pass(5 * minute)
				b.wantDepth(0)
				if n := len(of[*queue.Expired](b.events)); n != 0 {
					t.Errorf("%d expired, want none", n)
				}
			})
		})
	}
}
