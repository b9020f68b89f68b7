package storetest_test

import (
	"context"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// A bentAllowances is right except for the methods that a mistake sets.
type bentAllowances struct {
	*memory.Store
	opensNew bool

	reserve    func(ctx context.Context, r store.Reservation) (store.Reserved, error)
	release    func(ctx context.Context, g store.Grant, n int64) error
	usages     func(ctx context.Context, scope string) ([]store.Usage, error)
	setNoticed func(ctx context.Context, scope string, period time.Time, percent int, max int64) error
	apply      func(ctx context.Context, records []string, c store.Changes) error
	expireAll  bool
}

func (b *bentAllowances) ExpireUsages(ctx context.Context, before time.Time, limit int) (int, error) {
	if b.expireAll {
		limit = 1 << 20
	}
	return b.Store.ExpireUsages(ctx, before, limit)
}

func (b *bentAllowances) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	return b.reserve(ctx, r)
}

func (b *bentAllowances) Release(ctx context.Context, g store.Grant, n int64) error {
	return b.release(ctx, g, n)
}

func (b *bentAllowances) Usages(ctx context.Context, scope string) ([]store.Usage, error) {
	return b.usages(ctx, scope)
}

func (b *bentAllowances) SetNoticed(ctx context.Context, scope string, period time.Time, percent int, max int64) error {
	return b.setNoticed(ctx, scope, period, percent, max)
}

func (b *bentAllowances) Apply(ctx context.Context, records []string, c store.Changes) error {
	return b.apply(ctx, records, c)
}

// An allowanceMistake is a way to write an Allowances wrongly, and the case that finds it.
type allowanceMistake struct {
	name, words string
	make        func(*bentAllowances)
}

// reserving makes a mistake in what Reserve is asked for.
func reserving(change func(*store.Reservation)) func(*bentAllowances) {
	return func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			change(&r)
			return b.Store.Reserve(ctx, r)
		}
	}
}

// charging makes a mistake in what Apply charges.
func charging(change func(context.Context, *bentAllowances, []store.Charge) []store.Charge) func(*bentAllowances) {
	return func(b *bentAllowances) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			c.Charges = change(ctx, b, c.Charges)
			return b.Store.Apply(ctx, records, c)
		}
	}
}

