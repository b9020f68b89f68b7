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

// RunEndpoints runs every case of the contract of [store.Endpoints] as a subtest of t.
// fresh is as for [Run].
func RunEndpoints(t *testing.T, fresh func(t *testing.T) (open func() store.Endpoints)) {
	t.Helper()
	for _, p := range endpointsPromises() {
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
			p.check(&endpointer{T: t, Endpoints: s, second: sync.OnceValue(open)})
		})
	}
}

// An endpointsPromise is one case, as a promise is for Run.
type endpointsPromise struct {
	name  string
	words string
	check func(*endpointer)
}

func endpointsPromises() []endpointsPromise {
	return slices.Concat(endpointPromises, endpointAttemptPromises, endpointTextPromises)
}

// An endpointer is the Endpoints of one case.
type endpointer struct {
	*testing.T
	store.Endpoints
	second func() store.Endpoints // a second handle on the case's data, opened once
}

// newEndpoint returns an endpoint with something in each field.
func newEndpoint(tenant store.TenantID, id string, slot int) store.Endpoint {
	return store.Endpoint{
		Tenant: tenant, ID: id, Slot: slot, Created: day, Types: "message.*", Sealed: "secret of " + id, Off: "too many",
		OffSince: day.Add(time.Microsecond), Failing: day.Add(time.Hour),
	}
}

// set writes an endpoint, which has to work, and returns it as it is now.
func (t *endpointer) set(e store.Endpoint) store.Endpoint {
	t.Helper()
	if err := t.SetEndpoint(t.Context(), e); err != nil {
		t.Fatalf("SetEndpoint: %v", err)
	}
	e.Version++
	return e
}

// has checks which endpoints tenants have, through both handles.
func (t *endpointer) has(tenants []store.TenantID, want ...store.Endpoint) {
	t.Helper()
	for _, s := range []store.Endpoints{t.Endpoints, t.second()} {
		got, err := s.ListEndpoints(t.Context(), tenants)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ListEndpoints(%q):\n got %+v, %v\nwant %+v", tenants, got, err, want)
		}
	}
}

// conflicts checks that a call returned ErrConflict.
func (t *endpointer) conflicts(err error, call string) {
	t.Helper()
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("%s: got error %v, want ErrConflict", call, err)
	}
}

var onlyAcme = []store.TenantID{acme}

