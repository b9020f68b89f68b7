package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// RunAllowances runs every case of the contract of [store.Allowances] as a subtest of
// t. fresh is as for [Run]. What open returns must be a [store.Spool] too. The contract
// of [store.History] has a suite of its own, [RunHistory].
func RunAllowances(t *testing.T, fresh func(t *testing.T) (open func() store.Allowances)) {
	t.Helper()
	for _, p := range allowancePromises() {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			p.check(newAllower(t, open))
		})
	}
}

// An allowancePromise is one case, as a promise is for Run.
type allowancePromise struct {
	name  string
	words string
	check func(*allower)
}

func allowancePromises() []allowancePromise {
	return slices.Concat(reservePromises, chargePromises)
}

// An allower is the Allowances of one case.
type allower struct {
	*historian
	a    store.Allowances
	open func() store.Allowances
}

func newAllower(t *testing.T, open func() store.Allowances) *allower {
	t.Helper()
	a := open()
	if a == nil {
		t.Fatal("the function that fresh returned opened nil")
	}
	first := true // the historian's own handle is a
	h := newHistorian(t, func() store.History {
		if first {
			first = false
			return a
		}
		return open()
	})
	return &allower{historian: h, a: a, open: open}
}

// otherHandle returns an allower with a second handle on the data.
func (t *allower) otherHandle() *allower { return newAllower(t.T, t.open) }

const monthly = "month/tenant/acme"

// newReservation reserves of the month of acme, with a grant that has not ended for long.
func newReservation(id string, want, max int64) store.Reservation {
	return store.Reservation{
		Grant: store.Grant{ID: id, Scope: monthly, Period: day}, Want: want, Max: max,
		Until: time.Now().UTC().Truncate(time.Microsecond).Add(24 * time.Hour), Ended: day,
	}
}

// reserves checks what a reservation gives and what the grant and the usage are after it.
func (t *allower) reserves(r store.Reservation, given, mine, used, held int64) {
	t.Helper()
	got, err := t.a.Reserve(t.Context(), r)
	t.ok(err, "Reserve(%+v)", r)
	want := store.Reserved{Given: given, Mine: mine, Usage: store.Usage{
		Scope: r.Scope, Period: r.Period, Used: used, Held: held, Noticed: got.Usage.Noticed, NoticedMax: got.Usage.NoticedMax}}
	if got != want {
		t.Errorf("Reserve(%+v):\n got %+v\nwant %+v", r, got, want)
	}
}

// uses checks the usages of a scope.
func (t *allower) uses(scope string, want ...store.Usage) {
	t.Helper()
	got, err := t.a.Usages(t.Context(), scope)
	t.ok(err, "Usages(%q)", scope)
	if !slices.Equal(got, want) {
		t.Errorf("Usages(%q):\n got %+v\nwant %+v", scope, got, want)
	}
}

func usageOf(used, held int64) store.Usage {
	return store.Usage{Scope: monthly, Period: day, Used: used, Held: held}
}

// charges applies charges, and removes records.
func (t *allower) charges(records []string, charges ...store.Charge) {
	t.Helper()
	t.ok(t.a.Apply(t.Context(), records, store.Changes{Charges: charges}), "Apply of %+v", charges)
}

func charge(id string, n int64) store.Charge {
	return store.Charge{Grant: newReservation(id, 0, 0).Grant, N: n}
}
