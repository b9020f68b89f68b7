package queue_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A message at which the process dies each time is held, and none of its neighbours
// is, nor is any lost.
func TestPoisonousMessageIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := new(memory.Store)
		const neighbours = 300
		var mu sync.Mutex
		delivered := make(map[string]int)
		next := func(l *life, m *relay.Message) error {
			time.Sleep(100 * time.Millisecond)
			if m.To[0].Address == "poison@example.com" {
				l.dead.Store(true)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if !l.dead.Load() {
				delivered[m.To[0].Address]++
			}
			return nil
		}
		l := born(t, spool, "relay1", next)
		for i := range neighbours {
			to := fmt.Sprintf("r%d@example.com", i)
			if i == neighbours/2 {
				to = "poison@example.com"
			}
			l.forward(message(i, "a@acme.example", to))
		}
		starts := 1
		for ; starts < 20; starts++ {
			l.pass(30 * time.Second)
			if !l.dead.Load() {
				break
			}
			l.kill()
			l = born(t, spool, "relay1", next)
		}
		if starts != 6 {
			t.Errorf("the process was started %d times, want 5 deaths and a start that lives", starts)
		}
		held := of[*queue.Held](l.events)
		if len(held) != 1 || held[0].Recipient != "poison@example.com" {
			t.Errorf("held: %+v, want only the poisonous message", held)
		}
		if len(delivered) != neighbours-1 {
			t.Errorf("%d neighbours were delivered, want %d", len(delivered), neighbours-1)
		}
		list := l.deliveries()
		if len(list) != 1 || !list[0].Delivery.Held || list[0].Delivery.Reason == "" {
			t.Errorf("the spool holds %+v, want the poisonous message, held, with a reason", list)
		}
		l.stop()
		time.Sleep(hour)
	})
}

// A deployment stops the process in an orderly way. Eight in a row hold nothing, and
// count no attempt.
func TestDeploymentsHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := new(memory.Store)
		slow := func(*life, *relay.Message) error { time.Sleep(20 * minute); return nil }
		for i := range 8 {
			l := born(t, spool, "relay1", slow)
			if i == 0 {
				l.forward(message(1, "a@acme.example", "r@example.com"))
			}
			l.pass(minute)
			if err := l.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
			if d := l.deliveries()[0].Delivery; d.Attempts != 0 || d.Deaths != 0 || d.Held || d.Node != "" {
				t.Errorf("after deployment %d the delivery is %+v, want it untouched", i+1, d)
			}
		}
		l := born(t, spool, "relay1", func(*life, *relay.Message) error { return nil })
		l.pass(minute)
		l.wantDepth(0)
		l.stop()
		time.Sleep(hour)
	})
}
