package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Destinations of a tenant that were never served are served in the order in which
// their mail came, even if mail for new ones comes faster than it can be sent.
func TestNewDestinationsDoNotOvertake(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.Workers = domainOf, 1
		b.sink.script = func(context.Context, *relay.Message) error { time.Sleep(time.Second); return nil }
	}, func(b *bench) {
		start := time.Now()
		b.forward(message(0, "a@acme.example", "r@busy.example"))
		b.forward(message(1, "a@acme.example", "r@first.example"))
		for i := range 60 {
			b.forward(message(2+i, "a@acme.example", fmt.Sprintf("r@d%d.example", i)))
			b.pass(time.Second / 2)
		}
		if took := b.waited(start, "r@first.example"); took > 2*time.Second {
			t.Errorf("the first destination waited %v behind new ones", took)
		}
		b.pass(minute)
	})
}
