package queue_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

func domainOf(addr string) string { return addr[strings.LastIndex(addr, "@")+1:] }

// A destination that is down is probed with one message, and not with every
// one.
func TestDownDestinationGetsOneProbe(t *testing.T) {
	var down atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Workers = 1 // or the first few are under way when the first one fails
		b.sink.script = func(context.Context, *relay.Message) error {
			if down.Load() {
				return unreachable{}
			}
			return nil
		}
	}, func(b *bench) {
		down.Store(true)
		const n = 500
		for i := range n {
			b.forward(message(i, "a@acme.example", fmt.Sprintf("r%d@example.com", i)))
		}
		b.pass(10 * minute)
		probes := len(b.sink.all())
		if probes < 4 || probes > 20 {
			t.Errorf("%d attempts in 10 minutes, want one a probe", probes)
		}
		b.wantDepth(n)
		down.Store(false)
		b.pass(6 * minute) // the longest time between two probes, and a bit
		b.wantDepth(0)
		if got := len(b.sink.all()) - probes; got != n {
			t.Errorf("%d were handed on once it was back, want %d", got, n)
		}
	})
}

// Waiting for a destination that is down counts as no attempt, but time goes on.
func TestMailForADestinationThatStaysDownExpires(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Workers = 1
		b.sink.script = failing(unreachable{})
	}, func(b *bench) {
		const n = 50
		for i := range n {
			b.forward(message(i, "a@acme.example", fmt.Sprintf("r%d@example.com", i)))
		}
		b.pass(3*day + hour)
		b.wantDepth(0)
		if got := of[*queue.Expired](b.events); len(got) != n {
			t.Errorf("%d expired, want %d", len(got), n)
		}
	})
}

func TestOneDestinationDoesNotSlowOthers(t *testing.T) {
	for name, bad := range map[string]func(ctx context.Context) error{
		"down": func(context.Context) error { return unreachable{} },
		"slow": func(ctx context.Context) error {
			select {
			case <-time.After(20 * minute):
			case <-ctx.Done():
			}
			return ctx.Err()
		},
		"421":   func(context.Context) error { return reply(421, "busy") },
		"stuck": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		for _, memory := range []int64{0, -1} {
			t.Run(fmt.Sprintf("%s, memory %d", name, memory), func(t *testing.T) {
				inBubble(t, func(b *bench) {
					b.q.Destination, b.q.MaxMemory = domainOf, memory
					b.q.Workers, b.q.PerDestination = 8, 2
					b.sink.script = func(ctx context.Context, m *relay.Message) error {
						if domainOf(m.To[0].Address) == "bad.example" {
							return bad(ctx)
						}
						return nil
					}
				}, func(b *bench) {
					const n = 1200 // more than are leased at once
					for i := range n {
						b.forward(message(i, "a@acme.example", fmt.Sprintf("r%d@bad.example", i)))
					}
					b.pass(time.Second)
					b.forward(message(n, "a@acme.example", "r@good.example"))
					b.pass(10 * time.Second)
					if n := tries(b, "r@good.example"); n != 1 {
						t.Errorf("the other destination's mail was handed on %d times, want once and soon", n)
					}
				})
			})
		}
	}
}

func TestConcurrencyIsLimited(t *testing.T) {
	var now, most, perDest, mostPerDest atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.Workers, b.q.PerDestination = domainOf, 5, 3
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if domainOf(m.To[0].Address) == "one.example" {
				mostPerDest.Store(max(mostPerDest.Load(), perDest.Add(1)))
				defer perDest.Add(-1)
			}
			time.Sleep(time.Second)
			return nil
		}
	}, func(b *bench) {
		for i := range 50 {
			b.forward(message(2*i, "a@acme.example", "r@one.example"))
			b.forward(message(2*i+1, "a@acme.example", fmt.Sprintf("r@d%d.example", i)))
		}
		b.pass(minute)
		b.wantDepth(0)
		if most.Load() != 5 || mostPerDest.Load() != 3 {
			t.Errorf("%d at once and %d to one destination, want 5 and 3", most.Load(), mostPerDest.Load())
		}
	})
}

