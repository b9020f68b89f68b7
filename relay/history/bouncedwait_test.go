package history

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A process that does not call Run applies nothing, because its Publish is not set. Bounced
// waits there until the process that calls Run has applied the delivery.
func TestBouncedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		put(t, st, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
		receiver := &History{Store: st}
		if err := receiver.Bounced(t.Context(), "acme", "m1", "bob0@example.com", noSuchUser); err == nil || !strings.Contains(err.Error(), "must call Run") {
			t.Errorf("%v, want an error that says that nothing is applied", err)
		}
		var published atomic.Int64
		stop := start(t, &History{Store: st, Publish: func(_ context.Context, events []store.Event) error {
			time.Sleep(3 * time.Second)
			published.Add(int64(len(events)))
			return nil
		}})
		if err := receiver.Bounced(t.Context(), "acme", "m1", "bob0@example.com", noSuchUser); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		stop()
		if n := published.Load(); n != 3 {
			t.Errorf("%d events were published, want 3", n)
		}
		if got := only(t, receiver, "m1"); got.State != store.ActivityHardBounced {
			t.Errorf("%+v", got.Activity)
		}
	})
}

// A process that does not call Run answers as soon as the delivery is applied, however much
// else waits. It asks the store once a second.
func TestBouncedBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: new(memory.Store)}
		l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5)
		put(t, st, l.events[0])
		put(t, st, l.events[1])
		for _, e := range sent(20)[4:] {
			put(t, st, e)
		}
		time.Sleep(time.Second) // records of one instant have times that follow it
		receiver := &History{Store: st}
		slow := &hooked{Store: st.Store, records: func(ctx context.Context, _ int) ([]store.Record, error) {
			time.Sleep(2 * time.Second)
			return st.Store.Records(ctx, 1)
		}}
		stop := start(t, &History{Store: slow})
		began := time.Now()
		if err := receiver.Bounced(t.Context(), "acme", "m1", "bob0@example.com", noSuchUser); err != nil || time.Since(began) > 8*time.Second {
			t.Errorf("a mail whose delivery is applied: %v after %v", err, time.Since(began))
		}
		st.journals.Store(0)
		err := receiver.Bounced(t.Context(), "acme", "unknown", "bob0@example.com", noSuchUser)
		if err == nil || errors.Is(err, store.ErrNotFound) || st.journals.Load() > 11 {
			t.Errorf("an unknown mail while events wait: %v after %d calls of Journal", err, st.journals.Load())
		}
		time.Sleep(5 * time.Minute)
		stop()
		if err := receiver.Bounced(t.Context(), "acme", "unknown", "bob0@example.com", noSuchUser); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an unknown mail: %v, want not found", err)
		}
		if got := only(t, receiver, "m1"); got.State != store.ActivityHardBounced {
			t.Errorf("%+v", got.Activity)
		}
	})
}

// A process that calls Run and is not the one that applies does so during Bounced, without
// delay.
func TestBouncedWhereRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		now := time.Now().UTC()
		if ok, err := h.Store.Claim(t.Context(), claimOf, "another", now, now.Add(claimTime)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		stop := start(t, h)
		synctest.Wait()
		put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
		if err := h.Bounced(t.Context(), "acme", "m1", "bob0@example.com", noSuchUser); err != nil {
			t.Error(err)
		}
		apply(t, h)
		if got := only(t, h, "m1"); got.State != store.ActivityHardBounced || time.Since(now) > 0 {
			t.Errorf("after %v: %+v", time.Since(now), got.Activity)
		}
		stop()
	})
}
