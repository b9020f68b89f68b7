package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Many messages for a dead destination are given up at once. Mail of another tenant,
// which comes from the spool, does not wait for that.
func TestManyExpireAtOnce(t *testing.T) {
	const dead = 2000
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.MaxMemory, b.q.Expire = domainOf, -1, time.Hour
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if domainOf(m.To[0].Address) == "dead.example" {
				return unreachable{}
			}
			return nil
		}
	}, func(b *bench) {
		for i := range dead {
			b.forward(message(i, "a@acme.example", fmt.Sprintf("r%d@dead.example", i)))
		}
		b.pass(58 * minute)
		var longest time.Duration
		for i := range 100 {
			began := time.Now()
			to := fmt.Sprintf("r%d@good.example", i)
			b.forward(ofTenant("rival", message(dead+i, "b@rival.example", to)))
			b.pass(10 * time.Second)
			longest = max(longest, b.waited(began, to))
		}
		b.pass(10 * minute)
		if longest > 2*time.Second {
			t.Errorf("mail of another tenant waited %v, want at most 2s", longest)
		}
		if n := len(b.from("")); n != dead {
			t.Errorf("%d bounces, want %d", n, dead)
		}
	})
}
