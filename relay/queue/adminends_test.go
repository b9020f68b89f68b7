package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// The context of a person who cancels a message with a bounce ends. The outcomes of
// attempts that end at the same moment are recorded all the same.
func TestAdminWhoseContextEndsBesideAttempts(t *testing.T) {
	slow := false
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			switch m.To[0].Address {
			case "held@example.com":
				return reply(451, "greylisted")
			case "first@example.com":
				time.Sleep(800 * time.Millisecond)
			case "second@example.com":
				time.Sleep(1100 * time.Millisecond)
			}
			return nil
		}
		b.q.Spool = &badSpool{Spool: b.spool, settle: func(ctx context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			if slow {
				time.Sleep(500 * time.Millisecond)
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return settle()
		}}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "held@example.com"))
		b.pass(5 * time.Second)
		slow = true
		ctx, cancel := context.WithCancel(b.Context())
		time.AfterFunc(1200*time.Millisecond, cancel)
		b.forward(message(2, "b@acme.example", "first@example.com"))
		b.forward(message(3, "b@acme.example", "second@example.com"))
		admin := &queue.Admin{Queue: b.q}
		if _, err := admin.Cancel(ctx, queue.Selection{Filter: store.Filter{Recipient: "held@example.com"}}, "", true); err != nil {
			t.Error(err)
		}
		b.pass(minute)
		b.wantDepth(0)
		if n := len(b.from("")); n != 1 {
			t.Errorf("%d bounces, want 1", n)
		}
	})
}
