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
