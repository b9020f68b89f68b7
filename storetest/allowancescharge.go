package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const chargeWords = "Apply charges them: it adds each Charge to Used of its scope and period, and takes it from the grant, which never becomes less than 0."

var chargePromises = []allowancePromise{
	{
		name:  "Charge/Moves",
		words: chargeWords,
		check: func(t *allower) {
			hourly := newReservation("h", 5, 10)
			hourly.Scope = "hour/user/acme/u1"
			t.reserves(hourly, 5, 5, 0, 5)
			t.reserves(newReservation("a", 6, 20), 6, 6, 0, 6)
			t.reserves(newReservation("b", 6, 20), 6, 6, 0, 12)
			t.charges(nil, charge("a", 2), charge("b", 6), store.Charge{Grant: hourly.Grant, N: 1})
			t.uses(monthly, usageOf(8, 4))
			t.charges(nil, charge("b", 1))
			t.uses(monthly, usageOf(9, 4))
			t.uses(hourly.Scope, store.Usage{Scope: hourly.Scope, Period: day, Used: 1, Held: 4})
		},
	},
	{
		name:  "Charge/WithoutGrant",
		words: "If the usage or the grant is not there, the other one is still changed, and a usage that is not there is made.",
		check: func(t *allower) {
			t.charges(nil, charge("a", 2))
			t.uses(monthly, usageOf(2, 0))
			r := newReservation("b", 5, 10)
			r.Used = 1
			t.reserves(r, 5, 5, 2, 5)
		},
	},
	{
		name:  "Charge/Many",
		words: chargeWords,
		check: func(t *allower) {
			const n = 700
			var c store.Changes
			for i := range n {
				r := newReservation(fmt.Sprint("a", i), int64(i%3+1), 10_000)
				t.reserves(r, r.Want, r.Want, 0, sumTo(i+1))
				c.Charges = append(c.Charges, store.Charge{Grant: r.Grant, N: r.Want - 1})
			}
			t.ok(t.a.Apply(t.Context(), nil, c), "Apply")
			t.uses(monthly, usageOf(sumTo(n)-n, n))
		},
	},
	{
		name:  "Charge/Once",
		words: chargeWords + " An event of kind [EventAccepted] names the grants that its recipient is taken from",
		check: func(t *allower) {
			handles := []*allower{t, t.otherHandle()}
			t.reserves(newReservation("a", 1000, 1000), 1000, 1000, 0, 1000)
			for i := range rounds {
				t.putWith(fmt.Sprint("m", i), newEvent(store.EventAccepted, fmt.Sprint("m", i), 0))
				records := ids(t.records())
				t.race(func(_ store.Spool, racer int) error {
					err := handles[racer%2].a.Apply(t.Context(), records, store.Changes{Charges: []store.Charge{charge("a", 3)}})
					if errors.Is(err, store.ErrConflict) {
						return nil
					}
					return err
				})
				t.uses(monthly, usageOf(int64(3*(i+1)), int64(1000-3*(i+1))))
			}
		},
	},
	{
		name:  "Charge/AllOrNothing",
		words: chargeWords,
		check: func(t *allower) {
			t.reserves(newReservation("a", 5, 10), 5, 5, 0, 5)
			t.applies(newActivity("m1", 0))
			c := changes(newActivity("m1", 0))
			c.Activities[0].Was, c.Charges = 99, []store.Charge{charge("a", 2)}
			t.fails(t.a.Apply(t.Context(), nil, c), store.ErrConflict, "Apply with another Was")
			t.uses(monthly, usageOf(0, 5))
		},
	},
	{
		name:  "Charge/Race",
		words: chargeWords + " Used and Held together never become more than Max.",
		check: func(t *allower) {
			handles := []*allower{t, t.otherHandle()}
			var given atomic.Int64
			t.race(func(_ store.Spool, racer int) error {
				a := handles[racer%2].a
				r := newReservation(fmt.Sprint("r", racer), 3, 100)
				for range rounds {
					got, err := a.Reserve(t.Context(), r)
					if err != nil {
						return err
					}
					given.Add(got.Given)
					if u := got.Usage; u.Used+u.Held > 100 {
						return fmt.Errorf("%+v is more than 100", u)
					}
					if err := a.Apply(t.Context(), nil, store.Changes{Charges: []store.Charge{{Grant: r.Grant, N: got.Given}}}); err != nil {
						return err
					}
				}
				return nil
			})
			t.uses(monthly, usageOf(given.Load(), 0))
			if want := min(100, int64(racers*rounds*3)); given.Load() != want {
				t.Errorf("%d were given, want %d", given.Load(), want)
			}
		},
	},
	{
		name: "Handles/Allowances",
		words: "What is said of a History about atomic, durable and concurrent methods, contexts, times and texts holds here too. " +
			"At most 16,384 bytes.",
		check: func(t *allower) {
			other := t.otherHandle()
			r := newReservation("a", 5, 10)
			r.Scope, r.Period = "month/tenant/Ac me;%é", time.Date(2026, 10, 25, 0, 59, 59, 999_999_000, time.UTC)
			t.reserves(r, 5, 5, 0, 5)
			u := store.Usage{Scope: r.Scope, Period: r.Period, Held: 5}
			other.uses(r.Scope, u)
			t.ok(t.a.SetNoticed(t.Context(), r.Scope, r.Period, 90, 10), "SetNoticed")
			u.Noticed, u.NoticedMax = 90, 10
			other.uses(r.Scope, u)
			other.charges(nil, store.Charge{Grant: r.Grant, N: 1})
			u.Used, u.Held = 1, 4
			t.uses(r.Scope, u)
			t.ok(other.a.Release(t.Context(), r.Grant, 4), "Release")
			u.Held = 0
			t.uses(r.Scope, u)
			e := newEvent(store.EventAccepted, "m1", 0)
			e.Grants = store.FormatGrants([]store.Grant{r.Grant, {ID: "b", Scope: "s", Period: day}})
			t.putWith("m1", e)
			other.waits(e)
		},
	},
	{
		name:  "Context/AllowancesEnded",
		words: "What is said of a History about atomic, durable and concurrent methods, contexts, times and texts holds here too.",
		check: func(t *allower) {
			t.reserves(newReservation("a", 5, 10), 5, 5, 0, 5)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range map[string]func() error{
				"Reserve":      func() error { _, err := t.a.Reserve(ctx, newReservation("a", 5, 10)); return err },
				"Release":      func() error { return t.a.Release(ctx, newReservation("a", 0, 0).Grant, 5) },
				"Usages":       func() error { _, err := t.a.Usages(ctx, monthly); return err },
				"SetNoticed":   func() error { return t.a.SetNoticed(ctx, monthly, day, 90, 10) },
				"ExpireUsages": func() error { _, err := t.a.ExpireUsages(ctx, day.Add(time.Hour), 10); return err },
				"Apply":        func() error { return t.a.Apply(ctx, nil, store.Changes{Charges: []store.Charge{charge("a", 1)}}) },
			} {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s, context ended: got error %v", name, err)
				}
			}
			t.uses(monthly, usageOf(0, 5))
		},
	},
}

// sumTo is the sum of the first n wants in Charge/Many.
func sumTo(n int) (sum int64) {
	for i := range n {
		sum += int64(i%3 + 1)
	}
	return sum
}
