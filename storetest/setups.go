package storetest

import (
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

// RunSetups runs every case of the contract of [store.Setups] as a subtest of t. fresh
// is as for [Run].
func RunSetups(t *testing.T, fresh func(t *testing.T) (open func() store.Setups)) {
	t.Helper()
	for _, p := range setupsPromises() {
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
			p.check(&setupper{T: t, Setups: s, open: open, second: sync.OnceValue(open)})
		})
	}
}

// A setupsPromise is one case, as a promise is for Run.
type setupsPromise struct {
	name  string
	words string
	check func(*setupper)
}

func setupsPromises() []setupsPromise {
	return slices.Concat(setupPromises, setupListPromises, dueSetupPromises, setupTextPromises)
}

// A setupper is the Setups of one case.
type setupper struct {
	*testing.T
	store.Setups
	open   func() store.Setups
	second func() store.Setups // a second handle on the case's data, opened once
}

// newSetup returns a setup with something in each field.
func newSetup(tenant store.TenantID, domain string) store.Setup {
	return store.Setup{
		Domain: domain, Tenant: tenant, Added: day, Token: "token of " + string(tenant), State: "verified", Told: "unverified",
		Since: day.Add(time.Microsecond), Checked: day.Add(time.Minute), Next: day.Add(time.Hour), Secrets: "keys of " + domain, Found: "{}",
	}
}

// set writes a setup, which has to work, and returns it as it is now.
func (t *setupper) set(s store.Setup) store.Setup {
	t.Helper()
	if err := t.SetSetup(t.Context(), s); err != nil {
		t.Fatalf("SetSetup: %v", err)
	}
	s.Version++
	return s
}

// has checks setups, through both handles.
func (t *setupper) has(want ...store.Setup) {
	t.Helper()
	for _, s := range []store.Setups{t.Setups, t.second()} {
		for _, w := range want {
			got, err := s.Setup(t.Context(), w.Domain, w.Tenant, w.Added)
			if err != nil || got != w {
				t.Errorf("Setup(%q, %q, %v):\n got %+v, %v\nwant %+v", w.Domain, w.Tenant, w.Added, got, err, w)
			}
		}
	}
}

// held checks which setup holds a domain; nil if none does.
func (t *setupper) held(domain string, want *store.Setup) {
	t.Helper()
	for _, s := range []store.Setups{t.Setups, t.second()} {
		got, err := s.HoldingSetup(t.Context(), domain)
		switch {
		case want == nil && !errors.Is(err, store.ErrNotFound):
			t.Errorf("HoldingSetup(%q): got %+v, %v, want ErrNotFound", domain, got, err)
		case want != nil && (err != nil || got != *want):
			t.Errorf("HoldingSetup(%q):\n got %+v, %v\nwant %+v", domain, got, err, *want)
		}
	}
}

// conflicts checks that a call changes nothing, because the version is another.
func (t *setupper) conflicts(err error, call string, is ...store.Setup) {
	t.Helper()
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("%s: got error %v, want ErrConflict", call, err)
	}
	t.has(is...)
}

