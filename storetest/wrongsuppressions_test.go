package storetest_test

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// wrongSuppressions are ways to write a Suppressions wrongly.
var wrongSuppressions = map[string]struct {
	make        func(store.Suppressions) store.Suppressions
	name, words string
}{
	"the last write wins": {
		make:  func(s store.Suppressions) store.Suppressions { return lastWrite{s} },
		name:  "Suppress/Versions",
		words: "A suppression with another Version changes nothing",
	},
	"what is lost is sorted": {
		make:  func(s store.Suppressions) store.Suppressions { return sortsLost{s} },
		name:  "Suppress/Versions",
		words: "is returned as lost, in the order given",
	},
	"a batch has a hundred": {
		make:  func(s store.Suppressions) store.Suppressions { return cutBatch{s} },
		name:  "Suppress/AllOrNone",
		words: "Suppress adds and changes up to 1,000 suppressions in one step",
	},
	"those before a bad one stay": {
		make:  func(s store.Suppressions) store.Suppressions { return untilBad{s} },
		name:  "Suppress/AllOrNone",
		words: "all of them or, with an error, none",
	},
	"what is missing is empty": {
		make:  func(s store.Suppressions) store.Suppressions { return emptySuppression{s} },
		name:  "Suppression/NotFound",
		words: "ErrNotFound: the tenant has none of this address.",
	},
	"the tenants of keys are mixed": {
		make:  func(s store.Suppressions) store.Suppressions { return mixesTenants{s} },
		name:  "SuppressionsByKey",
		words: "A key of no suppression is left out.",
	},
	"zero has passed": {
		make:  func(s store.Suppressions) store.Suppressions { return expiresAll{s} },
		name:  "Expire/OfAllTenants",
		words: "whose Until is not zero and not after now",
	},
	"the version is read, then written": {
		make:  func(s store.Suppressions) store.Suppressions { return &readsThenWrites{Suppressions: s} },
		name:  "Race/OneChangeWins",
		words: "Each method is atomic",
	},
	"the context is ignored": {
		make:  func(s store.Suppressions) store.Suppressions { return deafSuppressions{s} },
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail",
	},
	"a page is filtered after it was cut": {
		make:  func(s store.Suppressions) store.Suppressions { return filtersLate{s} },
		name:  "ListSuppressions/Pages",
		words: "lists the suppressions of a tenant that match the filter, by address",
	},
	"a search is a pattern": {
		make:  func(s store.Suppressions) store.Suppressions { return searchPattern{s} },
		name:  "ListSuppressions/Search",
		words: "page.Search is a part of the address",
	},
	"a site is a suffix": {
		make:  func(s store.Suppressions) store.Suppressions { return siteSuffix{s} },
		name:  "ListSuppressions/Filter",
		words: "its Site, or the domain of its Address",
	},
	"changes are sorted by address": {
		make:  func(s store.Suppressions) store.Suppressions { return sortsChanges{s} },
		name:  "SuppressionsSince/InOrder",
		words: "in the order of Changed",
	},
	"texts are made valid": {
		make:  func(s store.Suppressions) store.Suppressions { return validReasons{s} },
		name:  "Text/AsGiven",
		words: "Other texts hold any bytes.",
	},
	"times are kept in milliseconds": {
		make:  func(s store.Suppressions) store.Suppressions { return roundsTimes{s} },
		name:  "Text/AsGiven",
		words: "are returned as they were given",
	},
	"reasons are cut to fit the column": {
		make:  func(s store.Suppressions) store.Suppressions { return cutsReasons{s} },
		name:  "Text/ByteByByte",
		words: "but never cuts them",
	},
	"trailing spaces are ignored": {
		make:  func(s store.Suppressions) store.Suppressions { return trimsAddresses{s} },
		name:  "Text/ByteByByte",
		words: "that compare and sort byte by byte",
	},
	"reads are cached": {
		make:  func(s store.Suppressions) store.Suppressions { return &cachesReads{Suppressions: s} },
		name:  "Handles/SeeEachOther",
		words: "every later call by any process sees it",
	},
}

type lastWrite struct{ store.Suppressions }

func (s lastWrite) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	list = slices.Clone(list)
	for i := range list {
		is, _ := s.Suppression(ctx, list[i].Tenant, list[i].Address)
		list[i].Version = is.Version
	}
	return s.Suppressions.Suppress(ctx, list)
}

type sortsLost struct{ store.Suppressions }

func (s sortsLost) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	lost, err := s.Suppressions.Suppress(ctx, list)
	slices.SortFunc(lost, func(a, b store.Suppression) int { return cmp.Compare(a.Address, b.Address) })
	return lost, err
}

type cutBatch struct{ store.Suppressions }

func (s cutBatch) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	return s.Suppressions.Suppress(ctx, list[:min(len(list), 100)])
}

type untilBad struct{ store.Suppressions }

func (s untilBad) Suppress(ctx context.Context, list []store.Suppression) (lost []store.Suppression, err error) {
	for _, su := range list {
		if len(su.Reason) > 16_384 {
			return nil, store.ErrFull
		}
		l, err := s.Suppressions.Suppress(ctx, []store.Suppression{su})
		if err != nil {
			return nil, err
		}
		lost = append(lost, l...)
	}
	return lost, nil
}

type emptySuppression struct{ store.Suppressions }

func (s emptySuppression) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	su, _ := s.Suppressions.Suppression(ctx, tenant, address)
	return su, ctx.Err()
}

type expiresAll struct{ store.Suppressions }

