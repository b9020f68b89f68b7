package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	reserveWords = "Reserve adds recipients to a grant, which is made if it is not there, and sets its Until. " +
		"It gives as many of Want as Max leaves: Used and Held together never become more than Max. What they are above Max already stays."
	dropWords = "Before that it drops the grants of the scope and period whose Until is before Ended and before every record that waits. " +
		"Nothing will be charged to them any more, so what they hold was not used."
	leastWords   = "Used is the least that the usage has after the step. A usage that has less Used gets it, and so does one that is not there yet."
	releaseWords = "Release takes n recipients from a grant, which never becomes less than 0. If there is no such grant it does nothing."
	usagesWords  = "Usages returns the usages of a scope, by period. A scope that nothing was reserved of has none."
	noticedWords = "SetNoticed sets Noticed and NoticedMax of a usage. If they have the same NoticedMax, the greater Noticed stays. " +
		"ErrNotFound: there is no such usage."
)

var reservePromises = []allowancePromise{
	{
		name:  "Reserve/UpToMax",
		words: reserveWords + " Want may be 0.",
		check: func(t *allower) {
			t.reserves(newReservation("a", 0, 10), 0, 0, 0, 0)
			t.reserves(newReservation("a", 4, 10), 4, 4, 0, 4)
			t.reserves(newReservation("a", 3, 10), 3, 7, 0, 7)
			t.reserves(newReservation("a", 5, 10), 3, 10, 0, 10)
			t.reserves(newReservation("a", 5, 10), 0, 10, 0, 10)
			t.reserves(newReservation("a", 5, 0), 0, 10, 0, 10)
			t.uses(monthly, usageOf(0, 10))
		},
	},
	{
		name:  "Reserve/CountsHeld",
		words: reserveWords,
		check: func(t *allower) {
			other := t.otherHandle()
			t.reserves(newReservation("a", 6, 10), 6, 6, 0, 6)
			other.reserves(newReservation("b", 6, 10), 4, 4, 0, 10)
			t.charges(nil, charge("a", 5))
			other.reserves(newReservation("c", 6, 10), 0, 0, 5, 5)
			t.reserves(newReservation("a", 6, 10), 0, 1, 5, 5)
		},
	},
	{
		name:  "Reserve/Raised",
		words: reserveWords + " " + leastWords,
		check: func(t *allower) {
			r := newReservation("a", 10, 10)
			r.Used = 3
			t.reserves(r, 7, 7, 3, 7)
			t.charges(nil, charge("a", 7))
			r.Used = 0
			t.reserves(r, 0, 0, 10, 0)
			r.Used, r.Max = 9, 12
			t.reserves(r, 2, 2, 10, 2)
			r.Max = 5 // lowered
			t.reserves(r, 0, 2, 10, 2)
		},
	},
	{
		name:  "Reserve/LeastUsed",
		words: leastWords,
		check: func(t *allower) {
			r := newReservation("a", 2, 10)
			t.reserves(r, 2, 2, 0, 2)
			r.Used, r.Want = 6, 9
			t.otherHandle().reserves(r, 2, 4, 6, 4)
			r.Used = 5
			t.reserves(r, 0, 4, 6, 4)
			t.charges(nil, charge("a", 3))
			t.uses(monthly, usageOf(9, 1))
			r.Used = 12 // above Max
			t.reserves(r, 0, 1, 12, 1)
			t.uses(monthly, usageOf(12, 1))
		},
	},
	{
		name:  "Reserve/Race",
		words: reserveWords + " Used and Held together never become more than Max.",
		check: func(t *allower) {
			handles := []*allower{t, t.otherHandle()}
			for i := range rounds {
				var given atomic.Int64
				t.race(func(_ store.Spool, racer int) error {
					r := newReservation(fmt.Sprintf("r%dx%d", i, racer), 100, 250)
					r.Period = day.AddDate(0, i, 0)
					for range 3 {
						got, err := handles[racer%2].a.Reserve(t.Context(), r)
						if err != nil {
							return err
						}
						given.Add(got.Given)
						r.Want = 7
					}
					return nil
				})
				if given.Load() != 250 {
					t.Fatalf("%d were given of 250", given.Load())
				}
			}
		},
	},
	{
		name:  "Reserve/Apart",
		words: reserveWords + " A Grant names a part of a limit that one node may use up.",
		check: func(t *allower) {
			t.reserves(newReservation("a", 8, 10), 8, 8, 0, 8)
			theirs := newReservation("b", 8, 10)
			theirs.Scope = "month/tenant/rival"
			t.reserves(theirs, 8, 8, 0, 8)
			next := newReservation("c", 8, 10)
			next.Period = day.AddDate(0, 1, 0)
			t.reserves(next, 8, 8, 0, 8)
			c := store.Charge{Grant: theirs.Grant, N: 5}
			t.charges(nil, c)
			t.uses("month/tenant/rival", store.Usage{Scope: theirs.Scope, Period: day, Used: 5, Held: 3})
			t.uses(monthly, usageOf(0, 8), store.Usage{Scope: monthly, Period: next.Period, Held: 8})
		},
	},
	{
		name:  "Reserve/DropsEnded",
		words: dropWords,
		check: func(t *allower) {
			r := newReservation("a", 8, 10)
			r.Until = day.Add(time.Minute)
			t.reserves(r, 8, 8, 0, 8)
			r2 := newReservation("b", 8, 10)
			r2.Ended = r.Until
			t.reserves(r2, 2, 2, 0, 10)
			r2.Ended = r.Until.Add(time.Microsecond)
			t.reserves(r2, 8, 10, 0, 10)
			t.charges(nil, charge("a", 1)) // nothing is left to take it from
			t.uses(monthly, usageOf(1, 10))
		},
	},
	{
		name:  "Reserve/Renews",
		words: reserveWords + " " + dropWords,
		check: func(t *allower) {
			r := newReservation("a", 8, 10)
			until := r.Until
			r.Until = day.Add(time.Minute)
			t.reserves(r, 8, 8, 0, 8)
			r.Until, r.Want = until, 0
			t.reserves(r, 0, 8, 0, 8)
			r2 := newReservation("b", 8, 10)
			r2.Ended = day.Add(time.Hour)
			t.reserves(r2, 2, 2, 0, 10)
		},
	},
	{
		name:  "Reserve/HeldByRecords",
		words: dropWords,
		check: func(t *allower) {
			r := newReservation("a", 8, 10)
			t.reserves(r, 8, 8, 0, 8)
			t.record(newEvent(store.EventAccepted, "m1", 0)) // before r.Until
			other := newReservation("b", 8, 10)
			other.Ended = r.Until.Add(time.Hour)
			other.Until = other.Ended.Add(time.Hour)
			t.reserves(other, 2, 2, 0, 10)
			t.charges(ids(t.records()), charge("a", 3))
			t.reserves(other, 5, 7, 3, 7)

			late := newReservation("c", 3, 20)
			late.Until = day.Add(time.Minute)
			t.reserves(late, 3, 3, 3, 10)
			t.record(newEvent(store.EventAccepted, "m2", 0)) // after late.Until
			other.Want, other.Ended = 20, day.Add(time.Hour)
			t.reserves(other, 0, 7, 3, 7)
		},
	},
	{
		name:  "Reserve/Forgets",
		words: "Forget removes usages of the scope, with their grants, whose Period is before it. It counts only for the reservation that begins a period.",
		check: func(t *allower) {
			for i := range 3 {
				r := newReservation(fmt.Sprint("a", i), 1, 10)
				r.Period = day.AddDate(0, i, 0)
				t.reserves(r, 1, 1, 0, 1)
			}
			r := newReservation("a2", 0, 10)
			r.Period, r.Forget = day.AddDate(0, 2, 0), day.AddDate(0, 2, 0)
			t.reserves(r, 0, 1, 0, 1)
			usage := func(months int) store.Usage {
				return store.Usage{Scope: monthly, Period: day.AddDate(0, months, 0), Held: 1}
			}
			t.uses(monthly, usage(0), usage(1), usage(2))
			r = newReservation("a3", 1, 10)
			r.Period, r.Forget = day.AddDate(0, 3, 0), day.AddDate(0, 1, 0)
			t.reserves(r, 1, 1, 0, 1)
			t.uses(monthly, usage(1), usage(2), usage(3))
			t.reserves(newReservation("b", 10, 10), 10, 10, 0, 10) // the grant a0 is gone too
		},
	},
	{
		name: "ExpireUsages/OldOnes",
		words: "ExpireUsages removes usages of all scopes, with their grants, whose Period is before a time: at most limit of them. " +
			"It returns how many it removed.",
		check: func(t *allower) {
			scopes := []string{monthly, "month/tenant/rival", "day/user/acme/u1"}
			for i, scope := range scopes {
				for months := range 2 {
					r := newReservation(fmt.Sprintf("a%dx%d", i, months), 1, 10)
					r.Scope, r.Period = scope, day.AddDate(0, months, 0)
					t.reserves(r, 1, 1, 0, 1)
				}
			}
			expires := func(before time.Time, limit, want int) {
				t.Helper()
				got, err := t.a.ExpireUsages(t.Context(), before, limit)
				t.ok(err, "ExpireUsages")
				if got != want {
					t.Errorf("ExpireUsages(%v, %d): got %d, want %d", before, limit, got, want)
				}
			}
			expires(day, 100, 0)
			expires(day.Add(time.Microsecond), 2, 2)
			expires(day.Add(time.Microsecond), 100, 1)
			expires(day.Add(time.Microsecond), 100, 0)
			for _, scope := range scopes {
				t.uses(scope, store.Usage{Scope: scope, Period: day.AddDate(0, 1, 0), Held: 1})
			}
			t.reserves(newReservation("b", 10, 10), 10, 10, 0, 10) // the grants are gone too
		},
	},
	{
		name:  "Release/Back",
		words: releaseWords,
		check: func(t *allower) {
			t.reserves(newReservation("a", 8, 10), 8, 8, 0, 8)
			release := func(id string, n int64) {
				t.ok(t.a.Release(t.Context(), newReservation(id, 0, 0).Grant, n), "Release of %d from %s", n, id)
			}
			release("a", 3)
			release("b", 3)
			t.reserves(newReservation("b", 8, 10), 5, 5, 0, 10)
			release("a", 99)
			t.reserves(newReservation("b", 8, 10), 5, 10, 0, 10)
			t.uses(monthly, usageOf(0, 10))
		},
	},
	{
		name:  "Usages/ByPeriod",
		words: usagesWords,
		check: func(t *allower) {
			t.uses(monthly)
			var want []store.Usage
			for _, months := range []int{2, 0, 1} {
				r := newReservation(fmt.Sprint("a", months), 1, 10)
				r.Period = day.AddDate(0, months, 0)
				t.reserves(r, 1, 1, 0, 1)
			}
			for months := range 3 {
				want = append(want, store.Usage{Scope: monthly, Period: day.AddDate(0, months, 0), Held: 1})
			}
			t.uses(monthly, want...)
			t.uses("month/tenant/acm")
		},
	},
	{
		name:  "SetNoticed/Rises",
		words: noticedWords,
		check: func(t *allower) {
			set := func(percent int, max int64) error {
				return t.a.SetNoticed(t.Context(), monthly, day, percent, max)
			}
			t.fails(set(80, 10), store.ErrNotFound, "SetNoticed without a usage")
			t.reserves(newReservation("a", 0, 10), 0, 0, 0, 0)
			want := usageOf(0, 0)
			for _, step := range []struct {
				percent, after int
				max            int64
			}{{80, 80, 10}, {100, 100, 10}, {90, 100, 10}, {100, 100, 10}, {80, 80, 20}, {90, 90, 20}, {80, 80, 10}} {
				t.ok(set(step.percent, step.max), "SetNoticed(%d, %d)", step.percent, step.max)
				want.Noticed, want.NoticedMax = step.after, step.max
				t.uses(monthly, want)
			}
			got, err := t.a.Reserve(t.Context(), newReservation("a", 0, 10))
			t.ok(err, "Reserve")
			if got.Usage != want {
				t.Errorf("Reserve: got %+v, want %+v", got.Usage, want)
			}
		},
	},
}