var endpointPromises = []endpointsPromise{
	{
		name: "Set/Version",
		words: "Version is the one that it has, 0 if there is none. After the change the Version is one more. " +
			"ErrConflict: it has another Version, or it is new and another endpoint of the tenant has its Slot; nothing is changed.",
		check: func(t *endpointer) {
			a, b := t.set(newEndpoint(acme, "a", 0)), t.set(newEndpoint(rival, "a", 0))
			both := []store.TenantID{acme, rival}
			t.has(both, a, b)
			again := newEndpoint(acme, "a", 1)
			again.Off = ""
			t.conflicts(t.SetEndpoint(t.Context(), again), "SetEndpoint of one that exists")
			again.Version = 2
			t.conflicts(t.SetEndpoint(t.Context(), again), "SetEndpoint of a later version")
			missing := newEndpoint(acme, "b", 1)
			missing.Version = 1
			t.conflicts(t.SetEndpoint(t.Context(), missing), "SetEndpoint of one that does not exist")
			t.has(both, a, b)
			a.Types, a.Sealed, a.Off, a.OffSince, a.Failing = "", "new", "", time.Time{}, time.Time{}
			t.has(both, t.set(a), b)
		},
	},
	{
		name:  "Set/Slot",
		words: "No two endpoints of a tenant have the same Slot, so the Slots below a limit are how many endpoints a tenant may have. It never changes.",
		check: func(t *endpointer) {
			a, b := t.set(newEndpoint(acme, "a", 3)), t.set(newEndpoint(acme, "b", 1))
			t.conflicts(t.SetEndpoint(t.Context(), newEndpoint(acme, "c", 3)), "SetEndpoint in a Slot that is taken")
			t.has(onlyAcme, b, a)
			moved := a
			moved.Slot, moved.Created, moved.Off = 2, day.AddDate(1, 0, 0), "moved"
			if err := t.SetEndpoint(t.Context(), moved); err != nil {
				t.Errorf("SetEndpoint with another Slot: %v", err)
			}
			a.Off, a.Version = "moved", a.Version+1
			t.has(onlyAcme, b, a)
			if err := t.DropEndpoint(t.Context(), acme, "a"); err != nil {
				t.Fatalf("DropEndpoint: %v", err)
			}
			t.has(onlyAcme, b, t.set(newEndpoint(acme, "c", 3)))
		},
	},
	{
		name:  "Race/OnePerSlot",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *endpointer) {
			for round := range rounds {
				var won atomic.Int32
				var wg sync.WaitGroup
				for racer := range racers {
					wg.Go(func() {
						s := []store.Endpoints{t.Endpoints, t.second()}[racer%2]
						switch err := s.SetEndpoint(t.Context(), newEndpoint(acme, fmt.Sprint(round, "-", racer), round)); {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, store.ErrConflict):
							t.Errorf("SetEndpoint: %v", err)
						}
					})
				}
				wg.Wait()
				if list, err := t.ListEndpoints(t.Context(), onlyAcme); err != nil || len(list) != round+1 || won.Load() != 1 {
					t.Fatalf("%d callers took Slot %d, and the tenant has %d endpoints, %v; want one, and %d", won.Load(), round, len(list), err, round+1)
				}
			}
		},
	},
	{
		name:  "Drop/WithItsAttempts",
		words: "DropEndpoint removes an endpoint and its attempts. ErrNotFound: the tenant has none of this ID.",
		check: func(t *endpointer) {
			t.set(newEndpoint(acme, "a", 0))
			b := t.set(newEndpoint(rival, "b", 0))
			t.add(9, attempt(acme, "a", 1), attempt(rival, "b", 2))
			for _, id := range []string{"b", ""} {
				if err := t.DropEndpoint(t.Context(), acme, id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("DropEndpoint(%q): got error %v, want ErrNotFound", id, err)
				}
			}
			if err := t.DropEndpoint(t.Context(), acme, "a"); err != nil {
				t.Errorf("DropEndpoint: %v", err)
			}
			t.has([]store.TenantID{acme, rival}, b)
			t.set(newEndpoint(acme, "a", 0))
			t.tried(acme, "a", 9)
			t.tried(rival, "b", 9, attempt(rival, "b", 2))
		},
	},
	{
		name:  "List/OfTenants",
		words: "ListEndpoints returns all endpoints of up to 1,000 tenants, by tenant and Slot.",
		check: func(t *endpointer) {
			var tenants []store.TenantID
			var want []store.Endpoint
			for i := range 1000 {
				tenants = append(tenants, store.TenantID(fmt.Sprintf("t%03d", i)))
			}
			for i := 0; i < 1000; i += 100 {
				b, a := newEndpoint(tenants[i], "a", 1), newEndpoint(tenants[i], "b", 0)
				t.set(b)
				t.set(a)
				a.Version, b.Version = 1, 1
				want = append(want, a, b)
			}
			t.set(newEndpoint(acme, "a", 0))
			slices.Reverse(tenants)
			t.has(tenants, want...)
			t.has(tenants[999:], want[:2]...)
			t.has(nil)
		},
	},
	{
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail with its error and change nothing.",
		check: func(t *endpointer) {
			a := t.set(newEndpoint(acme, "a", 0))
			t.add(9, attempt(acme, "a", 1))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			changed, err := a, error(nil)
			changed.Off = "changed"
			for name, call := range map[string]func() error{
				"SetEndpoint":          func() error { return t.SetEndpoint(ctx, changed) },
				"DropEndpoint":         func() error { return t.DropEndpoint(ctx, acme, "a") },
				"ListEndpoints":        func() error { _, err = t.ListEndpoints(ctx, onlyAcme); return err },
				"AddEndpointAttempts":  func() error { return t.AddEndpointAttempts(ctx, []store.EndpointAttempt{attempt(acme, "a", 2)}, 9) },
				"ListEndpointAttempts": func() error { _, err = t.ListEndpointAttempts(ctx, acme, "a", 9); return err },
			} {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: got error %v, want %v", name, err, context.Canceled)
				}
			}
			t.has(onlyAcme, a)
			t.tried(acme, "a", 9, attempt(acme, "a", 1))
		},
	},
	{
		name:  "Handles/SeeEachOther",
		words: "When a method has returned nil, its change is durable, and every later call by any process sees it.",
		check: func(t *endpointer) {
			a := t.set(newEndpoint(acme, "a", 0))
			t.has(onlyAcme, a) // both handles have read it, and may have cached it
			a.Off = "changed"
			if err := t.second().SetEndpoint(t.Context(), a); err != nil {
				t.Fatalf("SetEndpoint: %v", err)
			}
			a.Version++
			t.has(onlyAcme, a)
			if err := t.second().DropEndpoint(t.Context(), acme, "a"); err != nil {
				t.Fatalf("DropEndpoint: %v", err)
			}
			t.has(onlyAcme)
		},
	},
}

