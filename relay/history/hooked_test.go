package history

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A hooked store calls functions in place of methods, if they are set.
type hooked struct {
	*memory.Store
	apply   func(ctx context.Context, records []string, c store.Changes) error
	records func(ctx context.Context, limit int) ([]store.Record, error)
	record  func(ctx context.Context, events []store.Event) error

	claims, expires, journals atomic.Int64 // calls
}

func (s *hooked) Claim(ctx context.Context, work, who string, now, until time.Time) (bool, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, work, who, now, until)
}

func (s *hooked) Expire(ctx context.Context, activities, counts time.Time, limit int) (int, error) {
	s.expires.Add(1)
	return s.Store.Expire(ctx, activities, counts, limit)
}

func (s *hooked) Journal(ctx context.Context) (store.Journal, error) {
	s.journals.Add(1)
	return s.Store.Journal(ctx)
}

func (s *hooked) Apply(ctx context.Context, records []string, c store.Changes) error {
	if s.apply != nil {
		return s.apply(ctx, records, c)
	}
	return s.Store.Apply(ctx, records, c)
}

func (s *hooked) Records(ctx context.Context, limit int) ([]store.Record, error) {
	if s.records != nil {
		return s.records(ctx, limit)
	}
	return s.Store.Records(ctx, limit)
}

func (s *hooked) Record(ctx context.Context, events []store.Event) error {
	if s.record != nil {
		return s.record(ctx, events)
	}
	return s.Store.Record(ctx, events)
}

var errStore = errors.New("the store is gone")

func put(t *testing.T, st store.History, events ...store.Event) {
	t.Helper()
	if err := st.Record(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// sent makes the events of so many messages that were delivered.
func sent(n int) (events []store.Event) {
	for i := range n {
		events = append(events, newLife(fmt.Sprintf("m%d", i), 0).then(store.EventAccepted, i).then(store.EventDelivered, i+1).events...)
	}
	return events
}

func total(t *testing.T, st store.History) store.Count {
	t.Helper()
	counts, err := st.Counts(t.Context(), "acme", store.CountFilter{Until: noon.AddDate(100, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if len(counts) == 0 {
		return store.Count{}
	}
	return counts[0]
}

// start runs a History until the function it returns is called, which checks that Run
// ends by itself.
func start(t *testing.T, h *History) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("Run returned %v after %v", err, time.Since(began))
		}
	}
}
