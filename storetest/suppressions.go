package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// RunSuppressions runs every case of the contract of [store.Suppressions] as a
// subtest of t. fresh is as for [Run].
func RunSuppressions(t *testing.T, fresh func(t *testing.T) (open func() store.Suppressions)) {
	t.Helper()
	for _, p := range suppressionsPromises() {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			s := open()
			if s == nil {
				t.Fatal("the function that fresh returned opened nil")
			}
			p.check(&suppressor{T: t, Suppressions: s, open: open})
		})
	}
}

// A suppressionsPromise is one case, as a promise is for Run.
type suppressionsPromise struct {
	name  string
	words string
	check func(*suppressor)
}

func suppressionsPromises() []suppressionsPromise {
	return slices.Concat(suppressPromises, suppressionListPromises, suppressionTextPromises)
}

// A suppressor is the Suppressions of one case.
type suppressor struct {
	*testing.T
	store.Suppressions
	open  func() store.Suppressions
	other store.Suppressions // the second handle
}

// second returns a second handle on the case's data, opened once.
func (t *suppressor) second() store.Suppressions {
	if t.other == nil {
		t.other = t.open()
	}
	return t.other
}

// newSuppression returns a suppression with something in each field.
func newSuppression(tenant store.TenantID, address string) store.Suppression {
	return store.Suppression{
		Tenant: tenant, Address: address, Source: store.SuppressedByReply, Since: day, Until: day.Add(720 * time.Hour),
		Reason: "550 5.1.1 no such user " + address, Site: "site.example", Event: "event_of_" + address,
		Strikes: 2, Struck: day.Add(time.Microsecond), Cleared: day.Add(-time.Hour), Changed: day.Add(time.Second),
	}
}

// suppress writes suppressions, none of which may be lost, and returns them as they
// are now.
func (t *suppressor) suppress(list ...store.Suppression) []store.Suppression {
	t.Helper()
	lost, err := t.Suppress(t.Context(), list)
	t.ok(err, "Suppress")
	if len(lost) > 0 {
		t.Fatalf("Suppress: lost %+v", lost)
	}
	list = slices.Clone(list)
	for i := range list {
		list[i].Version++
	}
	return list
}

// has checks what is known of each address, through both handles.
func (t *suppressor) has(want ...store.Suppression) {
	t.Helper()
	for _, s := range []store.Suppressions{t.Suppressions, t.second()} {
		for _, w := range want {
			got, err := s.Suppression(t.Context(), w.Tenant, w.Address)
			if err != nil || got != w {
				t.Errorf("Suppression(%q, %q):\n got %+v, %v\nwant %+v", w.Tenant, w.Address, got, err, w)
			}
		}
	}
}

// lists checks a list of a tenant.
func (t *suppressor) lists(tenant store.TenantID, f store.SuppressionFilter, page store.Page, want ...store.Suppression) {
	t.Helper()
	got, err := t.second().ListSuppressions(t.Context(), tenant, f, page)
	t.ok(err, "ListSuppressions")
	if !slices.Equal(got, want) {
		t.Errorf("ListSuppressions(%q, %+v, %+v):\n got %+v\nwant %+v", tenant, f, page, got, want)
	}
}

