package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// An old message finds no slot at its first attempt. It is not given up before a server
// was asked.
func TestOldMessageThatFindsNoSlot(t *testing.T) {
	inBubble(t, func(b *bench) {
		tries := 0
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if tries++; tries == 1 {
				return refuse(m, &relay.BusyError{Site: "mx.test", Wait: time.Minute}, "r@")
			}
			return nil
		}
	}, func(b *bench) {
		m := message(1, "a@acme.example", "r@example.com")
		m.To[0].Notify = []string{"NEVER"} // a delay notice would be delivered, too
		m.Received = m.Received.Add(-100 * time.Hour)
		b.forward(m)
		b.pass(5 * minute)
		if n := len(of[*queue.Expired](b.events)); n != 0 {
			t.Errorf("%d messages expired that no server was asked about", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 1 {
			t.Errorf("%d messages delivered, want 1", n)
		}
	})
}
