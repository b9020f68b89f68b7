package history

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// One of two processes applies. When it ends, or dies, the other takes over.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		var mu sync.Mutex
		var by []string
		h := func(name string) *History {
			return &History{Store: st, Publish: func(context.Context, []store.Event) error {
				mu.Lock()
				defer mu.Unlock()
				by = append(by, name)
				return nil
			}}
		}
		now := time.Now().UTC()
		if ok, err := st.Claim(t.Context(), claimOf, "dead", now, now.Add(claimTime)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		stopA := start(t, h("a"))
		time.Sleep(claimTime / 2)
		put(t, st, sent(1)...)
		time.Sleep(claimTime/2 - time.Second)
		mu.Lock()
		if len(by) > 0 {
			t.Error("a worked while a dead process had the claim")
		}
		mu.Unlock()
		time.Sleep(7 * time.Second)
		stopB := start(t, h("b"))
		time.Sleep(time.Minute)
		put(t, st, sent(1)...)
		time.Sleep(2 * time.Second)
		stopA()
		put(t, st, sent(1)...)
		time.Sleep(7 * time.Second)
		stopB()
		if want := []string{"a", "a", "b"}; !slices.Equal(by, want) {
			t.Errorf("worked: %v, want %v", by, want)
		}
	})
}

// A process that was killed and starts again under the same Node need not wait until its
// own claim ends. One under another name does.
func TestNode(t *testing.T) {
	for name, want := range map[string]time.Duration{"relay1": 0, "relay2": claimTime, "": claimTime} {
		synctest.Test(t, func(t *testing.T) {
			st := new(memory.Store)
			now := time.Now().UTC()
			if ok, err := st.Claim(t.Context(), claimOf, "relay1", now, now.Add(claimTime)); !ok || err != nil {
				t.Fatal(ok, err)
			}
			put(t, st, sent(1)...)
			h := &History{Store: st, Node: name}
			stop := start(t, h)
			time.Sleep(time.Millisecond)
			for j := (store.Journal{Records: 1}); j.Records > 0; time.Sleep(time.Second) {
				var err error
				if j, err = h.Backlog(t.Context()); err != nil || time.Since(now) > time.Minute {
					t.Fatal(j, err)
				}
			}
			if got := time.Since(now).Truncate(claimTime / 2); got != want {
				t.Errorf("Node %q: applied after %v, want %v", name, got, want)
			}
			stop()
		})
	}
}

// A process whose clock is a day ahead takes the claim for a day, and dies.
func TestTakeOverFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		now := time.Now().UTC()
		if ok, err := st.Claim(t.Context(), claimOf, "dead", now, now.Add(24*time.Hour)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		stop := start(t, &History{Store: st})
		for range 5 {
			put(t, st, sent(1)...)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if j, err := st.Journal(t.Context()); err != nil || j.Records != 0 {
				t.Fatalf("%+v, %v: nothing was applied in two minutes", j, err)
			}
		}
		for events := range slices.Chunk(sent(5*batch), 10) {
			put(t, st, events...)
		}
		time.Sleep(time.Minute)
		stop()
		if c := total(t, st); c.Delivered != 5+5*batch {
			t.Errorf("%d were applied, want %d: each step waits", c.Delivered, 5+5*batch)
		}
	})
}
