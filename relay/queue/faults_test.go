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

// An errorThatPanics is written as carelessly as can be.
type errorThatPanics struct{}

func (errorThatPanics) Error() string { panic("no text") }

// With each of these errors of Next the message is tried again and the process lives.
func TestErrorsOfEveryShape(t *testing.T) {
	var none *relay.ReplyError
	for name, err := range map[string]error{
		"a nil reply":            none,
		"a nil refusal":          (*relay.RefusedError)(nil),
		"a wrapped nil":          fmt.Errorf("next: %w", error(none)),
		"a recipient's is nil":   &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: "r@example.com", Err: none}}},
		"a recipient has none":   &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: "r@example.com"}}},
		"refuses nobody":         &relay.RefusedError{},
		"its text panics":        errorThatPanics{},
		"the same, among others": errors.Join(errors.New("x"), errorThatPanics{}),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				var tried atomic.Bool
				b.sink.script = func(context.Context, *relay.Message) error {
					if !tried.Swap(true) {
						return err
					}
					return nil
				}
			}, func(b *bench) {
				b.forward(message(1, "a@acme.example", "r@example.com"))
				b.pass(time.Second)
				b.wantDepth(1)
				b.pass(2 * minute)
				b.wantDepth(0)
				if n := len(of[*queue.Delivered](b.events)); n != 1 {
					t.Errorf("%d delivered events, want 1", n)
				}
			})
		})
	}
}

var errCut = errors.New("the connection was cut during COMMIT")

func TestPutWhoseAnswerIsLost(t *testing.T) {
	inBubble(t, func(b *bench) {
		var puts atomic.Int64
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			err := put()
			if puts.Add(1) == 1 {
				return errCut
			}
			return err
		}}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(time.Second)
		if n, q := len(b.sink.all()), len(of[*queue.Queued](b.events)); n != 1 || q != 1 {
			t.Errorf("handed on %d times with %d queued events, want 1 and 1", n, q)
		}
		b.wantDepth(0)
	})
}

// A Spool that is full has kept nothing of the message, except that a call before may have
// kept it. Then the error says nothing about that.
func TestFullAfterALostAnswer(t *testing.T) {
	inBubble(t, func(b *bench) {
		var puts atomic.Int64
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			if puts.Add(1) == 1 {
				return errors.Join(put(), errCut)
			}
			return fmt.Errorf("put: %w", store.ErrFull)
		}}
	}, func(b *bench) {
		err := b.q.Forward(t.Context(), message(1, "a@acme.example", "r@example.com"))
		var reply *relay.ReplyError
		if !errors.As(err, &reply) || reply.Code != 452 || errors.Is(err, store.ErrFull) {
			t.Errorf("got %v, want 452 and no store.ErrFull", err)
		}
	})
}

func TestSettleWhoseAnswerIsLost(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want func(e *events) int
	}{
		"delivered": {nil, func(e *events) int { return len(of[*queue.Delivered](e)) }},
		"bounced":   {reply(550, "no"), func(e *events) int { return len(of[*queue.Bounced](e)) }},
		"deferred":  {reply(450, "later"), func(e *events) int { return len(of[*queue.Deferred](e)) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				var cut atomic.Bool
				b.q.Spool = &badSpool{Spool: b.spool, settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
					lost, err := settle()
					if !cut.Swap(true) {
						return nil, errCut
					}
					return lost, err
				}}
				b.sink.script = failing(test.err)
			}, func(b *bench) {
				m := message(1, "a@acme.example", "r@example.com")
				m.To[0].Notify = []string{"NEVER"}
				b.forward(m)
				b.pass(time.Second)
				if n := test.want(b.events); n != 1 {
					t.Errorf("%d events of what was recorded, want 1", n)
				}
			})
		})
	}
}

// A mail that this node can't read just now loses no attempt, and is not given up,
// however old it is.
func TestTroubleOfOurOwnExpiresNothing(t *testing.T) {
	for name, from := range map[string]string{"from somebody": "a@acme.example", "from nobody": ""} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.MaxMemory = -1
				b.q.Spool = &badSpool{Spool: b.spool, body: onlyFirst(func() (io.ReadCloser, error) { return nil, errCut })}
				b.sink.script = func(context.Context, *relay.Message) error { return reply(450, "later") }
				m := message(1, from, "r@example.com")
				m.Received = time.Now().Add(-4 * day).UTC()
				b.forward(m)
			}, func(b *bench) {
				b.pass(hour)
				if n := tries(b, "r@example.com"); n != 1 {
					t.Errorf("handed on %d times, want once more although it is old", n)
				}
				if gave := of[*queue.Expired](b.events); len(gave) != 1 || gave[0].Attempt != 1 {
					t.Errorf("expired events: %+v, want one after one attempt", gave)
				}
			})
		})
	}
}

