package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

func TestLeasesAreRenewedWhileADeliveryRuns(t *testing.T) {
	three := func(b *bench) {
		for i := range 3 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
	}
	nothing := func(*bench) {}
	for name, test := range map[string]struct{ before, after func(*bench) }{
		"handed over by Forward": {nothing, three},
		"leased from the spool":  {three, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Workers = 1 // the others wait
				b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(20 * minute); return nil }
				test.before(b)
			}, func(b *bench) {
				test.after(b)
				other := newBench(t) // another node on the same spool
				other.q.Spool = b.spool
				b.pass(time.Second)
				other.start()
				b.pass(2 * hour)
				other.stop()
				if n := len(b.sink.all()); n != 3 {
					t.Errorf("handed on %d times, want 3", n)
				}
				if n := len(other.sink.all()); n != 0 {
					t.Errorf("the other node handed on %d, want none", n)
				}
				b.wantDepth(0)
			})
		})
	}
}

// cutOff is a spool that can't be reached by one node while away is set.
func cutOff(spool store.Spool, away *atomic.Bool) *badSpool {
	down := errors.New("the line is down")
	s := unreliable(spool, away)
	s.died = s.lease
	s.nodes = func(_ context.Context, nodes func() ([]store.Node, error)) ([]store.Node, error) {
		if away.Load() {
			return nil, down
		}
		return nodes()
	}
	return s
}

// A node that was cut off for longer than the lease finds what it had taken over,
// and neither records nor begins anything of that.
func TestNodeThatWasTakenForDead(t *testing.T) {
	var away atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Workers = 1
		b.q.Spool = cutOff(b.spool, &away)
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(3 * minute); return nil }
	}, func(b *bench) {
		other := newBench(t)
		other.q.Spool = b.spool
		other.start()
		b.pass(time.Second)
		b.forward(message(1, "a@acme.example", "one@example.com"))
		b.forward(message(2, "a@acme.example", "two@example.com"))
		b.pass(time.Second)
		away.Store(true)
		b.pass(2 * minute)
		away.Store(false)
		b.pass(hour)
		if n := tries(b, "two@example.com"); n != 0 {
			t.Errorf("the node that was cut off began %d attempts of what it had lost, want none", n)
		}
		if n := len(other.sink.all()); n != 2 {
			t.Errorf("the other node handed on %d, want both", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 0 {
			t.Errorf("the node that was cut off sent %d delivered events, want none", n)
		}
		b.wantDepth(0)
		b.forward(message(3, "a@acme.example", "three@example.com"))
		b.pass(5 * minute)
		if n := tries(b, "three@example.com"); n != 1 {
			t.Errorf("new mail was handed on %d times after the node had joined again, want once", n)
		}
		other.stop()
	})
}

// If a database stalls for all nodes, none of them is taken for dead.
func TestSpoolThatStallsForAllNodes(t *testing.T) {
	var away atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Spool = cutOff(b.spool, &away)
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(20 * minute); return nil }
	}, func(b *bench) {
		other := newBench(t)
		other.q.Spool = cutOff(b.spool, &away)
		other.start()
		b.pass(time.Second)
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(time.Second)
		for range 3 {
			away.Store(true)
			b.pass(3 * queue.LeaseTime)
			away.Store(false)
			b.pass(queue.LeaseTime)
		}
		b.pass(hour)
		if a, b := len(b.sink.all()), len(other.sink.all()); a != 1 || b != 0 {
			t.Errorf("handed on %d times here and %d times there, want once", a, b)
		}
		other.stop()
	})
}

