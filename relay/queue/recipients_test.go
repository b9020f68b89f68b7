package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A message to very many recipients costs work in proportion to their number: the
// dispatcher's lock stays free for other messages.
func TestHundredThousandRecipients(t *testing.T) {
	for name, destination := range map[string]func(string) string{"one destination": nil, "many": domainOf} {
		t.Run(name, func(t *testing.T) {
			const n = 100_000
			var delivered atomic.Int64
			next := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
				delivered.Add(int64(len(m.To)))
				return nil
			})
			q := &queue.Queue{Spool: new(memory.Store), Next: next, Logger: quiet, Destination: destination}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- q.Run(ctx) }()
			to := make([]string, n)
			for i := range to {
				to[i] = fmt.Sprintf("r%d@d%d.example", i, i%500)
			}
			go q.Forward(ctx, message(1, "a@acme.example", to...))
			var longest time.Duration
			for end := time.Now().Add(time.Minute); delivered.Load() < n && time.Now().Before(end); time.Sleep(time.Millisecond) {
				longest = max(longest, q.AwaitLock())
			}
			if got := delivered.Load(); got != n {
				t.Errorf("%d recipients were delivered, want %d", got, n)
			}
			if longest > time.Second { // it is milliseconds; a busy machine adds to that
				t.Errorf("the dispatcher's lock was held for %v", longest)
			}
			t.Logf("the lock was held for up to %v", longest)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
