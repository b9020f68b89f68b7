package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The events of a history reach the endpoint, in order, also after an outage of the
// webhooks' spool.
func TestHistory(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		spool := &failing{Store: new(memory.Store)}
		h.Queue.Spool, h.Queue.PerDestination = spool, 1
		h.start()
		spool.left.Store(2) // it keeps one, and then no more
		st := new(memory.Store)
		hist := &history.History{Store: st, Publish: h.Publish, Logger: quiet}
		ctx, cancel := context.WithCancel(h.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- hist.Run(ctx) }()
		want := []string{"message.accepted", "message.deferred", "message.delivered"}
		for _, kind := range []store.EventKind{store.EventAccepted, store.EventDeferred, store.EventDelivered} {
			e := event(1, kind)
			e.Time = time.Now().UTC()
			if err := st.Record(h.t.Context(), []store.Event{e}); err != nil {
				t.Fatal(err)
			}
			wait(time.Second)
		}
		wait(time.Minute)
		if n := len(h.web.got()); n != 1 {
			t.Errorf("%d requests while the spool fails, want 1", n)
		}
		spool.left.Store(100)
		wait(5 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var types []string
		ids := make(map[string]bool)
		for _, g := range h.web.got() {
			var p struct{ Type string }
			if err := json.Unmarshal([]byte(g.body), &p); err != nil {
				t.Fatal(err)
			}
			types, ids[g.id()] = append(types, p.Type), true
		}
		if len(ids) != 3 || !slices.Equal(types, want) {
			t.Errorf("events %q with IDs %v, want %q", types, ids, want)
		}
	})
}

// While the rest of History.Publish fails, all events are published again and again. Each is
// sent once.
func TestFailureAfterPublish(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.start()
		st := new(memory.Store)
		began := time.Now()
		hist := &history.History{Store: st, Logger: quiet, Publish: func(ctx context.Context, events []store.Event) error {
			if err := h.Publish(ctx, events); err != nil || time.Since(began) > 10*time.Minute {
				return err
			}
			return errors.New("the database of suppressions is away")
		}}
		ctx, cancel := context.WithCancel(h.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- hist.Run(ctx) }()
		var list []store.Event
		for n := range 3 {
			e := event(n, store.EventAccepted)
			e.Time = time.Now().UTC()
			list = append(list, e)
		}
		if err := st.Record(h.t.Context(), list); err != nil {
			t.Fatal(err)
		}
		wait(15 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := len(h.web.got()); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
	})
}
