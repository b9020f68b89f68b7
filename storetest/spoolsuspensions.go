package storetest

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var suspensionPromises = []spoolPromise{
	{
		name: "Suspend/Versions",
		words: "Suspend adds or changes a suspension. s.Version is the Version that the suspension of that tenant or destination has, 0 if there is none; " +
			"otherwise Suspend returns ErrConflict and changes nothing. Suspensions lists the suspensions, those of tenants first, by name.",
		check: func(t *spooler) {
			a := store.Suspension{
				Destination: "one.example", By: "alice \xff", Reason: "421 \xff too much", Since: day, Until: due, Tried: soon, Failures: 7,
			}
			all := []store.Suspension{{Tenant: acme}, {Tenant: rival, By: "bob"}, {}, a, {Destination: "two.example"}}
			for _, i := range []int{3, 1, 4, 0, 2} {
				t.ok(t.Suspend(t.Context(), all[i]), "Suspend(%+v)", all[i])
				all[i].Version = 1
			}
			t.suspended(all...)
			for _, version := range []int64{0, 2} {
				other := store.Suspension{Destination: "one.example", Version: version}
				t.fails(t.Suspend(t.Context(), other), store.ErrConflict, "Suspend with the version %d", version)
				t.fails(t.Resume(t.Context(), other), store.ErrConflict, "Resume with the version %d", version)
			}
			missing := store.Suspension{Destination: "three.example", Version: 1}
			t.fails(t.Suspend(t.Context(), missing), store.ErrConflict, "Suspend of a version that isn't there")
			t.suspended(all...)
			all[3].Failures, all[3].Reason = 8, ""
			t.ok(t.second().Suspend(t.Context(), all[3]), "Suspend(%+v)", all[3])
			all[3].Version = 2
			t.suspended(all...)
		},
	},
	{
		name:  "Resume/Version",
		words: "Resume removes a suspension, if its Version is still s.Version; otherwise it returns ErrConflict and changes nothing.",
		check: func(t *spooler) {
			t.ok(t.Suspend(t.Context(), store.Suspension{Tenant: acme}), "Suspend")
			t.ok(t.Suspend(t.Context(), store.Suspension{Destination: string(acme)}), "Suspend")
			t.fails(t.Resume(t.Context(), store.Suspension{Tenant: acme, Version: 2}), store.ErrConflict, "Resume of another version")
			t.ok(t.second().Resume(t.Context(), store.Suspension{Tenant: acme, Version: 1}), "Resume")
			t.fails(t.Resume(t.Context(), store.Suspension{Tenant: acme, Version: 1}), store.ErrConflict, "Resume again")
			t.suspended(store.Suspension{Destination: string(acme), Version: 1})
		},
	},
	{
		name: "Race/SuspendOnce",
		words: "s.Version is the Version that the suspension of that tenant or destination has, 0 if there is none; " +
			"otherwise Suspend returns ErrConflict and changes nothing.",
		check: func(t *spooler) {
			for version := range int64(rounds) {
				var won atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					if st.Suspend(t.Context(), store.Suspension{Destination: "one.example", Failures: racer, Version: version}) == nil {
						won.Add(1)
					}
					return nil
				})
				if won.Load() != 1 {
					t.Errorf("%d callers changed version %d, want one", won.Load(), version)
				}
			}
		},
	},
}

// suspended checks the list of suspensions.
func (t *spooler) suspended(want ...store.Suspension) {
	t.Helper()
	got, err := t.Suspensions(t.Context())
	t.ok(err, "Suspensions")
	for i := range want {
		for _, at := range []*time.Time{&want[i].Since, &want[i].Until, &want[i].Tried} {
			*at = at.UTC()
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Suspensions:\n got %+v\nwant %+v", got, want)
	}
}