// A destination with most of the backlog gets as many attempts at once as its limit.
func TestBacklogForOneDestination(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.MaxMemory, b.q.PerDestination = domainOf, -1, 2
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(time.Second); return nil }
		for i := range 2500 {
			b.forward(message(i, "a@acme.example", "r@big.example"))
		}
		b.forward(message(2500, "a@acme.example", "r@small.example"))
	}, func(b *bench) {
		b.pass(minute)
		if n := tries(b, "r@small.example"); n != 1 {
			t.Errorf("the other destination's mail was handed on %d times, want once and soon", n)
		}
		b.pass(9 * minute)
		if n := tries(b, "r@big.example"); n < 2*60*10*8/10 {
			t.Errorf("%d were handed on in 10 minutes, want nearly 1200: two a second", n)
		}
		b.pass(25 * minute)
		b.wantDepth(0)
	})
}

// A message that fits into memory is never read back from the spool. A message that
// doesn't fit is read back, and delivered too.
func TestMemoryBudget(t *testing.T) {
	for _, test := range []struct {
		name        string
		takes       time.Duration // for each message
		least, most int64         // read back
	}{
		{"a fast upstream", 10 * time.Millisecond, 0, 0},
		{"a slow upstream", 10 * time.Second, 50, 99},
	} {
		t.Run(test.name, func(t *testing.T) {
			var read atomic.Int64
			inBubble(t, func(b *bench) {
				b.q.MaxMemory, b.q.Workers = 20<<10, 2
				b.q.Spool = &badSpool{Spool: b.spool, body: func(_ context.Context, body func() (io.ReadCloser, error)) (io.ReadCloser, error) {
					read.Add(1)
					return body()
				}}
				b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(test.takes); return nil }
			}, func(b *bench) {
				start := time.Now()
				for i := range 100 {
					b.forward(message(i, "a@acme.example", "r@example.com"))
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("accepting took %v, want it not to wait for the upstream", took)
				}
				b.pass(20 * minute)
				b.wantDepth(0)
				if n := len(b.sink.all()); n != 100 {
					t.Errorf("handed on %d, want 100", n)
				}
				if n := read.Load(); n < test.least || n > test.most {
					t.Errorf("%d were read back, want %d to %d", n, test.least, test.most)
				}
			})
		})
	}
}

// A probe that doesn't end is given up, and another message finds out.
func TestProbeThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		end := make(chan struct{})
		var attempts atomic.Int64
		b.sink.script = func(context.Context, *relay.Message) error {
			switch attempts.Add(1) {
			case 1:
				return unreachable{}
			case 2:
				<-end
			}
			return nil
		}
		b.start()
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(5 * minute)
		const n = 10
		for i := range n {
			b.forward(message(10+i, "a@acme.example", "r@example.com"))
		}
		b.pass(2 * hour)
		if got := len(of[*queue.Delivered](b.events)); got < n {
			t.Errorf("%d delivered with a worker stuck and 63 idle, want %d at least", got, n)
		}
		close(end)
		b.stop()
	})
}

// An outage of a destination is logged once, whatever was under way, and not for
// each message that waits; and a handler of logs may use the queue.
func TestOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var warnings, deferred atomic.Int64
		b.q.Logger = slog.New(handler(func(r slog.Record) {
			if strings.Contains(r.Message, "can't be reached") {
				warnings.Add(1)
				b.q.Forward(context.Background(), message(999, "alert@acme.example", "admin@example.com"))
			} else if r.Level >= slog.LevelInfo && strings.Contains(r.Message, "deferred") {
				deferred.Add(1)
			}
		}))
		b.sink.script = func(context.Context, *relay.Message) error {
			time.Sleep(100 * time.Millisecond)
			return unreachable{}
		}
		b.start()
		for i := range 500 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
		b.pass(hour)
		if n := warnings.Load(); n != 1 {
			t.Errorf("%d warnings of one outage, want 1", n)
		}
		if n, tried := deferred.Load(), int64(len(b.sink.all())); n != tried {
			t.Errorf("%d lines say that a message is deferred, want one for each of the %d attempts", n, tried)
		}
		b.wantDepth(501)
		b.stop()
	})
}