var setupPromises = []setupsPromise{
	{
		name: "Set/Version",
		words: "Version is the one that it has, 0 if there is none; a new one does not hold. After the change the Version is one more. " +
			"ErrConflict: the setup has another Version; nothing is changed.",
		check: func(t *setupper) {
			a, b := t.set(newSetup(acme, "a.example")), t.set(newSetup(rival, "a.example"))
			t.has(a, b)
			t.held("a.example", nil)
			again := newSetup(acme, "a.example")
			again.State = "failed"
			t.conflicts(t.SetSetup(t.Context(), again), "SetSetup of one that exists", a, b)
			again.Version = 2
			t.conflicts(t.SetSetup(t.Context(), again), "SetSetup of a later version", a, b)
			again.Holds = true
			t.conflicts(t.SetSetup(t.Context(), again), "SetSetup of a later version that holds", a, b)
			again.Holds, again.Version, again.Token, again.Checked, again.Found = false, 1, "new", time.Time{}, ""
			t.has(t.set(again), b)
			missing := newSetup(acme, "b.example")
			missing.Version = 1
			t.conflicts(t.SetSetup(t.Context(), missing), "SetSetup of one that does not exist")
			missing.Version, missing.Holds = 0, true
			if err := t.SetSetup(t.Context(), missing); err == nil {
				t.Error("SetSetup of a new one that holds: got no error")
			}
			t.held("b.example", nil)
		},
	},
	{
		name:  "Setup/OfItsKey",
		words: "Setup returns one setup. ErrNotFound: there is none of this key.",
		check: func(t *setupper) {
			a, later := newSetup(acme, "a.example"), newSetup(acme, "a.example")
			later.Added, later.Token = day.Add(time.Microsecond), "later"
			t.has(t.set(a), t.set(later), t.set(newSetup(rival, "a.example")), t.set(newSetup(acme, "b.example")))
			for _, key := range []store.Setup{{Domain: "a.example", Tenant: acme, Added: day.Add(-time.Microsecond)}, {Domain: "b.example", Tenant: rival, Added: day}, {}} {
				if got, err := t.Setup(t.Context(), key.Domain, key.Tenant, key.Added); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Setup(%+v): got %+v, %v, want ErrNotFound", key, got, err)
				}
			}
		},
	},
	{
		name: "Set/Holds",
		words: "If it holds and did not hold before, all other setups of the domain change in the same step: " +
			"their Holds is false, their Token is empty, their Next is s.Checked, and their Version is one more. " +
			"HoldingSetup returns the setup that holds a domain. ErrNotFound: none does. At most one Setup of a domain holds it.",
		check: func(t *setupper) {
			a, c := t.set(newSetup(acme, "a.example")), t.set(newSetup(acme, "c.example"))
			a.Holds, c.Holds = true, true
			a, c = t.set(a), t.set(c)
			b := t.set(newSetup(rival, "a.example"))
			t.held("a.example", &a)
			a.State = "failing" // it holds already
			a = t.set(a)
			b.Holds, b.Checked = true, day.Add(48*time.Hour)
			stale := a
			b = t.set(b)
			a.Holds, a.Token, a.Next, a.Version = false, "", b.Checked, a.Version+1
			t.has(a, b, c)
			t.held("a.example", &b)
			t.held("c.example", &c)
			t.conflicts(t.SetSetup(t.Context(), stale), "SetSetup of what another tenant has taken", a, b)
			later := newSetup(rival, "a.example")
			later.Added = day.Add(time.Hour)
			later = t.set(later)
			later.Holds = true
			later = t.set(later) // the tenant has added the domain again
			t.held("a.example", &later)
			later.Holds = false
			t.has(t.set(later))
			t.held("a.example", nil)
		},
	},
	{
		name: "Set/EndsClaims",
		words: "If it holds and did not hold before, all other setups of the domain change in the same step: " +
			"their Holds is false, their Token is empty, their Next is s.Checked, and their Version is one more.",
		check: func(t *setupper) {
			a, b, again := newSetup(acme, "a.example"), newSetup(rival, "a.example"), newSetup(acme, "a.example")
			again.Added = day.Add(time.Hour)
			a, b, again = t.set(a), t.set(b), t.set(again)
			other := t.set(newSetup(rival, "b.example"))
			stale := b // as a caller has read it that asks the DNS meanwhile
			a.Holds, a.Checked = true, day.Add(48*time.Hour)
			a = t.set(a)
			for _, s := range []*store.Setup{&b, &again} { // they have never held the domain
				s.Token, s.Next, s.Version = "", a.Checked, s.Version+1
			}
			t.has(a, b, again, other)
			stale.Holds = true
			t.conflicts(t.SetSetup(t.Context(), stale), "SetSetup of a claim that ended", a, b, again)
			t.held("a.example", &a)
			b.Token = "new"
			b = t.set(b)
			a.Found = "[]" // it holds already
			a = t.set(a)
			t.has(a, b, again)
			b.Holds, b.Checked = true, day.Add(72*time.Hour)
			b = t.set(b)
			t.held("a.example", &b)
		},
	},
	{
		name:  "Drop/Version",
		words: "DropSetup removes a setup. ErrConflict: there is none of this key with this Version.",
		check: func(t *setupper) {
			a := t.set(newSetup(acme, "a.example"))
			a.Holds = true
			old := a
			a = t.set(a)
			b := t.set(newSetup(rival, "a.example"))
			t.conflicts(t.DropSetup(t.Context(), old), "DropSetup of an older version", a, b)
			if err := t.DropSetup(t.Context(), a); err != nil {
				t.Errorf("DropSetup: %v", err)
			}
			t.held("a.example", nil)
			t.conflicts(t.DropSetup(t.Context(), a), "DropSetup again", b)
			if got, err := t.second().Setup(t.Context(), a.Domain, a.Tenant, a.Added); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Setup after DropSetup: got %+v, %v, want ErrNotFound", got, err)
			}
			t.has(t.set(newSetup(acme, "a.example")))
		},
	},
	{
		name:  "Race/OneHolds",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *setupper) {
			for racer := range racers {
				t.set(newSetup(tenantOf(racer), "a.example"))
			}
			for range rounds {
				var won atomic.Int32
				var wg sync.WaitGroup
				for racer := range racers {
					wg.Go(func() {
						s := []store.Setups{t.Setups, t.second()}[racer%2]
						su, err := s.Setup(t.Context(), "a.example", tenantOf(racer), day)
						if su.Holds = true; err == nil {
							err = s.SetSetup(t.Context(), su)
						}
						if err == nil {
							won.Add(1)
						} else if !errors.Is(err, store.ErrConflict) {
							t.Errorf("SetSetup: %v", err)
						}
					})
				}
				wg.Wait()
				holding := 0
				for racer := range racers {
					su, err := t.Setup(t.Context(), "a.example", tenantOf(racer), day)
					if err != nil {
						t.Fatalf("Setup: %v", err)
					}
					if su.Holds {
						holding++
						t.held("a.example", &su)
					}
				}
				if holding != 1 || won.Load() == 0 {
					t.Fatalf("%d setups hold the domain after %d changes, want one", holding, won.Load())
				}
			}
		},
	},
	{
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail with its error and change nothing.",
		check: func(t *setupper) {
			a := t.set(newSetup(acme, "a.example"))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			changed, err := a, error(nil)
			changed.State = "failed"
			for name, call := range map[string]func() error{
				"Setup":        func() error { _, err = t.Setup(ctx, a.Domain, a.Tenant, a.Added); return err },
				"HoldingSetup": func() error { _, err = t.HoldingSetup(ctx, a.Domain); return err },
				"SetSetup":     func() error { return t.SetSetup(ctx, changed) },
				"DropSetup":    func() error { return t.DropSetup(ctx, a) },
				"SetupsOf":     func() error { _, err = t.SetupsOf(ctx, acme, []string{"a.example"}); return err },
				"OpenSetups":   func() error { _, err = t.OpenSetups(ctx, acme, "verified", 9); return err },
				"DueSetups":    func() error { _, err = t.DueSetups(ctx, day.AddDate(1, 0, 0), day.AddDate(2, 0, 0), 9); return err },
			} {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: got error %v, want %v", name, err, context.Canceled)
				}
			}
			t.has(a)
		},
	},
}

