package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

const suspended = "unpaid since 1 November"

var userSuspensionPromises = []promise{
	{
		name:  "SuspendUser/ThatOne",
		words: "SuspendUser sets the user's Suspended to reason, and changes nothing else. An empty reason ends the suspension.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			u.LastConnection, u.LastConnectionFrom = day, addr4
			t.ok(t.RecordLogin(t.Context(), "u1", 1, day, addr4), "RecordLogin")
			for _, reason := range []string{suspended, "abuse", "", strings.Repeat("🦄", 256)} {
				t.ok(t.SuspendUser(t.Context(), acme, "u1", reason, nil), "SuspendUser, reason %q", reason)
				u.Suspended = reason
				t.holds(u, hashOf("u1"))
			}
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))

			t.ok(t.SetPassword(t.Context(), acme, "u1", 1, "second hash", day), "SetPassword")
			t.ok(t.RenameUser(t.Context(), acme, "u1", "renamed", ""), "RenameUser")
			u.Generation, u.Name = 2, "renamed"
			t.holds(u, "second hash")
		},
	},
	{
		name:  "SuspendUser/SameReason",
		words: "The reason may be the same as before.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for _, reason := range []string{"", suspended, suspended} {
				t.ok(t.SuspendUser(t.Context(), acme, "u1", reason, nil), "SuspendUser, reason %q", reason)
				u.Suspended = reason
				t.holds(u, hashOf("u1"))
			}
			for _, reason := range []string{suspended, suspended, "", ""} {
				t.ok(t.SuspendDomain(t.Context(), acme, acmeDomain, reason), "SuspendDomain, reason %q", reason)
				u.DomainSuspended = reason
				t.holds(u, hashOf("u1"))
			}
		},
	},
	{
		name:  "SuspendUser/Conflict",
		words: "ErrConflict: seen is not nil, and the user's Suspended is not *seen.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for _, reason := range []string{"abuse", "abuse", suspended, ""} {
				for _, other := range []string{"", "Abuse", "abuse ", suspended} {
					if other != u.Suspended {
						err := t.SuspendUser(t.Context(), acme, "u1", reason, &other)
						t.fails(err, store.ErrConflict, "SuspendUser, reason %q for %q, seen %q", reason, u.Suspended, other)
						t.holds(u, hashOf("u1"))
					}
				}
				t.ok(t.SuspendUser(t.Context(), acme, "u1", reason, &u.Suspended), "SuspendUser, reason %q for %q, as seen", reason, u.Suspended)
				u.Suspended = reason
				t.holds(u, hashOf("u1"))
			}
		},
	},
	{
		name:  "SuspendUser/NotFound",
		words: "ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			for _, c := range []struct {
				tenant   store.TenantID
				username string
			}{{acme, "nobody"}, {acme, ""}, {acme, acmeDomain}, {rival, "u1"}} {
				err := t.SuspendUser(t.Context(), c.tenant, c.username, suspended, nil)
				t.fails(err, store.ErrNotFound, "SuspendUser(%q, %q)", c.tenant, c.username)
				err = t.SuspendUser(t.Context(), c.tenant, c.username, suspended, new("abuse"))
				t.fails(err, store.ErrNotFound, "SuspendUser(%q, %q), seen another reason", c.tenant, c.username)
			}
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
		},
	},
	{
		name: "SuspendDomain/WithItsUsers",
		words: "SuspendDomain sets the domain's Suspended to reason, and so in the same step the DomainSuspended of every user that the domain has or gets. " +
			"It changes nothing else. An empty reason ends the suspension. DomainSuspended is the domain's Suspended when the user is read; AddUser ignores it.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, []string{"r1"})
			t.ok(t.AddDomain(t.Context(), store.Domain{Tenant: rival, Name: acmeDomain, Created: day, Claim: true}, 0), "AddDomain of a claim")
			theirs := t.addUser(rival, acmeDomain, "r2")
			u := newUser(acme, acmeDomain, "u1")
			t.ok(t.SuspendUser(t.Context(), acme, "u1", "abuse", nil), "SuspendUser")
			u.Suspended = "abuse"
			late := newUser(acme, acmeDomain, "u2")
			for i, reason := range []string{suspended, "moved", ""} {
				t.ok(t.SuspendDomain(t.Context(), acme, acmeDomain, reason), "SuspendDomain, reason %q", reason)
				if u.DomainSuspended, late.DomainSuspended = reason, "ignored"; i == 0 {
					t.ok(t.AddUser(t.Context(), late, hashOf("u2"), 0), "AddUser to a suspended domain")
				}
				late.DomainSuspended = reason
				t.holds(u, hashOf("u1"))
				t.holds(late, hashOf("u2"))
				t.holds(theirs, hashOf("r2"))
				t.isSuspended(acmeDomain, reason, 2)
			}
			t.isSuspended(rivalDomain, "", 1)
			t.holds(newUser(rival, rivalDomain, "r1"), hashOf("r1"))
		},
	},
	{
		name:  "SuspendDomain/EndsWithTheDomain",
		words: "Any tenant can add the name again; the new domain has no users.",
		check: func(t *tester) {
			t.fill(nil, nil)
			t.ok(t.SuspendDomain(t.Context(), acme, acmeDomain, suspended), "SuspendDomain")
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			t.addDomain(acme, acmeDomain)
			t.isSuspended(acmeDomain, "", 0)
			t.addUser(acme, acmeDomain, "u1")
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
		},
	},
	{
		name:  "SuspendDomain/NotFound",
		words: "ErrNotFound: the tenant has no such domain.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, []string{"r1"})
			for _, name := range []string{"no.example", "", rivalDomain, "u1"} {
				t.fails(t.SuspendDomain(t.Context(), acme, name, suspended), store.ErrNotFound, "SuspendDomain(%q, %q)", acme, name)
			}
			t.isSuspended(rivalDomain, "", 1)
			t.holds(newUser(rival, rivalDomain, "r1"), hashOf("r1"))
		},
	},
	{
		name: "Race/DomainSuspendedWhileUsersAreAdded",
		words: "SuspendDomain sets the domain's Suspended to reason, and so in the same step the DomainSuspended of every user that the domain has or gets. " +
			"Methods are safe for concurrent use.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i := range rounds {
				reason := fmt.Sprint("reason ", i)
				of := func(racer int) store.User { return newUser(acme, acmeDomain, fmt.Sprintf("u%d-%d", i, racer)) }
				t.race(nil, func(st store.Store, racer int) error {
					if racer == 0 {
						return st.SuspendDomain(t.Context(), acme, acmeDomain, reason)
					}
					return st.AddUser(t.Context(), of(racer), "x", 0)
				})
				for racer := 1; racer < racers; racer++ {
					u := of(racer)
					u.DomainSuspended = reason
					t.holds(u, "x")
				}
			}
		},
	},
}

// isSuspended checks why a domain of acme or rival is suspended, and how many users it
// has.
func (t *tester) isSuspended(name, reason string, users int) {
	t.Helper()
	tenant := acme
	if name == rivalDomain {
		tenant = rival
	}
	want := store.Domain{Tenant: tenant, Name: name, Created: day, Users: users, Suspended: reason}
	got, err := t.Domain(t.Context(), tenant, name)
	t.ok(err, "Domain(%q, %q)", tenant, name)
	if got != want {
		t.Errorf("Domain(%q, %q):\n got %+v\nwant %+v", tenant, name, got, want)
	}
	list, _, err := t.Domains(t.Context(), tenant, store.Query{})
	t.ok(err, "Domains(%q)", tenant)
	if !slices.Contains(list, want) {
		t.Errorf("Domains(%q):\n got %+v\nwant %+v", tenant, list, want)
	}
}
