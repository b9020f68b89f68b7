package queue_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A caller may hand on the same message again, while the first attempt is under way and
// while the message waits for the next. Neither begins an attempt.
func TestSameMessageTwiceIsSentOnce(t *testing.T) {
	var taken atomic.Bool
	inBubble(t, func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error {
			time.Sleep(10 * time.Second)
			if !taken.Load() {
				return reply(451, "later")
			}
			return nil
		}
	}, func(b *bench) {
		m := message(1, "a@acme.example", "r@example.com")
		b.forward(m)
		b.pass(time.Second)
		b.forward(m) // under way
		b.pass(15 * time.Second)
		b.forward(m) // it waits
		b.pass(15 * time.Second)
		if n := len(b.sink.all()); n != 1 {
			t.Errorf("%d attempts before the first retry, want 1", n)
		}
		taken.Store(true)
		b.pass(3 * minute)
		b.wantDepth(0)
		if n := len(b.sink.all()); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 1 {
			t.Errorf("%d events of delivery, want 1", n)
		}
	})
}

// A lostContent is a spool that has lost the content of one mail.
type lostContent struct {
	store.Spool
	mail string
}

func (s *lostContent) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if mail == s.mail {
		return nil, store.ErrNotFound
	}
	return s.Spool.Body(ctx, mail)
}

// If the message of a probe can't be read, another probe follows at once.
func TestProbeWithoutContent(t *testing.T) {
	var up atomic.Bool
	inBubble(t, func(b *bench) {
		b.q.Spool = &lostContent{b.spool, message(1, "", "").ID}
		b.q.Destination = domainOf
		b.q.Retry = func(int) time.Duration { return time.Second }
		b.sink.script = func(context.Context, *relay.Message) error {
			if up.Load() {
				return nil
			}
			return unreachable{}
		}
	}, func(b *bench) {
		b.forward(message(0, "a@acme.example", "r@dead.example"))
		b.pass(100 * time.Millisecond)
		b.forward(message(1, "a@acme.example", "r@dead.example")) // goes to the spool
		b.pass(100 * time.Millisecond)
		up.Store(true)
		start := time.Now()
		for len(of[*queue.Resumed](b.events)) == 0 && time.Since(start) < 5*minute {
			b.pass(100 * time.Millisecond)
		}
		if took := time.Since(start); took > 10*time.Second || len(of[*queue.Held](b.events)) != 1 {
			t.Errorf("the destination was reached after %v, and %d messages are held, want less than 10 s, and 1", took, len(of[*queue.Held](b.events)))
		}
	})
}
