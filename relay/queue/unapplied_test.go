package queue_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A queue that records warns once an hour of events that wait for an hour, and says how
// many and since when. It does not warn while they are applied, nor if it records nothing.
func TestUnappliedEvents(t *testing.T) {
	for name, c := range map[string]struct {
		record, apply bool
		want          int
	}{
		"nothing is recorded": {false, false, 0},
		"events are applied":  {true, true, 0},
		"events wait":         {true, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var warnings []slog.Record
			inBubble(t, func(b *bench) {
				b.q.Record = c.record
				b.q.Logger = slog.New(handler(func(r slog.Record) {
					if mu.Lock(); strings.Contains(r.Message, "not applied") {
						warnings = append(warnings, r)
					}
					mu.Unlock()
				}))
			}, func(b *bench) {
				b.pass(time.Minute) // the events are not an hour old at the first look
				began := time.Now()
				b.forward(message(1, "shop@acme.example", "r@example.com"))
				for range 5 {
					b.pass(58 * time.Minute)
					if c.apply {
						b.apply()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if len(warnings) != c.want {
					b.Fatalf("got %d warnings in %v, want %d", len(warnings), time.Since(began), c.want)
				}
				for _, w := range warnings {
					wantUnapplied(b.T, w, began)
				}
			})
		})
	}
}

// apply removes all records.
func (b *bench) apply() {
	b.Helper()
	records, err := b.spool.Records(b.Context(), 1000)
	if err != nil {
		b.Fatal(err)
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	if err := b.spool.Apply(b.Context(), ids, store.Changes{}); err != nil {
		b.Fatal(err)
	}
}

func wantUnapplied(t *testing.T, r slog.Record, since time.Time) {
	t.Helper()
	r.Attrs(func(a slog.Attr) bool {
		switch {
		case a.Key == "records" && a.Value.Int64() != 2: // of Put and of Settle
			t.Errorf("got %v, want 2 records", a)
		case a.Key == "since" && a.Value.Time().Sub(since).Abs() > time.Second:
			t.Errorf("got %v, want %v", a, since)
		}
		return true
	})
	if r.Level != slog.LevelWarn || r.NumAttrs() != 2 {
		t.Errorf("got %+v, want a warning with two attributes", r)
	}
}