var setupTextPromises = []setupsPromise{
	{
		name: "Text/AsGiven",
		words: "Times come from the caller, in UTC and whole microseconds, and are returned as they were given. " +
			"Domains and tenants are as the names of a [Store]. Secrets and Found hold any bytes, up to 65,536 each. " +
			"Token, State and Told are valid UTF-8 without U+0000, of up to 255 bytes.",
		check: func(t *setupper) {
			for i, text := range []string{"", " ", "a ", "Grüße, 🦄", "'; DROP TABLE x; --", "%s ? $1 {setups}", strings.Repeat("ü", 127)} {
				s := newSetup(store.TenantID(text), fmt.Sprintf("%d.example", i))
				s.Token, s.State, s.Told, s.Secrets, s.Found = text, text, text, text+"caf\xe9 \xff\x00", strings.Repeat("\xfe", 65_536)
				t.has(t.set(s))
			}
			t.has(t.set(store.Setup{Domain: "zero.example", Tenant: acme}))
			s := newSetup(acme, "times.example")
			for i, at := range []*time.Time{&s.Added, &s.Since, &s.Checked, &s.Next} {
				*at = time.Date(9999-i, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)
			}
			t.has(t.set(s))
		},
	},
	{
		name:  "Text/NeverCut",
		words: "An adapter may refuse longer texts with an error of its own, but never cuts them.",
		check: func(t *setupper) {
			for i, at := range []func(*store.Setup) *string{
				func(s *store.Setup) *string { return &s.Domain }, func(s *store.Setup) *string { return &s.Token },
				func(s *store.Setup) *string { return &s.Secrets }, func(s *store.Setup) *string { return &s.Found },
			} {
				s := newSetup(acme, fmt.Sprintf("%d.example", i))
				*at(&s) = strings.Repeat("x", 1<<20)
				if err := t.SetSetup(t.Context(), s); err == nil {
					s.Version = 1
					t.has(s)
				}
			}
		},
	},
	{
		name:  "Handles/SeeEachOther",
		words: "When a method has returned nil, its change is durable, and every later call by any process sees it.",
		check: func(t *setupper) {
			a := t.set(newSetup(acme, "a.example"))
			t.has(a) // both handles have read it, and may have cached it
			t.held("a.example", nil)
			a.Holds = true
			if err := t.second().SetSetup(t.Context(), a); err != nil {
				t.Fatalf("SetSetup: %v", err)
			}
			a.Version++
			t.has(a)
			t.held("a.example", &a)
		},
	},
}