var endpointTextPromises = []endpointsPromise{
	{
		name: "Text/AsGiven",
		words: "Times and durations come from the caller, in whole microseconds and times in UTC, and are returned as they were given. " +
			"Tenants and the IDs of endpoints and attempts are as the names of a [Store]. " +
			"Other texts hold any bytes: Sealed has up to 65,536, the others have up to 1,024.",
		check: func(t *endpointer) {
			for i, text := range []string{"", " ", "a ", "Grüße, 🦄", "'; DROP TABLE x; --", "%s ? $1 {endpoints}", strings.Repeat("ü", 127)} {
				tenant, bytes := store.TenantID(text), text+"caf\xe9 \xff\x00"
				e := newEndpoint(tenant, text, i)
				e.Types, e.Sealed, e.Off = bytes, strings.Repeat("\xfe", 65_536), strings.Repeat("\xff", 1024)
				t.has([]store.TenantID{tenant}, t.set(e))
				a := attempt(tenant, text, i)
				a.ID, a.Event, a.Type, a.Reason = text, bytes, bytes, strings.Repeat("\xff", 1024)
				t.add(9, a)
				t.tried(tenant, text, 9, a)
			}
			t.has([]store.TenantID{"zero"}, t.set(store.Endpoint{Tenant: "zero"}))
			t.add(9, store.EndpointAttempt{Tenant: "zero"})
			t.tried("zero", "", 9, store.EndpointAttempt{Tenant: "zero"})
			e := newEndpoint("times", "times", 1<<30)
			for i, at := range []*time.Time{&e.Created, &e.OffSince, &e.Failing} {
				*at = time.Date(9999-i, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)
			}
			t.has([]store.TenantID{"times"}, t.set(e))
		},
	},
	{
		name:  "Text/AnyID",
		words: "An ID that no endpoint can have is not found, whatever its bytes are.",
		check: func(t *endpointer) {
			a := t.set(newEndpoint(acme, "m1", 0))
			for _, id := range noIDs {
				if err := t.DropEndpoint(t.Context(), acme, id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("DropEndpoint(%.20q): got error %v, want %v", id, err, store.ErrNotFound)
				}
				t.tried(acme, id, 9)
			}
			t.has(onlyAcme, a)
		},
	},
	{
		name:  "Text/NeverCut",
		words: "An adapter may refuse longer texts with an error of its own, but never cuts them.",
		check: func(t *endpointer) {
			for i, at := range []func(*store.Endpoint) *string{
				func(e *store.Endpoint) *string { return &e.ID }, func(e *store.Endpoint) *string { return &e.Types },
				func(e *store.Endpoint) *string { return &e.Sealed }, func(e *store.Endpoint) *string { return &e.Off },
			} {
				tenant := tenantOf(i)
				e := newEndpoint(tenant, "a", 0)
				*at(&e) = strings.Repeat("x", 1<<20)
				if err := t.SetEndpoint(t.Context(), e); err == nil {
					e.Version = 1
					t.has([]store.TenantID{tenant}, e)
				}
			}
			for i, at := range []func(*store.EndpointAttempt) *string{
				func(a *store.EndpointAttempt) *string { return &a.ID }, func(a *store.EndpointAttempt) *string { return &a.Event },
				func(a *store.EndpointAttempt) *string { return &a.Type }, func(a *store.EndpointAttempt) *string { return &a.Reason },
			} {
				id := fmt.Sprint(i)
				t.set(newEndpoint(acme, id, i))
				a := attempt(acme, id, i)
				*at(&a) = strings.Repeat("x", 1<<20)
				if err := t.AddEndpointAttempts(t.Context(), []store.EndpointAttempt{a}, 1); err == nil {
					t.tried(acme, id, 1, a)
				}
			}
		},
	},
}
