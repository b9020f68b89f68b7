package queue_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// What is due again before everything about its last attempt is recorded isn't
// taken for what the last attempt still works on.
func TestRetryThatIsDueWhileTheLastAttemptIsRecorded(t *testing.T) {
	for name, delay := range map[string]func(os []store.Outcome) bool{
		"while its bounce is released": func(os []store.Outcome) bool { return len(os) == 1 && os[0].Mail != message(1, "").ID },
		"while its outcome is":         func(os []store.Outcome) bool { return len(os) == 2 && !os[1].Done },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Retry = func(int) time.Duration { return time.Second }
				b.q.Spool = &badSpool{Spool: b.spool, settle: func(_ context.Context, os []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
					lost, err := settle()
					if delay(os) {
						time.Sleep(20 * time.Second)
					}
					return lost, err
				}}
				var once atomic.Bool
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					if !once.Swap(true) {
						return &relay.RefusedError{Recipients: []relay.RefusedRecipient{
							{Address: "never@example.com", Err: reply(550, "no")}, {Address: "later@example.com", Err: reply(450, "later")},
						}}
					}
					return nil
				}
			}, func(b *bench) {
				b.forward(message(1, "a@acme.example", "never@example.com", "later@example.com"))
				b.pass(queue.LeaseTime / 2)
				delivered := 0
				for _, e := range of[*queue.Delivered](b.events) {
					if e.Recipient == "later@example.com" {
						delivered++
					}
				}
				if delivered != 1 {
					t.Errorf("the recipient that was deferred for a second was delivered %d times after %v, want once", delivered, queue.LeaseTime/2)
				}
				b.pass(2 * hour)
				if got := tries(b, "later@example.com"); got != 1 {
					t.Errorf("it was handed on %d times, want once", got)
				}
				b.wantDepth(0)
			})
		})
	}
}

// A spool that can't record anything for longer than a lease doesn't make a node
// deliver twice what it has leased again itself.
func TestOutcomesThatAreRecordedAfterTheLease(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	inBubble(t, func(b *bench) {
		b.q.Spool = unreliable(b.spool, &away)
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(5 * queue.LeaseTime / 2)
		away.Store(false)
		b.pass(hour)
		if got := len(b.sink.all()); got != 1 {
			t.Errorf("handed on %d times, want 1", got)
		}
		if got := len(of[*queue.Delivered](b.events)); got != 1 {
			t.Errorf("%d delivered events, want 1", got)
		}
		b.wantDepth(0)
	})
}

// When this node gets one recipient of a waiting message again, it still asks for
// the others, which somebody else may have by now.
func TestRecipientsThatOthersHaveAreNotAdopted(t *testing.T) {
	var away atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Workers = 1
		b.q.Spool = unreliable(b.spool, &away)
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.To[0].Address == "slow@example.com" {
				time.Sleep(130 * time.Second)
			}
			return nil
		}
	}, func(b *bench) {
		away.Store(true)
		b.forward(message(1, "a@acme.example", "slow@example.com"))
		b.forward(message(2, "a@acme.example", "theirs@example.com", "ours@example.com"))
		b.pass(queue.LeaseTime + 5*time.Second)
		got, err := b.spool.Lease(t.Context(), time.Now().UTC(), time.Now().Add(hour).UTC(), 2)
		if err != nil || len(got) != 2 || got[1].Delivery.Recipient != "theirs@example.com" {
			t.Fatalf("another node leases %v, %v; want slow and theirs", got, err)
		}
		b.pass(57 * time.Second)
		away.Store(false)
		b.pass(30 * minute)
		for _, g := range b.sink.all() {
			if slices.Contains(g.to, "theirs@example.com") {
				t.Errorf("handed on to %v, want nothing that another node has", g.to)
			}
		}
		if tries(b, "ours@example.com") != 1 {
			t.Error("ours wasn't handed on once")
		}
	})
}

// A process that was suspended finds its leases over, and leases what it works on
// again. Whether Renew or Lease is answered first, it does nothing twice.
func TestRenewIsAnsweredBeforeLease(t *testing.T) {
	inBubble(t, func(b *bench) {
		var suspended atomic.Int64
		b.q.SetClock(func() time.Time { return time.Now().Add(time.Duration(suspended.Load())) })
		time.AfterFunc(minute, func() { suspended.Store(int64(10 * minute)) })
		renewed := make(chan struct{}, 1)
		var once sync.Once
		b.q.Spool = &badSpool{Spool: b.spool, lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
			got, err := lease()
			if len(got) > 0 {
				once.Do(func() { <-renewed; time.Sleep(time.Millisecond) })
			}
			return got, err
		}, renew: func(_ context.Context, renew func() ([]store.Delivery, error)) ([]store.Delivery, error) {
			lost, err := renew()
			if len(lost) > 0 {
				renewed <- struct{}{}
			}
			return lost, err
		}}
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(5 * minute); return nil }
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(hour)
		if n := len(b.sink.all()); n != 1 {
			t.Errorf("handed on %d times, want once", n)
		}
		b.wantDepth(0)
	})
}

// What is settled while Renew is under way isn't called lost.
func TestLeasesThatEndWellAreNotCalledLost(t *testing.T) {
	var lost atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.Logger = slog.New(handler(func(r slog.Record) {
			if strings.Contains(r.Message, "lease lost") {
				lost.Add(1)
			}
		}))
		b.q.Workers = 1
		b.q.Spool = &badSpool{Spool: b.spool, renew: func(_ context.Context, renew func() ([]store.Delivery, error)) ([]store.Delivery, error) {
			time.Sleep(50 * time.Millisecond)
			return renew()
		}}
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(10 * time.Millisecond); return nil }
	}, func(b *bench) {
		for i := range 10_000 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
		b.pass(5 * minute)
		b.wantDepth(0)
		if n := lost.Load(); n > 0 {
			t.Errorf("%d leases were called lost, want none", n)
		}
	})
}

// A Renew that fails, or hangs, is tried again soon, not when the lease is about to
// end.
func TestRenewThatFailsCostsNoLease(t *testing.T) {
	for name, fail := range map[string]func(ctx context.Context, n int64) bool{
		"twice": func(_ context.Context, n int64) bool { return n <= 2 },
		"late": func(ctx context.Context, n int64) bool {
			if n == 1 {
				<-ctx.Done()
			}
			return n == 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				var renews atomic.Int64
				b.q.Spool = &badSpool{Spool: b.spool, renew: func(ctx context.Context, renew func() ([]store.Delivery, error)) ([]store.Delivery, error) {
					if fail(ctx, renews.Add(1)) {
						return nil, errCut
					}
					return renew()
				}}
				b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(3 * minute); return nil }
			}, func(b *bench) {
				b.pass(time.Second)
				b.forward(message(1, "a@acme.example", "r@example.com"))
				other := newBench(t)
				other.q.Spool = b.spool
				other.start()
				b.pass(10 * minute)
				other.stop()
				if n := len(b.sink.all()) + len(other.sink.all()); n != 1 {
					t.Errorf("handed on %d times by two nodes, want once", n)
				}
			})
		})
	}
}
