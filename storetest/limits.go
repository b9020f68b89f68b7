package storetest

import (
	"fmt"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

var limitPromises = []promise{
	{
		name: "AddDomain/Limit",
		words: "ErrLimit: the tenant has limit domains or more, and limit is above zero. If both are true, AddDomain returns ErrTaken. " +
			"Each method is atomic. If its error matches ErrNotFound, ErrTaken, ErrLimit or ErrConflict, it has changed nothing.",
		check: func(t *tester) {
			t.fill(nil, nil)
			add := func(name string, limit int) error {
				return t.AddDomain(t.Context(), store.Domain{Tenant: acme, Name: name, Created: day}, limit)
			}
			t.ok(add("b.example", 2), "AddDomain of the second, limit 2")
			t.fails(add("c.example", 2), store.ErrLimit, "AddDomain of the third, limit 2")
			t.fails(add("c.example", 1), store.ErrLimit, "AddDomain of the third, limit 1")
			t.fails(add("b.example", 2), store.ErrTaken, "AddDomain of what the tenant has, limit 2")
			t.fails(add(rivalDomain, 2), store.ErrTaken, "AddDomain of what another tenant has, limit 2")
			if got := t.domainNames(acme, store.Query{}); len(got) != 2 {
				t.Errorf("Domains: got %q, want the two that were added", got)
			}
			t.ok(t.AddDomain(t.Context(), store.Domain{Tenant: rival, Name: "c.example", Created: day}, 2), "AddDomain of the name by another tenant")
			t.ok(add("d.example", 3), "AddDomain of the third, limit 3")
			t.ok(add("e.example", 0), "AddDomain without a limit")
			t.ok(add("f.example", -1), "AddDomain with a limit below zero")
			for _, name := range []string{"d.example", "e.example", "f.example"} {
				t.ok(t.DeleteDomain(t.Context(), acme, name), "DeleteDomain")
			}
			t.ok(add("g.example", 3), "AddDomain after DeleteDomain, limit 3")
		},
	},
	{
		name: "AddUser/Limit",
		words: "ErrLimit: the domain has limit users or more, and limit is above zero. " +
			"Each method is atomic. If its error matches ErrNotFound, ErrTaken, ErrLimit or ErrConflict, it has changed nothing.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.addDomain(acme, "other.example")
			t.addUser(acme, "other.example", "o1")
			add := func(username string, limit int) error {
				return t.AddUser(t.Context(), newUser(acme, acmeDomain, username), hashOf(username), limit)
			}
			t.ok(add("u2", 2), "AddUser of the second, limit 2")
			t.fails(add("u3", 2), store.ErrLimit, "AddUser of the third, limit 2")
			t.fails(add("u3", 1), store.ErrLimit, "AddUser of the third, limit 1")
			t.gone(newUser(acme, acmeDomain, "u3"))
			t.ok(add("u3", 3), "AddUser of the refused username, limit 3")
			t.holds(newUser(acme, acmeDomain, "u3"), hashOf("u3"))
			t.ok(t.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			t.ok(add("u4", 3), "AddUser after DeleteUser, limit 3")
			t.ok(add("u5", 0), "AddUser without a limit")
			t.ok(add("u6", -1), "AddUser with a limit below zero")
		},
	},
	{
		name:  "Race/LimitOfDomains",
		words: "Of calls at the same time no more succeed than limit allows.",
		check: func(t *tester) {
			for i := range rounds {
				tenant := store.TenantID(fmt.Sprint("tenant ", i))
				won := t.race(store.ErrLimit, func(st store.Store, racer int) error {
					return st.AddDomain(t.Context(), store.Domain{Tenant: tenant, Name: fmt.Sprintf("r%d-%d.example", i, racer), Created: day, Claim: racer%2 == 0}, 3)
				})
				t.exactly(3, won, "AddDomain, limit 3")
				if got := t.domainNames(tenant, store.Query{}); len(got) != 3 {
					t.Errorf("Domains: got %q, want 3", got)
				}
			}
		},
	},
	{
		name:  "Race/LimitOfUsers",
		words: "Of calls at the same time no more succeed than limit allows.",
		check: func(t *tester) {
			for i := range rounds {
				name := fmt.Sprintf("d%d.example", i)
				t.addDomain(acme, name)
				won := t.race(store.ErrLimit, func(st store.Store, racer int) error {
					return st.AddUser(t.Context(), newUser(acme, name, fmt.Sprintf("u%d-%d", i, racer)), "x", 3)
				})
				t.exactly(3, won, "AddUser, limit 3")
			}
		},
	},
}

// exactly ends the case unless so many of won are true.
func (t *tester) exactly(want int, won []bool, method string) {
	t.Helper()
	if got := strings.Count(fmt.Sprint(won), "true"); got != want {
		t.Fatalf("%s at the same time: %d succeeded, want %d", method, got, want)
	}
}
