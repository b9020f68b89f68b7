package storetest_test

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// A historyMistake is a way to write a history wrongly, as a mistake is for stores.
// make changes what some methods do.
type historyMistake struct {
	make        func(*bent)
	name, words string
}

var historyMistakes = make(map[string]historyMistake)

// wrongly adds a mistake.
func wrongly(what, name, words string, make func(*bent)) {
	historyMistakes[what] = historyMistake{make, name, words}
}

// TestHistoryMistakes is TestMistakes for histories.
func TestHistoryMistakes(t *testing.T) {
	for name, m := range historyMistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongHistory", name, m.name, m.words)
		})
	}
}

// TestWrongHistory is run by TestHistoryMistakes, in a process of its own.
func TestWrongHistory(t *testing.T) {
	m, ok := historyMistakes[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestHistoryMistakes runs this")
	}
	storetest.RunHistory(t, func(*testing.T) func() store.History {
		right := new(memory.Store)
		b := newBent(right)
		m.make(b)
		return func() store.History {
			if b.opensNew {
				return new(memory.Store)
			}
			return b
		}
	})
}

// Each case can fail.
func TestEachHistoryCaseHasAMistake(t *testing.T) {
	covered := make(map[string]bool)
	for m := range maps.Values(historyMistakes) {
		covered[m.name] = true
	}
	for _, name := range storetest.HistoryCases() {
		if !covered[name] {
			t.Errorf("no mistake makes %s fail", name)
		}
	}
}

// A bent is a history that is right except for the methods that a mistake sets.
type bent struct {
	*memory.Store
	opensNew bool

	put        func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events []store.Event) error
	settle     func(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error)
	depth      func(ctx context.Context) (store.Depth, error)
	record     func(ctx context.Context, events []store.Event) error
	records    func(ctx context.Context, limit int) ([]store.Record, error)
	setAside   func(ctx context.Context, record string) error
	restore    func(ctx context.Context) (int, error)
	journal    func(ctx context.Context) (store.Journal, error)
	claim      func(ctx context.Context, work, who string, now, until time.Time) (bool, error)
	apply      func(ctx context.Context, records []string, c store.Changes) error
	activities func(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error)
	recipients func(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error)
	states     func(ctx context.Context, tenant store.TenantID, mail string) (map[store.ActivityState]int, error)
	tenantOf   func(ctx context.Context, mail string) (store.TenantID, error)
	lookup     func(ctx context.Context, keys []store.ActivityKey) ([]store.Activity, error)
	counts     func(ctx context.Context, tenant store.TenantID, f store.CountFilter) ([]store.Count, error)
	expire     func(ctx context.Context, activities, counts time.Time, limit int) (int, error)
	erase      func(ctx context.Context, tenant store.TenantID, recipient string) (int, error)
}

func newBent(right *memory.Store) *bent {
	return &bent{
		Store: right,
		put: func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events []store.Event) error {
			return right.Put(ctx, m, d, body, events...)
		},
		settle: right.Settle, depth: right.Depth, record: right.Record, records: right.Records, setAside: right.SetAside, restore: right.Restore, journal: right.Journal,
		claim: right.Claim, apply: right.Apply, activities: right.Activities, recipients: right.Recipients, states: right.RecipientStates, lookup: right.ActivitiesByKey,
		counts: right.Counts, expire: right.Expire, erase: right.Erase,
		tenantOf: right.TenantOf,
	}
}

func (b *bent) Put(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events ...store.Event) error {
	return b.put(ctx, m, d, body, events)
}

func (b *bent) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	return b.settle(ctx, outcomes)
}

func (b *bent) Depth(ctx context.Context) (store.Depth, error) { return b.depth(ctx) }

func (b *bent) Record(ctx context.Context, events []store.Event) error { return b.record(ctx, events) }

func (b *bent) Records(ctx context.Context, limit int) ([]store.Record, error) {
	return b.records(ctx, limit)
}

func (b *bent) SetAside(ctx context.Context, record string) error { return b.setAside(ctx, record) }

func (b *bent) Restore(ctx context.Context) (int, error) { return b.restore(ctx) }

func (b *bent) Journal(ctx context.Context) (store.Journal, error) { return b.journal(ctx) }

func (b *bent) Claim(ctx context.Context, work, who string, now, until time.Time) (bool, error) {
	return b.claim(ctx, work, who, now, until)
}

func (b *bent) Apply(ctx context.Context, records []string, c store.Changes) error {
	return b.apply(ctx, records, c)
}

func (b *bent) Activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
	return b.activities(ctx, tenant, f)
}

func (b *bent) Recipients(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) ([]store.Activity, error) {
	return b.recipients(ctx, tenant, mail, f)
}

func (b *bent) RecipientStates(ctx context.Context, tenant store.TenantID, mail string) (map[store.ActivityState]int, error) {
	return b.states(ctx, tenant, mail)
}

func (b *bent) TenantOf(ctx context.Context, mail string) (store.TenantID, error) {
	return b.tenantOf(ctx, mail)
}

func (b *bent) ActivitiesByKey(ctx context.Context, keys []store.ActivityKey) ([]store.Activity, error) {
	return b.lookup(ctx, keys)
}

func (b *bent) Counts(ctx context.Context, tenant store.TenantID, f store.CountFilter) ([]store.Count, error) {
	return b.counts(ctx, tenant, f)
}

func (b *bent) Expire(ctx context.Context, activities, counts time.Time, limit int) (int, error) {
	return b.expire(ctx, activities, counts, limit)
}

func (b *bent) Erase(ctx context.Context, tenant store.TenantID, recipient string) (int, error) {
	return b.erase(ctx, tenant, recipient)
}

// onChange makes a mistake that changes what is applied to an activity that is there.
func onChange(change func(have store.Activity, c *store.ActivityChange)) func(*bent) {
	return func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			c.Activities = slices.Clone(c.Activities)
			for i := range c.Activities {
				list, _ := b.Store.Recipients(ctx, c.Activities[i].Tenant, c.Activities[i].Mail, store.RecipientFilter{Limit: 1 << 20})
				for _, have := range list {
					if have.N == c.Activities[i].N {
						change(have, &c.Activities[i])
					}
				}
			}
			return b.Store.Apply(ctx, records, c)
		}
	}
}