// Another node takes over from a dead one within the lease, and not at once.
func TestWhatADeadNodeLeft(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lease time.Duration
		after time.Duration
		want  int
	}{
		{"short, before its end", 4 * time.Second, 2 * time.Second, 0},
		{"short", 4 * time.Second, 5 * time.Second, 1},
		{"default, before its end", 0, queue.LeaseTime / 2, 0},
		{"default", 0, queue.LeaseTime + time.Second, 1},
		{"negative is the default", -1, queue.LeaseTime / 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Lease = tt.lease
				now := time.Now().UTC()
				m := store.Mail{ID: message(1, "").ID, From: "a@acme.example", Received: now, Size: int64(len(hello))}
				d := store.Delivery{Recipient: "r@example.com", Next: now, Node: "dead", Lease: 1, Attempts: 1}
				if err := b.spool.Put(t.Context(), m, []store.Delivery{d}, strings.NewReader(hello)); err != nil {
					t.Fatal(err)
				}
			}, func(b *bench) {
				b.pass(tt.after)
				if n := len(b.sink.all()); n != tt.want {
					t.Errorf("handed on %d after %v, want %d", n, tt.after, tt.want)
				}
				b.pass(2 * queue.LeaseTime)
				b.wantDepth(0)
			})
		})
	}
}

func TestTwoNodesShareTheWork(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.MaxMemory = -1
		for i := range 1500 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
	}, func(b *bench) {
		other := newBench(t)
		other.q.Spool = b.spool
		other.start()
		b.pass(minute)
		other.stop()
		seen := make(map[string]int)
		for _, g := range append(b.sink.all(), other.sink.all()...) {
			if seen[g.id]++; seen[g.id] > 1 {
				t.Fatalf("%s was handed on twice", g.id)
			}
		}
		if len(seen) != 1500 {
			t.Errorf("%d were handed on, want 1500", len(seen))
		}
	})
}

// With the store away nothing is lost, nothing is sent twice, and work goes on
// by itself when it is back.
func TestSpoolThatIsAwayForAWhile(t *testing.T) {
	var away atomic.Bool
	gone := errors.New("connection refused")
	inBubble(t, func(b *bench) {
		b.q.MaxMemory = -1
		b.q.Spool = &badSpool{
			Spool: b.spool,
			put: func(_ context.Context, put func() error) error {
				if away.Load() {
					return gone
				}
				return put()
			},
			body: func(_ context.Context, body func() (io.ReadCloser, error)) (io.ReadCloser, error) {
				if away.Load() {
					return nil, gone
				}
				return body()
			},
			lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
				if away.Load() {
					return nil, gone
				}
				return lease()
			},
			settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
				if away.Load() {
					return nil, gone
				}
				return settle()
			},
		}
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(time.Second); return nil }
	}, func(b *bench) {
		accepted := 0
		for i := range 100 {
			away.Store(i >= 20 && i < 60)
			if err := b.q.Forward(t.Context(), message(i, "a@acme.example", fmt.Sprintf("r%d@example.com", i))); err == nil {
				accepted++
			}
			b.pass(250 * time.Millisecond)
		}
		b.pass(5 * minute)
		b.wantDepth(0)
		seen := make(map[string]bool)
		for _, g := range b.sink.all() {
			if seen[g.id] {
				t.Errorf("%s was handed on twice", g.id)
			}
			seen[g.id] = true
		}
		if len(seen) != accepted || accepted != 60 {
			t.Errorf("%d were accepted and %d handed on, want 60 of each", accepted, len(seen))
		}
	})
}

// An attempt that doesn't end is given up; what comes after it is delivered by
// the other workers.
func TestAttemptThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.q.Workers = 2
		end := make(chan struct{})
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.To[0].Address == "stuck@example.com" {
				<-end
			}
			return nil
		}
		b.start()
		b.forward(message(1, "a@acme.example", "stuck@example.com"))
		b.forward(message(2, "a@acme.example", "r@example.com"))
		b.pass(queue.AttemptTime + 2*minute)
		if n := len(of[*queue.Deferred](b.events)); n != 1 {
			t.Errorf("%d were deferred, want the one that is stuck", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 1 {
			t.Errorf("%d were delivered, want the other one", n)
		}
		close(end)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
}