// ok ends the case if err is not nil.
func (t *suppressor) ok(err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

var suppressPromises = []suppressionsPromise{
	{
		name:  "SuppressionsByKey",
		words: "SuppressionsByKey returns the suppressions that have one of the keys, in any order. A key of no suppression is left out. No key may be in the list twice.",
		check: func(t *suppressor) {
			var list []store.Suppression
			for i := range 600 {
				list = append(list, newSuppression(acme, fmt.Sprintf("u%04d@x.example", i)), newSuppression(rival, fmt.Sprintf("u%04d@x.example", i)))
			}
			list = append(t.suppress(list[:1000]...), t.suppress(list[1000:]...)...)
			finds := func(extra []store.SuppressionKey, want ...store.Suppression) {
				t.Helper()
				keys := slices.Clone(extra)
				for _, su := range want {
					keys = append(keys, store.SuppressionKey{Tenant: su.Tenant, Address: su.Address})
				}
				got, err := t.second().SuppressionsByKey(t.Context(), keys)
				t.ok(err, "SuppressionsByKey")
				slices.SortFunc(got, func(a, b store.Suppression) int {
					return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Tenant, b.Tenant))
				})
				if !slices.Equal(got, want) {
					t.Errorf("SuppressionsByKey of %d keys: got %d, want %d", len(keys), len(got), len(want))
				}
			}
			none := []store.SuppressionKey{{Tenant: acme, Address: "other@x.example"}, {Tenant: "other", Address: "u0001@x.example"}, {Tenant: acme, Address: "U0001@x.example"}, {}}
			finds(nil, list...)
			finds(none, list[1:1190]...)
			finds(nil, list[7])
			finds(none, list[8])
			finds(none)
			finds(nil)
		},
	},
	{
		name: "Suppress/Versions",
		words: "Version is the one that the suppression has, 0 if there is none. After the change the Version is one more. " +
			"A suppression with another Version changes nothing and is returned as lost, in the order given.",
		check: func(t *suppressor) {
			a := t.suppress(newSuppression(acme, "a@x.example"), newSuppression(acme, "b@x.example"), newSuppression(rival, "a@x.example"))
			t.has(a...)
			changed := a[0]
			changed.Source, changed.Until, changed.Reason = store.SuppressedByPerson, time.Time{}, ""
			missing, old, taken := newSuppression(acme, "c@x.example"), a[1], newSuppression(rival, "a@x.example")
			missing.Version, old.Version = 1, 2
			taken.Reason = "another"
			lost, err := t.Suppress(t.Context(), []store.Suppression{taken, missing, changed, old})
			t.ok(err, "Suppress")
			if want := []store.Suppression{taken, missing, old}; !slices.Equal(lost, want) {
				t.Errorf("Suppress: lost\n%+v\nwant\n%+v", lost, want)
			}
			changed.Version = 2
			t.has(changed, a[1], a[2])
			t.lists(acme, store.SuppressionFilter{}, store.Page{}, changed, a[1])
		},
	},
	{
		name:  "Suppress/AllOrNone",
		words: "Suppress adds and changes up to 1,000 suppressions in one step: all of them or, with an error, none.",
		check: func(t *suppressor) {
			list := make([]store.Suppression, 1000)
			for i := range list {
				list[i] = newSuppression(acme, fmt.Sprintf("u%04d@x.example", i))
			}
			all := t.suppress(list...)
			t.lists(acme, store.SuppressionFilter{}, store.Page{Limit: 2000}, all...)
			good, bad := newSuppression(rival, "a@x.example"), newSuppression(rival, "b@x.example")
			bad.Reason = strings.Repeat("x", 1<<20)
			if _, err := t.Suppress(t.Context(), []store.Suppression{good, bad}); err != nil {
				t.lists(rival, store.SuppressionFilter{}, store.Page{})
			}
		},
	},
	{
		name:  "Suppression/NotFound",
		words: "ErrNotFound: the tenant has none of this address.",
		check: func(t *suppressor) {
			t.suppress(newSuppression(acme, "a@x.example"))
			for tenant, address := range map[store.TenantID]string{rival: "a@x.example", acme: "b@x.example"} {
				if _, err := t.Suppression(t.Context(), tenant, address); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Suppression(%q, %q): got error %v, want ErrNotFound", tenant, address, err)
				}
			}
		},
	},
	{
		name:  "Expire/OfAllTenants",
		words: "ExpireSuppressions removes suppressions of all tenants whose Until is not zero and not after now, at most limit, and returns how many.",
		check: func(t *suppressor) {
			now := day.Add(time.Hour)
			ends := func(tenant store.TenantID, address string, until time.Time) store.Suppression {
				s := newSuppression(tenant, address)
				s.Until = until
				return s
			}
			stay := t.suppress(ends(acme, "a@x.example", time.Time{}), ends(acme, "b@x.example", now.Add(time.Microsecond)))
			t.suppress(ends(acme, "c@x.example", now), ends(rival, "a@x.example", day), ends(rival, "b@x.example", now.Add(-time.Microsecond)))
			for _, want := range []int{2, 1, 0} {
				if n, err := t.ExpireSuppressions(t.Context(), now, 2); err != nil || n != want {
					t.Errorf("ExpireSuppressions: got %d, %v, want %d", n, err, want)
				}
			}
			t.lists(acme, store.SuppressionFilter{}, store.Page{}, stay...)
			t.lists(rival, store.SuppressionFilter{}, store.Page{})
		},
	},
	{
		name:  "Race/OneChangeWins",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *suppressor) {
			handles := []store.Suppressions{t.Suppressions, t.second()}
			for version := range int64(rounds) {
				var won [2]atomic.Int32
				var wg sync.WaitGroup
				for racer := range racers {
					wg.Go(func() {
						list := []store.Suppression{newSuppression(acme, "a@x.example"), newSuppression(rival, "a@x.example")}
						list[0].Version, list[1].Version = version, version
						if racer%2 == 1 { // two callers who lock rows in their own order would wait for each other
							slices.Reverse(list)
						}
						lost, err := handles[racer/2%2].Suppress(t.Context(), list)
						if err != nil {
							t.Errorf("Suppress: %v", err)
						}
						for i, tenant := range []store.TenantID{acme, rival} {
							if !slices.ContainsFunc(lost, func(s store.Suppression) bool { return s.Tenant == tenant }) {
								won[i].Add(1)
							}
						}
					})
				}
				wg.Wait()
				if won[0].Load() != 1 || won[1].Load() != 1 {
					t.Errorf("version %d was changed by %d and %d callers, want one", version, won[0].Load(), won[1].Load())
				}
			}
		},
	},
	{
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail with its error and change nothing.",
		check: func(t *suppressor) {
			all := t.suppress(newSuppression(acme, "a@x.example"))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range map[string]func() error{
				"Suppress": func() error {
					_, err := t.Suppress(ctx, []store.Suppression{newSuppression(acme, "b@x.example")})
					return err
				},
				"Suppression": func() error {
					_, err := t.Suppression(ctx, acme, "a@x.example")
					return err
				},
				"SuppressionsByKey": func() error {
					_, err := t.SuppressionsByKey(ctx, []store.SuppressionKey{{Tenant: acme, Address: "a@x.example"}})
					return err
				},
				"ListSuppressions": func() error {
					_, err := t.ListSuppressions(ctx, acme, store.SuppressionFilter{}, store.Page{})
					return err
				},
				"SuppressionsSince": func() error {
					_, err := t.SuppressionsSince(ctx, acme, day, 9)
					return err
				},
				"ExpireSuppressions": func() error {
					_, err := t.ExpireSuppressions(ctx, day.Add(9999*time.Hour), 9)
					return err
				},
			} {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: got error %v, want %v", name, err, context.Canceled)
				}
			}
			t.lists(acme, store.SuppressionFilter{}, store.Page{}, all...)
		},
	},
}
