package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var handlePromises = []promise{
	{
		name:  "Handles/SeeEachOther",
		words: "When a method has returned nil, its change is durable, and every later call by any process that shares the store sees it.",
		check: func(t *tester) {
			other := *t
			other.Store = t.open()
			// Each handle has read what the other one changes next, and may have
			// cached it.
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			other.holds(u, hashOf("u1"))

			t.ok(t.SetPassword(t.Context(), acme, "u1", 1, "second hash", day), "SetPassword")
			u.Generation = 2
			other.holds(u, "second hash")

			other.ok(other.RenameUser(t.Context(), acme, "u1", "renamed", ""), "RenameUser")
			u.Name = "renamed"
			t.holds(u, "second hash")

			t.ok(t.RecordLogin(t.Context(), "u1", 1, day, addr4), "RecordLogin")
			u.LastConnection, u.LastConnectionFrom = day, addr4
			other.holds(u, "second hash")

			other.ok(other.RotatePassword(t.Context(), acme, "u1", 2, "third hash", day, day), "RotatePassword")
			u.Generation, u.OldUntil, u.OldConnection = 3, day, day
			t.holdsBoth(u, "third hash", "second hash")
			t.ok(t.SetPassword(t.Context(), acme, "u1", 3, "second hash", day), "SetPassword")
			u.Generation, u.OldUntil, u.OldConnection = 4, time.Time{}, time.Time{}
			other.holds(u, "second hash")

			other.ok(other.SuspendUser(t.Context(), acme, "u1", suspended, nil), "SuspendUser")
			u.Suspended = suspended
			t.holds(u, "second hash")

			t.ok(t.SuspendDomain(t.Context(), acme, acmeDomain, suspended), "SuspendDomain")
			u.DomainSuspended = suspended
			other.holds(u, "second hash")

			other.ok(other.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			t.gone(u)
			t.fails(t.AddUser(t.Context(), u, "x", 0), store.ErrTaken, "AddUser of what the other handle deleted")

			u2 := t.addUser(acme, acmeDomain, "u2")
			u2.DomainSuspended = suspended
			other.holds(u2, hashOf("u2"))
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			other.gone(u2)
			if got := other.domainNames(acme, store.Query{}); len(got) > 0 {
				t.Errorf("Domains: got %q after the other handle deleted it", got)
			}
			third := *t
			third.Store = t.open()
			third.fails(third.AddDomain(t.Context(), store.Domain{Tenant: rival, Name: rivalDomain, Created: day}, 0),
				store.ErrTaken, "AddDomain of what the first handle added")
		},
	},
	{
		name:  "Context/Ended",
		words: "If the context has already ended, a method returns the context's error and changes nothing.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			overdue, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			defer cancel()
			for _, ctx := range []context.Context{cancelled, overdue} {
				for name, call := range t.everyCall(ctx) {
					t.fails(call(), ctx.Err(), "%s, context ended", name)
				}
				t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
				t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
				if got := t.domainNames(acme, store.Query{}); !slices.Equal(got, []string{acmeDomain}) {
					t.Errorf("Domains: got %q, want only %q", got, acmeDomain)
				}
			}
			// The same calls succeed with a context that has not ended: the failed
			// calls have changed nothing.
			t.addDomain(acme, "new.example")
			t.addUser(acme, acmeDomain, "u3")
		},
	},
}

// everyCall returns a call of each method. All of them succeed after fill with the
// users u1 and u2, unless ctx has ended.
func (t *tester) everyCall(ctx context.Context) map[string]func() error {
	return map[string]func() error{
		"AddDomain": func() error {
			return t.AddDomain(ctx, store.Domain{Tenant: acme, Name: "new.example", Created: day}, 0)
		},
		"Domain": func() error {
			_, err := t.Domain(ctx, acme, acmeDomain)
			return err
		},
		"Domains": func() error {
			_, _, err := t.Domains(ctx, acme, store.Query{})
			return err
		},
		"DomainsNamed": func() error {
			_, err := t.DomainsNamed(ctx, acmeDomain)
			return err
		},
		"DeleteDomain": func() error { return t.DeleteDomain(ctx, acme, acmeDomain) },
		"AddUser":      func() error { return t.AddUser(ctx, newUser(acme, acmeDomain, "u3"), "x", 0) },
		"User": func() error {
			_, err := t.User(ctx, acme, "u1")
			return err
		},
		"Users": func() error {
			_, _, err := t.Users(ctx, acme, acmeDomain, store.Query{})
			return err
		},
		"SuspendDomain":  func() error { return t.SuspendDomain(ctx, acme, acmeDomain, suspended) },
		"SuspendUser":    func() error { return t.SuspendUser(ctx, acme, "u1", suspended, nil) },
		"RenameUser":     func() error { return t.RenameUser(ctx, acme, "u1", "renamed", "") },
		"SetSortNames":   func() error { return t.SetSortNames(ctx, acme, map[string]string{"u1": "u1"}) },
		"RotatePassword": func() error { return t.RotatePassword(ctx, acme, "u2", 1, "x", day, day) },
		"SetNetworks":    func() error { return t.SetNetworks(ctx, acme, "u1", networks(1)) },
		"EndOverlap":     func() error { return t.EndOverlap(ctx, acme, "u2", 1) },
		"SetPassword":    func() error { return t.SetPassword(ctx, acme, "u1", 1, "x", day) },
		"DeleteUser":     func() error { return t.DeleteUser(ctx, acme, "u2") },
		"Lookup": func() error {
			_, _, _, err := t.Lookup(ctx, "u1")
			return err
		},
		"RecordLogin": func() error { return t.RecordLogin(ctx, "u1", 1, day, addr4) },
	}
}
