package history

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A process dies before, between or after the steps of the work. Another finishes it,
// and everything counts once.
func TestKilled(t *testing.T) {
	for _, test := range []struct {
		name  string
		after bool // it dies when the changes are made, but before it knows
		again int  // how many events are published again
	}{
		{"before Apply", false, 8},
		{"after Apply, before its answer", true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := &hooked{Store: new(memory.Store)}
			put(t, st, sent(4)...)
			var published []store.Event
			publish := func(_ context.Context, events []store.Event) error {
				published = append(published, events...)
				return nil
			}
			first := &History{Store: st, Publish: publish}
			st.apply = func(ctx context.Context, records []string, c store.Changes) error {
				if test.after {
					st.Store.Apply(ctx, records, c)
				}
				return errStore
			}
			if _, err := first.step(t.Context(), batch); !errors.Is(err, errStore) {
				t.Fatal(err)
			}
			st.apply = nil
			second := &History{Store: st, Publish: publish}
			if _, err := second.step(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if c := total(t, st); c.Accepted != 4 || c.Delivered != 4 {
				t.Errorf("counts %+v, want 4 accepted and delivered", c)
			}
			if len(published) != 8+test.again {
				t.Fatalf("%d events published, want %d", len(published), 8+test.again)
			}
			for i, e := range published[8:] {
				if e.ID != published[i].ID || e.ID == "" {
					t.Errorf("event %d has the ID %q the second time, first %q", i, e.ID, published[i].ID)
				}
			}
		})
	}
}

// Two processes that apply the same records at once count nothing twice.
func TestTwoAtOnce(t *testing.T) {
	st := &hooked{Store: new(memory.Store)}
	put(t, st, sent(10)...)
	var both, done sync.WaitGroup
	both.Add(2)
	st.apply = func(ctx context.Context, records []string, c store.Changes) error {
		both.Done()
		both.Wait()
		return st.Store.Apply(ctx, records, c)
	}
	errs := make([]error, 2)
	for i := range errs {
		done.Go(func() { _, errs[i] = (&History{Store: st}).step(t.Context(), batch) })
	}
	done.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), store.ErrConflict) {
		t.Errorf("the steps returned %v, want one ErrConflict", errs)
	}
	if c := total(t, st); c.Accepted != 10 || c.Delivered != 10 {
		t.Errorf("counts %+v, want 10", c)
	}
}

// If another process changes an activity between the look at it and Apply, the counts
// are right nevertheless.
func TestChangedInBetween(t *testing.T) {
	st := &hooked{Store: new(memory.Store)}
	l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventCanceled, 5).then(store.EventLateHardBounced, 9)
	h := &History{Store: st}
	put(t, st, l.events[0])
	h.step(t.Context(), batch)
	put(t, st, l.events[2])
	st.apply = func(ctx context.Context, records []string, c store.Changes) error {
		st.apply = nil
		changes := derive([]*store.Event{&l.events[1]}, nil)
		if err := st.Store.Apply(ctx, nil, changes); err != nil {
			t.Error(err)
		}
		return st.Apply(ctx, records, c)
	}
	if _, err := h.step(t.Context(), batch); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("%v, want ErrConflict", err)
	}
	if _, err := h.step(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if c := total(t, st); c.Canceled != 0 || c.HardBounced != 1 || c.Delivered != 0 {
		t.Errorf("counts %+v, want one hard bounce", c)
	}
}

// Run applies within two seconds of when events are recorded. The first Run catches up at
// once. Old activities are removed.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		h := &History{Store: st, Retention: 24 * time.Hour}
		events := sent(3*batch + 1)
		now := time.Now().UTC()
		for i := range events {
			events[i].Received = now.AddDate(0, 0, -3)
		}
		for part := range slices.Chunk(events, 100) {
			put(t, st, part...)
		}
		if j, err := h.Backlog(t.Context()); err != nil || j.Records != int64((len(events)+99)/100) || j.Oldest.IsZero() {
			t.Errorf("backlog %+v, %v", j, err)
		}
		defer start(t, h)()
		time.Sleep(100 * time.Millisecond)
		if c := total(t, st); c.Delivered != 3*batch+1 {
			t.Errorf("%d delivered, want %d", c.Delivered, 3*batch+1)
		}
		fresh := newLife("fresh", 0)
		fresh.base.Received = now
		put(t, st, fresh.then(store.EventAccepted, 0).events...)
		time.Sleep(2 * time.Second)
		if list, err := st.Recipients(t.Context(), "acme", "fresh", store.RecipientFilter{}); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		time.Sleep(time.Minute)
		if page, err := h.Tenant("acme").Activities(t.Context(), store.ActivityFilter{}); err != nil || len(page.List) != 1 {
			t.Errorf("%d activities are left, %v, want 1", len(page.List), err)
		}
	})
}

