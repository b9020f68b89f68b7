package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour

// byMinutes is a schedule without chance.
func byMinutes(attempt int) time.Duration { return time.Duration(attempt) * minute }

func failing(err error) func(context.Context, *relay.Message) error {
	return func(_ context.Context, m *relay.Message) error {
		if m.From == "" {
			return nil // bounces get through
		}
		return err
	}
}

func TestRetrySchedule(t *testing.T) {
	for attempt, want := range map[int]time.Duration{
		1: minute, 2: 2 * minute, 3: 4 * minute, 8: 128 * minute, 9: 3 * hour, 50: 3 * hour, math.MaxInt: 3 * hour,
	} {
		seen := make(map[time.Duration]bool)
		for range 1000 {
			got := queue.RetrySchedule(attempt)
			if got < want*4/5 || got > want*6/5 {
				t.Fatalf("after attempt %d the wait is %v, want %v give or take a fifth", attempt, got, want)
			}
			seen[got] = true
		}
		if len(seen) < 100 {
			t.Errorf("after attempt %d there are only %d different waits in 1000", attempt, len(seen))
		}
	}
}

func TestTemporaryFailureIsTriedAgain(t *testing.T) {
	for name, err := range map[string]error{
		"a reply":           reply(451, "later"),
		"any other error":   errors.New("who knows"),
		"an empty refusal":  new(relay.RefusedError),
		"a refusal of none": &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: "x@y.example", Err: reply(450, "no")}}},
		"an odd code":       reply(200, "what"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) { b.q.Retry = byMinutes }, func(b *bench) {
				tries := 0
				b.sink.script = func(context.Context, *relay.Message) error {
					if tries++; tries <= 3 {
						return err
					}
					return nil
				}
				start := time.Now()
				b.forward(message(1, "a@acme.example", "bob@example.com"))
				b.pass(hour)
				var waits []string
				for _, g := range b.sink.all() {
					waits = append(waits, g.at.Sub(start).Round(time.Second).String())
				}
				if got, want := strings.Join(waits, " "), "0s 1m0s 3m0s 6m0s"; got != want {
					t.Errorf("tried at %s, want %s", got, want)
				}
				b.wantDepth(0)
				deferred := of[*queue.Deferred](b.events)
				if len(deferred) != 3 || deferred[2].Attempt != 3 || deferred[2].Next.Sub(start).Round(time.Second) != 6*minute {
					t.Errorf("deferred events: %+v, want 3, the last for 6 minutes after the start", deferred)
				}
			})
		})
	}
}

func TestRetryThatMisbehaves(t *testing.T) {
	for name, retry := range map[string]func(int) time.Duration{
		"panics":   func(int) time.Duration { panic("no") },
		"negative": func(int) time.Duration { return -hour },
		"nothing":  func(int) time.Duration { return 0 },
		"endless":  func(int) time.Duration { return 1 << 62 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) { b.q.Retry = retry }, func(b *bench) {
				tries := 0
				b.sink.script = func(context.Context, *relay.Message) error {
					if tries++; tries == 1 {
						return reply(450, "later")
					}
					return nil
				}
				b.forward(message(1, "a@acme.example", "bob@example.com"))
				b.pass(5 * hour)
				if tries < 2 {
					t.Errorf("tried %d times, want it tried again", tries)
				}
				b.wantDepth(0)
			})
		})
	}
}

func TestRetryAfterNoTimeAtAll(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Retry = func(int) time.Duration { return 0 }
		b.sink.script = failing(reply(450, "later"))
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		b.pass(minute)
		if n := tries(b, "bob@example.com"); n < 50 || n > 61 {
			t.Errorf("tried %d times in a minute, want about once a second", n)
		}
	})
}

func TestExpiry(t *testing.T) {
	for _, test := range []struct {
		name   string
		expire time.Duration
		want   time.Duration
	}{
		{"by default", 0, 3 * day},
		{"as set", 5 * hour, 5 * hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Expire = test.expire
				b.sink.script = failing(reply(451, "later"))
			}, func(b *bench) {
				start := time.Now()
				b.forward(message(1, "a@acme.example", "bob@example.com"))
				b.pass(test.want - time.Second)
				if got := of[*queue.Expired](b.events); len(got) != 0 {
					t.Fatalf("expired before its time: %+v", got[0])
				}
				b.pass(minute)
				got := of[*queue.Expired](b.events)
				if len(got) != 1 || got[0].Reason != "mx.test 451 later" || got[0].Attempt < 5 {
					t.Fatalf("expired: %+v, want one after more than 5 attempts", got)
				}
				tries := b.from("a@acme.example")
				if last := tries[len(tries)-1].at.Sub(start); last < test.want {
					t.Errorf("the last attempt was after %v, want one at the end", last)
				}
				if bounces := b.from(""); len(bounces) != 2 || !strings.Contains(bounces[1].data, "Status: 4.0.0") {
					t.Errorf("%d notices, want a delay notice and a bounce", len(bounces))
				}
				b.wantDepth(0)
			})
		})
	}
}

// A relay that was switched off for a week must not give up without a try.
func TestOldMailIsTriedOnceMore(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		time.Sleep(7 * day)
	}, func(b *bench) {
		if got := of[*queue.Delivered](b.events); len(got) != 1 {
			t.Errorf("%d were delivered, want 1", len(got))
		}
	})
}