// The same for as long as it lasts, also when the sender is to be told of a delay.
func TestTroubleOfOurOwnIsNoAttempt(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.MaxMemory = -1
		b.q.Spool = &badSpool{Spool: b.spool, body: func(context.Context, func() (io.ReadCloser, error)) (io.ReadCloser, error) { return nil, errCut }}
		m := message(1, "a@acme.example", "r@example.com")
		m.Received = time.Now().Add(-5 * hour).UTC()
		b.forward(m)
	}, func(b *bench) {
		b.pass(day)
		d := b.deliveries()[0].Delivery
		if d.Attempts != 0 || time.Until(d.Next) > 2*minute {
			t.Errorf("after a day %d attempts count, and the next is in %v; want none, and soon", d.Attempts, time.Until(d.Next))
		}
	})
}

// A delivery that falls due during a call of Lease is leased next.
func TestWhatFallsDueDuringALease(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Retry = func(int) time.Duration { return time.Second }
		b.q.Spool = &badSpool{Spool: b.spool, lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
			got, err := lease()
			time.Sleep(1500 * time.Millisecond)
			return got, err
		}}
		var tries atomic.Int64
		b.sink.script = func(context.Context, *relay.Message) error {
			if tries.Add(1) == 1 {
				return reply(450, "later")
			}
			return nil
		}
	}, func(b *bench) {
		b.pass(6600 * time.Millisecond) // the second Lease began at 6.5 s
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(4 * time.Second)
		if n := len(b.sink.all()); n != 2 {
			t.Errorf("handed on %d times within four seconds, want the second try after one or two", n)
		}
	})
}

// With all workers busy the poller waits until one is free.
func TestPollerRestsWhileWorkersAreBusy(t *testing.T) {
	var looks atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.SetClock(func() time.Time { looks.Add(1); return time.Now() })
		b.q.Workers, b.q.MaxMemory = 2, -1
		b.q.Retry = func(int) time.Duration { return 20 * time.Second }
		var tries atomic.Int64
		b.sink.script = func(context.Context, *relay.Message) error {
			if tries.Add(1) == 1 {
				return reply(450, "later")
			}
			time.Sleep(10 * time.Second)
			return nil
		}
		for i := range 100 {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
	}, func(b *bench) {
		b.pass(minute)
		looks.Store(0)
		b.pass(minute)
		if n := looks.Load(); n > 500 {
			t.Errorf("the clock was looked at %d times in a minute in which 12 messages were delivered", n)
		}
	})
}

// Run ends at once, and can begin again, though a Lease is under way that finds
// nothing.
func TestRunEndsDuringALease(t *testing.T) {
	for name, down := range map[string]error{"of a slow spool": nil, "of a spool that then fails": errCut} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.q.Spool = &badSpool{Spool: b.spool, lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
					time.Sleep(100 * time.Millisecond)
					return lease()
				}, settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
					if down != nil {
						return nil, down
					}
					return settle()
				}}
				b.start()
				b.pass(50 * time.Millisecond)
				for range 2 {
					began := time.Now()
					if err := b.stop(); err != nil || time.Since(began) > time.Second {
						t.Errorf("Run of an empty queue ended with %v after %v, want nil at once", err, time.Since(began))
					}
					b.start()
					b.pass(time.Second)
				}
			})
		})
	}
}

// If a bounce can't be kept, the other server is not asked again and again, and the
// message is not forgotten.
func TestBounceThatCanNeverBeKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		retry       func(int) time.Duration
		least, most int // tries
	}{
		"by default":      {nil, 10, 100},
		"Retry is absurd": {func(int) time.Duration { return 1000 * day }, 3, 3}, // at once, after four hours, and when it expires
	} {
		t.Run(name, func(t *testing.T) { testBounceThatCanNeverBeKept(t, test.retry, test.least, test.most) })
	}
}

func testBounceThatCanNeverBeKept(t *testing.T, retry func(int) time.Duration, least, most int) {
	inBubble(t, func(b *bench) {
		b.q.Retry = retry
		now := time.Now().UTC()
		err := b.spool.Put(t.Context(), store.Mail{ID: message(1, "").ID, From: "a@acme.example", Received: now, Size: int64(len(hello))},
			[]store.Delivery{{Recipient: "r@example.com", Next: now}}, strings.NewReader(hello))
		if err != nil {
			t.Fatal(err)
		}
		b.q.Spool = &badSpool{Spool: b.spool, put: func(context.Context, func() error) error { return store.ErrFull }}
		b.sink.script = failing(reply(550, "no such user"))
	}, func(b *bench) {
		b.pass(7 * day)
		if n := len(b.sink.all()); n < least || n > most {
			t.Errorf("tried %d times in a week, want as often as after other failures: %d to %d", n, least, most)
		}
		b.wantDepth(1)
	})
}