func (s expiresAll) ExpireSuppressions(ctx context.Context, now time.Time, limit int) (int, error) {
	list, _ := s.ListSuppressions(ctx, "acme", store.SuppressionFilter{}, store.Page{})
	for _, su := range list {
		if su.Until.IsZero() {
			su.Until = now
			s.Suppress(ctx, []store.Suppression{su})
		}
	}
	return s.Suppressions.ExpireSuppressions(ctx, now, limit)
}

// readsThenWrites compares the version in a step of its own.
type readsThenWrites struct {
	store.Suppressions
	mu sync.Mutex
}

func (s *readsThenWrites) Suppress(ctx context.Context, list []store.Suppression) (lost []store.Suppression, err error) {
	for _, su := range list {
		is, _ := s.Suppression(ctx, su.Tenant, su.Address)
		if is.Version != su.Version {
			lost = append(lost, su)
			continue
		}
		time.Sleep(5 * time.Millisecond)
		s.mu.Lock()
		if is, _ = s.Suppression(ctx, su.Tenant, su.Address); is.Version == su.Version {
			_, err = s.Suppressions.Suppress(ctx, []store.Suppression{su})
		}
		s.mu.Unlock()
	}
	return lost, err
}

type deafSuppressions struct{ store.Suppressions }

func (s deafSuppressions) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	return s.Suppressions.Suppression(context.WithoutCancel(ctx), tenant, address)
}

type filtersLate struct{ store.Suppressions }

func (s filtersLate) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) (list []store.Suppression, err error) {
	all, err := s.Suppressions.ListSuppressions(ctx, tenant, store.SuppressionFilter{}, page)
	for _, su := range all {
		if f.Match(&su) {
			list = append(list, su)
		}
	}
	return list, err
}

type searchPattern struct{ store.Suppressions }

func (s searchPattern) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) (list []store.Suppression, err error) {
	before, after, _ := strings.Cut(page.Search, "_")
	page.Search = ""
	all, err := s.Suppressions.ListSuppressions(ctx, tenant, f, page)
	for _, su := range all {
		if strings.Contains(strings.ToLower(su.Address), strings.ToLower(before)) && strings.Contains(su.Address, after) {
			list = append(list, su)
		}
	}
	return list, err
}

type siteSuffix struct{ store.Suppressions }

func (s siteSuffix) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) (list []store.Suppression, err error) {
	site := f.Site
	f.Site = ""
	all, err := s.Suppressions.ListSuppressions(ctx, tenant, f, page)
	for _, su := range all {
		if strings.HasSuffix(su.Site, site) || strings.HasSuffix(su.Address, site) {
			list = append(list, su)
		}
	}
	return list, err
}

type sortsChanges struct{ store.Suppressions }

func (s sortsChanges) SuppressionsSince(ctx context.Context, tenant store.TenantID, changed time.Time, limit int) ([]store.Suppression, error) {
	list, err := s.Suppressions.SuppressionsSince(ctx, tenant, changed, limit)
	slices.SortFunc(list, func(a, b store.Suppression) int { return cmp.Compare(a.Address, b.Address) })
	return list, err
}

// changes writes suppressions after it has changed each.
func changes(ctx context.Context, s store.Suppressions, list []store.Suppression, change func(*store.Suppression)) ([]store.Suppression, error) {
	list = slices.Clone(list)
	for i := range list {
		change(&list[i])
	}
	return s.Suppress(ctx, list)
}

type validReasons struct{ store.Suppressions }

func (s validReasons) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	return changes(ctx, s.Suppressions, list, func(su *store.Suppression) { su.Reason = strings.ToValidUTF8(su.Reason, "?") })
}

type roundsTimes struct{ store.Suppressions }

func (s roundsTimes) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	return changes(ctx, s.Suppressions, list, func(su *store.Suppression) { su.Struck = su.Struck.Truncate(time.Millisecond) })
}

type cutsReasons struct{ store.Suppressions }

func (s cutsReasons) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	return changes(ctx, s.Suppressions, list, func(su *store.Suppression) { su.Reason = su.Reason[:min(len(su.Reason), 16_384)] })
}

type trimsAddresses struct{ store.Suppressions }

func (s trimsAddresses) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	return changes(ctx, s.Suppressions, list, func(su *store.Suppression) { su.Address = strings.TrimRight(su.Address, " ") })
}

// cachesReads remembers what was read through one handle.
type cachesReads struct {
	store.Suppressions
	read sync.Map
}

func (s *cachesReads) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	key := string(tenant) + " " + address
	if su, ok := s.read.Load(key); ok {
		return su.(store.Suppression), nil
	}
	su, err := s.Suppressions.Suppression(ctx, tenant, address)
	if err == nil {
		s.read.Store(key, su)
	}
	return su, err
}

func TestSuppressionsMistakes(t *testing.T) {
	for name, m := range wrongSuppressions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongSuppressions", name, m.name, m.words)
		})
	}
}

// TestWrongSuppressions is run by TestSuppressionsMistakes, in a process of its own.
func TestWrongSuppressions(t *testing.T) {
	m, ok := wrongSuppressions[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestSuppressionsMistakes runs this")
	}
	storetest.RunSuppressions(t, func(*testing.T) func() store.Suppressions {
		right := new(memory.Store)
		return func() store.Suppressions { return m.make(right) }
	})
}

type mixesTenants struct{ store.Suppressions }

func (s mixesTenants) SuppressionsByKey(ctx context.Context, keys []store.SuppressionKey) ([]store.Suppression, error) {
	seen := make(map[store.SuppressionKey]bool)
	var all []store.SuppressionKey
	for _, a := range keys {
		for _, tenant := range []store.TenantID{"acme", "rival", a.Tenant} {
			if k := (store.SuppressionKey{Tenant: tenant, Address: a.Address}); !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	return s.Suppressions.SuppressionsByKey(ctx, all)
}
