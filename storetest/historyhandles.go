package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const claimWords = "Claim gives a piece of work to who until the given time: it returns false if somebody else has it beyond now. " +
	"Whoever has it keeps it by calling Claim again, and gives it back with an until of now."

var historyHandlePromises = []historyPromise{
	{
		name:  "Claim/One",
		words: claimWords,
		check: func(t *historian) {
			now, next := day, day.Add(time.Minute)
			t.claims(true, "w1", "a", now, next)
			t.claims(false, "w1", "b", now, next)
			t.claims(true, "w2", "b", now, next)
			t.claims(true, "w1", "a", now, next) // the same again
			t.claims(true, "w1", "a", now, next.Add(time.Minute))
			t.claims(false, "w1", "b", next, next)
			t.claims(true, "w1", "b", next.Add(time.Minute), next.Add(time.Hour))
			t.claims(false, "w1", "a", next.Add(time.Minute), next.Add(time.Hour))
			t.claims(true, "w1", "b", next.Add(time.Minute), next.Add(time.Minute)) // given back
			t.claims(true, "w1", "a", next.Add(time.Minute), next.Add(time.Hour))
			t.otherHistory().claims(false, "w1", "b", next.Add(time.Minute), next.Add(time.Hour))
		},
	},
	{
		name:  "Claim/Race",
		words: claimWords,
		check: func(t *historian) {
			handles := []*historian{t, t.otherHistory()}
			for i := range rounds {
				won := make([]bool, racers)
				now := day.Add(time.Duration(i) * time.Hour)
				t.race(func(_ store.Spool, racer int) (err error) {
					won[racer], err = handles[racer%2].Claim(t.Context(), "w", string(rune('a'+racer)), now, now.Add(time.Minute))
					return err
				})
				exactly := 0
				for _, w := range won {
					if w {
						exactly++
					}
				}
				if exactly != 1 {
					t.Fatalf("%d of %d have the work, want 1", exactly, racers)
				}
			}
		},
	},
	{
		name: "Handles/History",
		words: "What is said of a Spool about atomic, durable and concurrent methods, contexts, times and texts holds here too. " +
			"Like a [Store] it may be shared by any number of processes, each method is atomic and safe for concurrent use, " +
			"and what a method that returned nil has done is durable: it survives a crash and a power cut.",
		check: func(t *historian) {
			other := t.otherHistory()
			want := events(store.EventAccepted, "m1", 2)
			t.putWith("m1", want...)
			other.waits(want...)
			other.record(want[0])
			t.waits(want[0], want[1], want[0])
			records := ids(other.records())
			c := changes(newActivity("m1", 0))
			c.Counts = []store.Count{newCount(0)}
			t.ok(other.Apply(t.Context(), records, c), "Apply")
			t.waits()
			t.is(acme, "m1", newActivity("m1", 0))
			if got := len(t.sums(acme, store.CountFilter{})); got != 1 {
				t.Errorf("Counts: got %d, want 1", got)
			}
			t.erases(1, "to0@example.net")
			other.is(acme, "m1", erasedOf(newActivity("m1", 0)))
			t.expires(2, day.AddDate(1, 0, 0), day.AddDate(1, 0, 0), 10)
			other.is(acme, "m1")
		},
	},
	{
		name: "Context/HistoryEnded",
		words: "A context that has already ended makes a method fail with its error and change nothing; " +
			"one that ends while the method runs leaves the outcome unknown.",
		check: func(t *historian) {
			t.record(newEvent(store.EventRefused, "", 0))
			t.applies(newActivity("m1", 0))
			records := t.records()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range t.everyHistoryCall(ctx, records[0].ID) {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s, context ended: got error %v", name, err)
				}
			}
			sameRecords(t, t.records(), records)
			t.is(acme, "m1", newActivity("m1", 0))
			t.is(acme, "m2")
			t.claims(true, "w", "b", day, day)
		},
	},
}

// everyHistoryCall returns a call of each method.
func (t *historian) everyHistoryCall(ctx context.Context, record string) map[string]func() error {
	errOf := func(_ any, err error) error { return err }
	return map[string]func() error{
		"Record":          func() error { return t.Record(ctx, []store.Event{newEvent(store.EventRefused, "", 0)}) },
		"Records":         func() error { return errOf(t.Records(ctx, 1)) },
		"SetAside":        func() error { return t.SetAside(ctx, record) },
		"Restore":         func() error { return errOf(t.Restore(ctx)) },
		"Journal":         func() error { return errOf(t.Journal(ctx)) },
		"Claim":           func() error { return errOf(t.Claim(ctx, "w", "a", day, day.Add(time.Hour))) },
		"Apply":           func() error { return t.Apply(ctx, []string{record}, changes(newActivity("m2", 0))) },
		"Activities":      func() error { return errOf(t.Activities(ctx, acme, store.ActivityFilter{})) },
		"Recipients":      func() error { return errOf(t.Recipients(ctx, acme, "m1", allRecipients)) },
		"RecipientStates": func() error { return errOf(t.RecipientStates(ctx, acme, "m1")) },
		"TenantOf":        func() error { return errOf(t.TenantOf(ctx, "m1")) },
		"ActivitiesByKey": func() error { return errOf(t.ActivitiesByKey(ctx, []store.ActivityKey{{Tenant: acme, Mail: "m1"}})) },
		"Counts":          func() error { return errOf(t.Counts(ctx, acme, store.CountFilter{})) },
		"Expire":          func() error { return errOf(t.Expire(ctx, day.AddDate(1, 0, 0), day, 10)) },
		"Erase":           func() error { return errOf(t.Erase(ctx, acme, "to0@example.net")) },
	}
}

// claims calls Claim.
func (t *historian) claims(want bool, work, who string, now, until time.Time) {
	t.Helper()
	got, err := t.Claim(t.Context(), work, who, now, until)
	t.ok(err, "Claim(%q, %q)", work, who)
	if got != want {
		t.Errorf("Claim(%q, %q, %v, %v): got %t, want %t", work, who, now, until, got, want)
	}
}