var allowanceMistakes = map[string]allowanceMistake{
	"all that is wanted is given": {"Reserve/UpToMax", "It gives as many of Want as Max leaves", reserving(func(r *store.Reservation) { r.Max = 1 << 40 })},
	"what other nodes hold is not counted": {"Reserve/CountsHeld", "Used and Held together never become more than Max", func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			list, err := b.Store.Usages(ctx, r.Scope)
			for _, u := range list {
				if u.Period.Equal(r.Period) {
					r.Max += u.Held
				}
			}
			if err != nil {
				return store.Reserved{}, err
			}
			return b.Store.Reserve(ctx, r)
		}
	}},
	"a raise begins a period of its own": {"Reserve/Raised", "Used and Held together never become more than Max", reserving(func(r *store.Reservation) {
		r.Period = r.Period.Add(time.Duration(r.Max))
	})},
	"Used counts only for a usage that is new": {"Reserve/LeastUsed", "A usage that has less Used gets it", func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			list, err := b.Store.Usages(ctx, r.Scope)
			for _, u := range list {
				if u.Period.Equal(r.Period) {
					r.Used = 0
				}
			}
			if err != nil {
				return store.Reserved{}, err
			}
			return b.Store.Reserve(ctx, r)
		}
	}},
	"the usage is read, then written": {"Reserve/Race", "Used and Held together never become more than Max", func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			r0 := r
			r0.Want = 0
			got, err := b.Store.Reserve(ctx, r0)
			if err != nil {
				return got, err
			}
			time.Sleep(time.Millisecond)
			r.Want, r.Max = max(0, min(r.Want, r.Max-got.Usage.Used-got.Usage.Held)), 1<<40
			return b.Store.Reserve(ctx, r)
		}
	}},
	"all tenants share a limit": {"Reserve/Apart", "A Grant names a part of a limit", reserving(func(r *store.Reservation) { r.Scope = "month" })},
	"a grant lasts for ever": {"Reserve/DropsEnded", "it drops the grants of the scope and period whose Until is before Ended", reserving(func(r *store.Reservation) {
		r.Ended = time.Time{}
	})},
	"a grant keeps its first end": {"Reserve/Renews", "and sets its Until", func(b *bentAllowances) {
		var first sync.Map
		reserving(func(r *store.Reservation) {
			until, _ := first.LoadOrStore(r.ID, r.Until)
			r.Until = until.(time.Time)
		})(b)
	}},
	"a grant ends while records wait": {"Reserve/HeldByRecords", "and before every record that waits", func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			records, err := b.Store.Records(ctx, 1000)
			if err != nil {
				return store.Reserved{}, err
			}
			for _, record := range records { // as if they were applied
				if err := b.Store.SetAside(ctx, record.ID); err != nil {
					return store.Reserved{}, err
				}
			}
			return b.Store.Reserve(ctx, r)
		}
	}},
	"usages are kept for ever":      {"Reserve/Forgets", "Forget removes usages of the scope", reserving(func(r *store.Reservation) { r.Forget = time.Time{} })},
	"all old usages expire at once": {"ExpireUsages/OldOnes", "at most limit of them", func(b *bentAllowances) { b.expireAll = true }},
	"a grant becomes less than 0": {"Release/Back", "which never becomes less than 0", func(b *bentAllowances) {
		b.release = func(ctx context.Context, g store.Grant, n int64) error {
			return b.Store.Apply(ctx, nil, store.Changes{Charges: []store.Charge{{Grant: g, N: n}, {Grant: g, N: -n}}})
		}
	}},
	"the newest usage comes first": {"Usages/ByPeriod", "by period", func(b *bentAllowances) {
		b.usages = func(ctx context.Context, scope string) ([]store.Usage, error) {
			list, err := b.Store.Usages(ctx, scope)
			for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
				list[i], list[j] = list[j], list[i]
			}
			return list, err
		}
	}},
	"a raise tells nothing anew": {"SetNoticed/Rises", "If they have the same NoticedMax, the greater Noticed stays.", func(b *bentAllowances) {
		b.setNoticed = func(ctx context.Context, scope string, period time.Time, percent int, _ int64) error {
			return b.Store.SetNoticed(ctx, scope, period, percent, 10)
		}
	}},
	"charges are not taken from grants": {"Charge/Moves", "and takes it from the grant", charging(func(_ context.Context, _ *bentAllowances, list []store.Charge) []store.Charge {
		for i := range list {
			list[i].ID += "x"
		}
		return list
	})},
	"a charge needs a usage": {"Charge/WithoutGrant", "and a usage that is not there is made", charging(func(ctx context.Context, b *bentAllowances, list []store.Charge) (kept []store.Charge) {
		for _, c := range list {
			if u, _ := b.Store.Usages(ctx, c.Scope); len(u) > 0 {
				kept = append(kept, c)
			}
		}
		return kept
	})},
	"charges are lost": {"Charge/Many", "it adds each Charge to Used", charging(func(_ context.Context, _ *bentAllowances, list []store.Charge) []store.Charge {
		return list[:min(len(list), 512)]
	})},
	"charges are made twice": {"Charge/Once", "it adds each Charge to Used", func(b *bentAllowances) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			if err := b.Store.Apply(ctx, nil, store.Changes{Charges: c.Charges}); err != nil {
				return err
			}
			c.Charges = nil
			return b.Store.Apply(ctx, records, c)
		}
	}},
	"charges are made before the rest": {"Charge/AllOrNothing", "it adds each Charge to Used", func(b *bentAllowances) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			if err := b.Store.Apply(ctx, nil, store.Changes{Charges: c.Charges}); err != nil {
				return err
			}
			c.Charges = nil
			return b.Store.Apply(ctx, records, c)
		}
	}},
	"a charge is taken from the grant first": {"Charge/Race", "Used and Held together never become more than Max", func(b *bentAllowances) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			for _, charge := range c.Charges {
				if err := b.Store.Release(ctx, charge.Grant, charge.N); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return b.Store.Apply(ctx, records, c)
		}
	}},
	"allowances of its own for each process": {"Handles/Allowances", "What is said of a History about atomic, durable", func(b *bentAllowances) { b.opensNew = true }},
	"the context is ignored": {"Context/AllowancesEnded", "contexts, times and texts holds here too", func(b *bentAllowances) {
		b.reserve = func(ctx context.Context, r store.Reservation) (store.Reserved, error) {
			return b.Store.Reserve(context.WithoutCancel(ctx), r)
		}
	}},
}

// TestAllowanceMistakes is TestMistakes for allowances.
func TestAllowanceMistakes(t *testing.T) {
	for name, m := range allowanceMistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongAllowances", name, m.name, m.words)
		})
	}
}

// TestWrongAllowances is run by TestAllowanceMistakes, in a process of its own.
func TestWrongAllowances(t *testing.T) {
	m, ok := allowanceMistakes[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestAllowanceMistakes runs this")
	}
	storetest.RunAllowances(t, func(*testing.T) func() store.Allowances {
		right := new(memory.Store)
		b := &bentAllowances{Store: right, reserve: right.Reserve, release: right.Release, usages: right.Usages, setNoticed: right.SetNoticed, apply: right.Apply}
		m.make(b)
		return func() store.Allowances {
			if b.opensNew {
				return new(memory.Store)
			}
			return b
		}
	})
}

// Each case can fail.
func TestEachAllowanceCaseHasAMistake(t *testing.T) {
	covered := make(map[string]bool)
	for m := range maps.Values(allowanceMistakes) {
		covered[m.name] = true
	}
	for _, name := range storetest.AllowanceCases() {
		if !covered[name] {
			t.Errorf("no mistake makes %s fail", name)
		}
	}
}