// Old activities are removed also while Publish fails.
func TestRetentionWhilePublishFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		var fails atomic.Bool
		h := &History{Store: st, Retention: 24 * time.Hour, Logger: slog.New(slog.DiscardHandler), Publish: func(context.Context, []store.Event) error {
			if fails.Load() {
				return errStore
			}
			return nil
		}}
		defer start(t, h)()
		old := newLife("old", 0)
		old.base.Received = time.Now().UTC()
		put(t, st, old.then(store.EventAccepted, 0).then(store.EventDelivered, 1).events...)
		time.Sleep(time.Minute)
		fails.Store(true)
		put(t, st, newLife("new", 0).then(store.EventAccepted, 0).events...)
		time.Sleep(23 * time.Hour)
		if page, err := h.Tenant("acme").Activities(t.Context(), store.ActivityFilter{}); err != nil || len(page.List) != 1 {
			t.Errorf("%d activities within Retention, %v, want 1", len(page.List), err)
		}
		time.Sleep(26 * time.Hour) // whole days are removed
		if page, err := h.Tenant("acme").Activities(t.Context(), store.ActivityFilter{}); err != nil || len(page.List) != 0 {
			t.Errorf("%d activities after Retention, %v, want none", len(page.List), err)
		}
	})
}

// An error is logged once, and its end too. Publish gets the events again until it
// succeeds, and nothing is applied before.
func TestErrorsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		var log bytes.Buffer
		calls := 0
		var works atomic.Bool
		h := &History{Store: st, Logger: slog.New(slog.NewTextHandler(&log, nil)), Publish: func(context.Context, []store.Event) error {
			if calls++; calls == 2 {
				panic("no")
			}
			if !works.Load() {
				return errStore
			}
			return nil
		}}
		put(t, st, sent(1)...)
		stop := start(t, h)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if calls < 10 || calls > 60 {
			t.Errorf("Publish was called %d times in ten minutes", calls)
		}
		if c := total(t, st); c.Accepted != 0 {
			t.Errorf("%d accepted before Publish succeeded", c.Accepted)
		}
		works.Store(true)
		time.Sleep(time.Minute)
		stop()
		if c := total(t, st); c.Accepted != 1 {
			t.Errorf("%d accepted, want 1", c.Accepted)
		}
		if got := strings.Count(log.String(), "level=ERROR"); got != 2 || strings.Count(log.String(), failApply) != 2 || !strings.Contains(log.String(), "panic in Publish") {
			t.Errorf("the log has %d errors, want the failure and the panic:\n%s", got, log.String())
		}
	})
}

// A Publish that is too slow for a full batch, or for a record with very many events,
// gets fewer of them at a time, so that it keeps nothing up for ever.
func TestSlowPublish(t *testing.T) {
	for _, atOnce := range []int{10, 10_000} {
		synctest.Test(t, func(t *testing.T) {
			st := new(memory.Store)
			for events := range slices.Chunk(sent(5000), atOnce) {
				put(t, st, events...)
			}
			most := 0
			h := &History{Store: st, Logger: slog.New(slog.DiscardHandler), Publish: func(ctx context.Context, events []store.Event) error {
				most = max(most, len(events))
				select {
				case <-time.After(time.Duration(len(events)) * 30 * time.Millisecond):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}}
			stop := start(t, h)
			time.Sleep(30 * time.Minute)
			stop()
			if c := total(t, st); c.Delivered != 5000 {
				t.Errorf("records of %d events: %d recipients were applied within half an hour, want 5000", atOnce, c.Delivered)
			}
			if most > batch+atOnce%batch {
				t.Errorf("one call of Publish had %d events", most)
			}
		})
	}
}

// While nothing happens, the store is written to rarely.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: new(memory.Store)}
		stop := start(t, &History{Store: st})
		time.Sleep(10 * time.Minute)
		stop()
		if claims, expires := st.claims.Load(), st.expires.Load(); claims > 60 || expires != 1 {
			t.Errorf("%d claims and %d calls of Expire in ten minutes", claims, expires)
		}
	})
}

// What fails because Run ends is not logged.
func TestQuietEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: new(memory.Store)}
		st.records = func(ctx context.Context, _ int) ([]store.Record, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var log bytes.Buffer
		stop := start(t, &History{Store: st, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(5 * time.Second)
		stop()
		if log.Len() > 0 {
			t.Errorf("the log is %s", log.String())
		}
	})
}

func TestRunRefuses(t *testing.T) {
	if err := new(History).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "History.Store is required") {
		t.Error(err)
	}
	for _, name := range []string{strings.Repeat("x", 256), "\xff", "\x00"} {
		if err := (&History{Store: new(memory.Store), Node: name}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "History.Node") {
			t.Errorf("Node %q: %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		defer start(t, h)()
		synctest.Wait()
		if err := h.Run(t.Context()); err == nil || err.Error() != "history: Run is being called already" {
			t.Errorf("a second Run at the same time returned %v", err)
		}
	})
}
