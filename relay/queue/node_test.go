package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A life is a process with a queue that can be killed. Then it can't reach its Spool
// any more, and its attempts fail.
type life struct {
	*bench
	dead atomic.Bool
}

// born starts a process on the spool. next is its Forwarder.
func born(t *testing.T, spool *memory.Store, name string, next func(*life, *relay.Message) error) *life {
	l := &life{bench: newBench(t)}
	l.spool = spool
	killed := errors.New("killed")
	bad := cutOff(spool, &l.dead)
	bad.settle = func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
		if l.dead.Load() {
			return nil, killed
		}
		return settle()
	}
	l.q.Spool, l.q.Node = bad, name
	l.sink.script = func(_ context.Context, m *relay.Message) error {
		err := next(l, m)
		if l.dead.Load() {
			return killed
		}
		return err
	}
	l.start()
	return l
}

// kill ends the process; what it had leased stays leased.
func (l *life) kill() {
	l.dead.Store(true)
	l.stop()
}

// A node without a name says in the log what that costs, if there was a node before.
func TestNodeWithoutAName(t *testing.T) {
	for _, c := range []struct {
		name   string
		before bool
		want   int
	}{{"", false, 0}, {"", true, 1}, {"one", true, 0}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			var warned atomic.Int64
			b.q.Node = c.name
			b.q.Logger = slog.New(handler(func(r slog.Record) {
				if strings.Contains(r.Message, "Queue.Node is empty") {
					warned.Add(1)
				}
			}))
			if c.before {
				if err := b.spool.Join(t.Context(), store.Node{ID: "n1", Name: "n1"}); err != nil {
					t.Fatal(err)
				}
			}
			b.start()
			b.stop()
			if got := int(warned.Load()); got != c.want {
				t.Errorf("Node %q, another node is listed: %t: %d warnings, want %d", c.name, c.before, got, c.want)
			}
		})
	}
}

// A node that starts under the name of one that was killed takes over at once.
func TestRestartUnderTheSameName(t *testing.T) {
	for name, test := range map[string]struct {
		node string
		want int
	}{"with a name": {"relay1", 1}, "without a name": {"", 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spool := new(memory.Store)
				first := born(t, spool, test.node, func(*life, *relay.Message) error { time.Sleep(minute); return nil })
				first.forward(message(1, "a@acme.example", "r@example.com"))
				first.pass(time.Second)
				first.kill()
				second := born(t, spool, test.node, func(*life, *relay.Message) error { return nil })
				second.pass(5 * time.Second)
				if n := len(second.sink.all()); n != test.want {
					t.Errorf("5 s after the restart %d were handed on, want %d", n, test.want)
				}
				second.pass(2 * queue.LeaseTime)
				second.wantDepth(0)
				second.stop()
				time.Sleep(hour)
			})
		})
	}
}

// A node name that two processes have is an error of the one that started first,
// and costs no mail.
func TestNodeNameUsedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := new(memory.Store)
		first, second := newBench(t), newBench(t)
		for _, b := range []*bench{first, second} {
			b.q.Spool, b.spool, b.q.Node = spool, spool, "relay1"
		}
		ended := make(chan error, 1)
		go func() { ended <- first.q.Run(t.Context()) }()
		time.Sleep(time.Second)
		first.forward(message(1, "a@acme.example", "one@example.com"))
		first.pass(time.Second)
		second.start()
		first.forward(message(2, "a@acme.example", "two@example.com"))
		err := <-ended
		if err == nil || !strings.Contains(err.Error(), "Node name of its own") {
			t.Errorf("Run of the first process: %v, want an error that says what to do", err)
		}
		first.forward(message(3, "a@acme.example", "three@example.com"))
		second.pass(2 * queue.LeaseTime)
		second.wantDepth(0)
		if n := len(first.sink.all()) + len(second.sink.all()); n != 3 {
			t.Errorf("handed on %d times, want 3", n)
		}
		second.stop()
	})
}

// Keeping leases costs one write a node, not one a delivery.
func TestOneWriteKeepsAllLeases(t *testing.T) {
	var renews atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.Workers = 1000
		b.q.Spool = &badSpool{Spool: b.spool, renew: func(_ context.Context, renew func() (time.Time, error)) (time.Time, error) {
			renews.Add(1)
			return renew()
		}}
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(10 * minute); return nil }
	}, func(b *bench) {
		for i := range 1000 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
		renews.Store(0)
		b.pass(9 * minute)
		if n := renews.Load(); n > 9*4+1 {
			t.Errorf("the node was renewed %d times in 9 minutes with a lease of one, want 4 a lease", n)
		}
		b.pass(2 * minute)
		b.wantDepth(0)
	})
}

// A machine's clock that differs from the Spool's is reported, and by half a lease
// it stops leasing.
func TestClockSkew(t *testing.T) {
	for _, tt := range []struct {
		skew  time.Duration
		log   bool
		tries int
	}{
		{queue.LeaseTime / 5, false, 1}, {-queue.LeaseTime / 5, false, 1},
		{queue.LeaseTime / 3, true, 1}, {-queue.LeaseTime / 3, true, 1},
		{queue.LeaseTime * 2 / 3, true, 0}, {-hour, true, 0},
	} {
		t.Run(fmt.Sprint(tt.skew), func(t *testing.T) {
			var logged atomic.Int64
			inBubble(t, func(b *bench) {
				b.q.Logger = slog.New(handler(func(r slog.Record) {
					if strings.Contains(r.Message, "clock differs") {
						logged.Add(1)
					}
				}))
				b.q.SetClock(func() time.Time { return time.Now().Add(tt.skew) })
				b.forward(message(1, "a@acme.example", "r@example.com")) // Run doesn't work yet
			}, func(b *bench) {
				b.pass(10 * minute)
				if n := len(b.sink.all()); n != tt.tries {
					t.Errorf("%d were handed on from the spool, want %d", n, tt.tries)
				}
				if n := logged.Load(); (n == 1) != tt.log || n > 1 {
					t.Errorf("%d lines about it, want one if it is more than a quarter of the lease", n)
				}
			})
		})
	}
}

// A Spool's clock that jumps and jumps back expires nothing.
func TestSpoolClockJumps(t *testing.T) {
	var offset atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.Spool = &badSpool{Spool: b.spool, renew: func(_ context.Context, renew func() (time.Time, error)) (time.Time, error) {
			now, err := renew()
			return now.Add(time.Duration(offset.Load())), err
		}}
		b.q.Retry = byMinutes
		b.sink.script = failing(reply(451, "later"))
	}, func(b *bench) {
		b.pass(time.Second)
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(5 * minute)
		offset.Store(int64(30 * day))
		b.pass(hour)
		offset.Store(0)
		b.pass(hour)
		if n := len(of[*queue.Expired](b.events)); n != 0 {
			t.Errorf("%d expired, want none", n)
		}
		b.wantDepth(1)
		if n := tries(b, "r@example.com"); n < 5 {
			t.Errorf("tried %d times in two hours, want it not to be stranded", n)
		}
	})
}