func TestDelayNotice(t *testing.T) {
	for _, test := range []struct {
		name   string
		from   string
		notify []string
		want   int
	}{
		{"by default", "a@acme.example", nil, 1},
		{"asked for", "a@acme.example", []string{"DELAY", "FAILURE"}, 1},
		{"not asked for", "a@acme.example", []string{"FAILURE"}, 0},
		{"never", "a@acme.example", []string{"NEVER"}, 0},
		{"null sender", "", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					if strings.Contains(m.To[0].Address, "slow") {
						return reply(451, "later")
					}
					return nil
				}
			}, func(b *bench) {
				m := message(1, test.from, "slow@example.com")
				m.To[0].Notify = test.notify
				b.forward(m)
				b.pass(4*hour - time.Second)
				if n := len(b.sink.all()) - tries(b, "slow@example.com"); n != 0 {
					t.Fatalf("%d notices before 4 hours, want none", n)
				}
				b.pass(10 * hour)
				var notices []sent
				for _, g := range b.sink.all() {
					if g.to[0] == "a@acme.example" {
						notices = append(notices, g)
					}
				}
				if len(notices) != test.want {
					t.Fatalf("%d notices, want %d", len(notices), test.want)
				}
				for _, n := range notices {
					if !strings.Contains(n.data, "Action: delayed\r\n") || !strings.Contains(n.data, "Will-Retry-Until: ") {
						t.Errorf("the notice doesn't say so:\n%s", n.data)
					}
				}
				b.wantDepth(1)
			})
		})
	}
}

func tries(b *bench, to string) (n int) {
	for _, g := range b.sink.all() {
		if g.to[0] == to {
			n++
		}
	}
	return n
}

// An upstream that accepts one recipient in three costs two attempts, and the
// others don't wait.
func TestOneRecipientInThree(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if err := refuse(m, reply(550, "no"), "hard"); err != nil {
				return err
			}
			return refuse(m, reply(450, "later"), "soft")
		}
	}, func(b *bench) {
		var to []string
		for i := range 100 {
			to = append(to, fmt.Sprintf("good%d@example.com", i), fmt.Sprintf("hard%d@example.com", i), fmt.Sprintf("soft%d@example.com", i))
		}
		b.forward(message(1, "a@acme.example", to...))
		b.pass(time.Second)
		if n := len(b.from("a@acme.example")); n != 3 {
			t.Errorf("handed on %d times, want 3", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 100+1 {
			t.Errorf("%d delivered, want 100 and a bounce", n)
		}
		if n := len(of[*queue.Bounced](b.events)); n != 100 {
			t.Errorf("%d bounced, want 100", n)
		}
		deferred := of[*queue.Deferred](b.events)
		if len(deferred) != 100 || deferred[0].Attempt != 1 {
			t.Errorf("%d deferred, want 100 after their first attempt", len(deferred))
		}
		if bounces := b.from(""); len(bounces) != 1 || strings.Count(bounces[0].data, "Final-Recipient:") != 100 {
			t.Errorf("%d bounces, want one for all", len(bounces))
		}
		b.wantDepth(100)
		b.pass(2 * minute)
		if n := len(b.from("a@acme.example")); n != 4 {
			t.Errorf("handed on %d times, want the rest tried again together", n)
		}
	})
}

// If Next refuses one recipient at a time, the attempt ends when each was refused.
func TestRefusedOneByOne(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			return &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: m.To[0].Address}}}
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "a@example.com", "b@example.com", "c@example.com"))
		synctest.Wait()
		if n := len(b.sink.all()); n != 3 {
			t.Errorf("handed on %d times, want 3", n)
		}
		b.wantDepth(3)
	})
}

func TestNextThatPanics(t *testing.T) {
	inBubble(t, func(b *bench) {
		tries := 0
		b.sink.script = func(context.Context, *relay.Message) error {
			if tries++; tries == 1 {
				panic("no")
			}
			return nil
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		synctest.Wait()
		b.wantDepth(1)
		b.pass(2 * minute)
		b.wantDepth(0)
	})
}

// While this machine's clock is wrong, mail goes on from memory, and nothing is
// leased. Nothing expires, nothing is tried twice, and all goes on when the clock
// is set.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"back": -hour, "forward": hour} {
		t.Run(name, func(t *testing.T) {
			var offset atomic.Int64
			var deferred atomic.Bool
			inBubble(t, func(b *bench) {
				b.q.SetClock(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) })
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					if m.To[0].Address == "slow@example.com" {
						time.Sleep(5 * minute)
						return nil
					}
					if m.To[0].Address == "late@example.com" && !deferred.Swap(true) {
						return reply(451, "later")
					}
					return nil
				}
			}, func(b *bench) {
				b.forward(message(1, "a@acme.example", "slow@example.com"))
				b.forward(message(2, "a@acme.example", "late@example.com"))
				b.pass(10 * time.Second)
				offset.Store(int64(jump))
				b.pass(2 * minute)
				b.forward(message(3, "a@acme.example", "new@example.com"))
				b.pass(10 * minute)
				if n := len(of[*queue.Delivered](b.events)); n < 2 {
					t.Errorf("%d delivered soon after the jump, want the new and the slow one at least", n)
				}
				if n := tries(b, "late@example.com"); n != 1 {
					t.Errorf("the late one was handed on %d times, want none from the spool while the clock is wrong", n-1)
				}
				offset.Store(0)
				b.pass(minute)
				b.wantDepth(0)
				if n := tries(b, "slow@example.com"); n != 1 {
					t.Errorf("the slow one was handed on %d times, want once", n)
				}
				if n := len(b.from("")); n != 0 {
					t.Errorf("%d bounces, want none", n)
				}
			})
		})
	}
}
