package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// A limit of messages a second is used up, although each message takes longer than
// the time between two. Not many messages are handed on in vain.
func TestRateOfASlowServer(t *testing.T) {
	for rate, takes := range map[int]time.Duration{
		1: 5 * time.Second, 14: 300 * time.Millisecond, 100: 500 * time.Millisecond, 200: 10 * time.Millisecond,
	} {
		t.Run(fmt.Sprintf("%d a second, each takes %v", rate, takes), func(t *testing.T) { testRate(t, rate, takes) })
	}
}

func testRate(t *testing.T, rate int, takes time.Duration) {
	const n = 1000
	var mu sync.Mutex
	var next, last time.Time
	vain := 0
	inBubble(t, func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error {
			mu.Lock()
			wait := time.Until(next)
			if wait > 0 {
				vain++
				mu.Unlock()
				free := make(chan struct{})
				time.AfterFunc(wait, func() { close(free) })
				return &relay.BusyError{Site: "smtp.example", Free: free, Wait: wait}
			}
			last = time.Now()
			next = last.Add(time.Second / time.Duration(rate))
			mu.Unlock()
			time.Sleep(takes)
			return nil
		}
	}, func(b *bench) {
		start := time.Now()
		for i := range n {
			b.forward(message(i, "a@acme.example", "r@example.com"))
		}
		b.pass(20 * minute)
		b.wantDepth(0)
		if took, ideal := last.Sub(start), n*time.Second/time.Duration(rate); took > ideal*12/10 {
			t.Errorf("%d messages took %v, want at most a fifth more than %v", n, took, ideal)
		}
		if vain > 10*n {
			t.Errorf("%d calls of Next for %d messages found no slot", vain, n)
		}
		t.Logf("took %v, %d calls in vain", last.Sub(start), vain)
	})
}
