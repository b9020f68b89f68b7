package queue_test

import (
	"context"
	"errors"
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
	var broken atomic.Bool
	broken.Store(true)
	down := errors.New("the line is down")
	inBubble(t, func(b *bench) {
		b.q.Spool = &badSpool{
			Spool: b.spool,
			renew: func(_ context.Context, renew func() ([]store.Delivery, error)) ([]store.Delivery, error) {
				if broken.Load() {
					return nil, down
				}
				return renew()
			},
			settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
				if broken.Load() {
					return nil, down
				}
				return settle()
			},
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "r@example.com"))
		b.pass(5 * queue.LeaseTime / 2)
		broken.Store(false)
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
