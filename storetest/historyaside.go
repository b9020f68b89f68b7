package storetest

import (
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// asidePromises are about records that are set aside, and about what waits.
var asidePromises = []historyPromise{
	{
		name:  "SetAside/Record",
		words: "SetAside removes a record from Records and keeps it where a person can find it. It does nothing if there is no such record.",
		check: func(t *historian) {
			t.ok(t.SetAside(t.Context(), "nothing"), "SetAside")
			for i := range 3 {
				t.record(newEvent(store.EventRefused, "", i))
			}
			all := t.records()
			for range 2 {
				t.ok(t.SetAside(t.Context(), all[1].ID), "SetAside")
				sameRecords(t, t.records(), []store.Record{all[0], all[2]})
			}
			t.fails(t.Apply(t.Context(), []string{all[1].ID}, store.Changes{}), store.ErrConflict, "Apply of a record that was set aside")
			t.deep(store.Depth{})
		},
	},
	{
		name: "Restore/Records",
		words: "Restore makes Records return the records that were set aside and can be read now, under their IDs, and returns how many. " +
			"So a newer version gets the records that an older one could not read.",
		check: func(t *historian) {
			for i := range 40 {
				t.record(newEvent(store.EventRefused, "", i))
			}
			all := t.records()
			for want := range 3 {
				for _, r := range all[:20*want] {
					t.ok(t.SetAside(t.Context(), r.ID), "SetAside")
				}
				got, err := t.Restore(t.Context())
				t.ok(err, "Restore")
				if got != 20*want {
					t.Errorf("Restore: got %d, want %d", got, 20*want)
				}
				sameRecords(t, t.records(), all)
			}
			t.ok(t.Apply(t.Context(), ids(all), store.Changes{}), "Apply of records that were restored")
			t.deep(store.Depth{})
		},
	},
	{
		name:  "Journal/Counts",
		words: "Journal returns how much waits. Records that were set aside do not count.",
		check: func(t *historian) {
			journal := func(records int64) {
				t.Helper()
				got, err := t.Journal(t.Context())
				t.ok(err, "Journal")
				age := time.Since(got.Oldest)
				if got.Records != records || got.Oldest.IsZero() != (records == 0) || records > 0 && (age < -time.Hour || age > time.Hour) {
					t.Errorf("Journal: got %+v, want %d records, the oldest of just now", got, records)
				}
			}
			journal(0)
			t.put("m1", 1)
			for range 2 {
				t.record(newEvent(store.EventRefused, "", 0))
			}
			journal(2)
			all := t.records()
			t.ok(t.SetAside(t.Context(), all[0].ID), "SetAside")
			journal(1)
			t.ok(t.Apply(t.Context(), ids(all[1:]), store.Changes{}), "Apply")
			journal(0)
		},
	},
}
