package storetest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var domainPromises = []promise{
	{
		name:  "AddDomain/Records",
		words: "AddDomain adds a domain. Domains lists the tenant's domains.",
		check: func(t *tester) {
			want := store.Domain{Tenant: acme, Name: acmeDomain, SortName: "sorted as this", Created: day}
			t.ok(t.AddDomain(t.Context(), want, 0), "AddDomain")
			list, _, err := t.Domains(t.Context(), acme, store.Query{})
			t.ok(err, "Domains(%q)", acme)
			if !slices.Equal(list, []store.Domain{want}) {
				t.Errorf("Domains(%q): got %+v, want only %+v", acme, list, want)
			}
		},
	},
	{
		name:  "AddDomain/Taken",
		words: "ErrTaken: the tenant has a domain of this name, or another tenant has one and neither of the two is a Claim.",
		check: func(t *tester) {
			first := t.addDomain(acme, acmeDomain)
			second := store.Domain{Tenant: rival, Name: acmeDomain, Created: day.AddDate(1, 0, 0)}
			t.fails(t.AddDomain(t.Context(), second, 0), store.ErrTaken, "AddDomain by another tenant")
			second.Tenant = acme
			t.fails(t.AddDomain(t.Context(), second, 0), store.ErrTaken, "AddDomain twice by one tenant")
			second.Claim = true
			t.fails(t.AddDomain(t.Context(), second, 0), store.ErrTaken, "AddDomain of a claim to what the tenant has")

			list, _, err := t.Domains(t.Context(), acme, store.Query{})
			t.ok(err, "Domains(%q)", acme)
			if !slices.Equal(list, []store.Domain{first}) {
				t.Errorf("Domains(%q) after the refused AddDomain: got %+v, want only %+v", acme, list, first)
			}
			if list := t.domainNames(rival, store.Query{}); len(list) > 0 {
				t.Errorf("Domains(%q) after the refused AddDomain: got %q, want none", rival, list)
			}
		},
	},
	{
		name: "AddDomain/Claims",
		words: "Then other tenants may have a domain of the same name too, and package relay/domains decides which of them has proved it. " +
			"Domains that are not claims have names of their own.",
		check: func(t *tester) {
			t.addDomain(acme, acmeDomain)
			a := t.addUser(acme, acmeDomain, "u1")
			claim := store.Domain{Tenant: rival, Name: acmeDomain, Created: day.AddDate(1, 0, 0), Claim: true}
			t.ok(t.AddDomain(t.Context(), claim, 0), "AddDomain of a claim")
			t.fails(t.AddDomain(t.Context(), claim, 0), store.ErrTaken, "AddDomain of the claim again")
			claim.Tenant = "third"
			t.ok(t.AddDomain(t.Context(), claim, 0), "AddDomain of a second claim")
			claim.Tenant, claim.Claim = "fourth", false
			t.fails(t.AddDomain(t.Context(), claim, 0), store.ErrTaken, "AddDomain of what is no claim, beside another such")
			t.claimed(acme, false)
			t.claimed(rival, true)
			t.addUser(rival, acmeDomain, "r1")
			t.addUser(rival, acmeDomain, "r2")
			for tenant, want := range map[store.TenantID]int{acme: 1, rival: 2} {
				d, err := t.Domain(t.Context(), tenant, acmeDomain)
				t.ok(err, "Domain of %q", tenant)
				list, _, err := t.Users(t.Context(), tenant, acmeDomain, store.Query{})
				t.ok(err, "Users of %q", tenant)
				if d.Tenant != tenant || d.Users != want || len(list) != want {
					t.Errorf("%q: got domain %+v and %d users, want %d users of its own", tenant, d, len(list), want)
				}
			}
			t.ok(t.DeleteDomain(t.Context(), rival, acmeDomain), "DeleteDomain")
			t.gone(newUser(rival, acmeDomain, "r1"))
			t.holds(a, hashOf("u1"))
			t.fails(t.DeleteDomain(t.Context(), rival, acmeDomain), store.ErrNotFound, "DeleteDomain of another tenant's")
			t.sumsUp(1, time.Time{})
		},
	},
	{
		name:  "Domain/OfTheTenant",
		words: "Domain returns one domain of the tenant. ErrNotFound: the tenant has no such domain.",
		check: func(t *tester) {
			t.fill(nil, nil)
			t.addDomain(acme, "other.example")
			got, err := t.Domain(t.Context(), acme, acmeDomain)
			t.ok(err, "Domain(%q)", acmeDomain)
			if want := (store.Domain{Tenant: acme, Name: acmeDomain, Created: day}); got != want {
				t.Errorf("Domain(%q): got %+v, want %+v", acmeDomain, got, want)
			}
			for _, name := range []string{rivalDomain, "no.example", "x." + acmeDomain, ""} {
				_, err := t.Domain(t.Context(), acme, name)
				t.fails(err, store.ErrNotFound, "Domain(%q)", name)
			}
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			_, err = t.Domain(t.Context(), acme, acmeDomain)
			t.fails(err, store.ErrNotFound, "Domain of a deleted one")
		},
	},
	{
		name: "Domain/SumsUpItsUsers",
		words: "Users is the number of users of the domain, and LastConnection the latest LastConnection of any of them. " +
			"They are computed when a domain is read; AddDomain ignores them.",
		check: func(t *tester) {
			t.ok(t.AddDomain(t.Context(), store.Domain{Tenant: acme, Name: acmeDomain, Created: day, Users: 7, LastConnection: day}, 0), "AddDomain")
			t.addDomain(acme, "other.example")
			t.addUser(acme, "other.example", "o1")
			t.ok(t.RecordLogin(t.Context(), "o1", 1, day.AddDate(1, 0, 0), addr4), "RecordLogin")
			t.sumsUp(0, time.Time{})
			for _, username := range []string{"u1", "u2", "u3"} {
				t.addUser(acme, acmeDomain, username)
			}
			t.sumsUp(3, time.Time{})
			t.ok(t.RecordLogin(t.Context(), "u2", 1, day.Add(time.Hour), addr4), "RecordLogin")
			t.ok(t.RecordLogin(t.Context(), "u1", 1, day, addr4), "RecordLogin")
			t.sumsUp(3, day.Add(time.Hour))
			t.ok(t.DeleteUser(t.Context(), acme, "u2"), "DeleteUser")
			t.sumsUp(2, day)
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			t.addDomain(acme, acmeDomain)
			t.sumsUp(0, time.Time{})
		},
	},
	{
		name:  "Domains/OfOneTenant",
		words: "Domains lists the tenant's domains. An unknown tenant has none.",
		check: func(t *tester) {
			for _, name := range []string{"b.example", "a.example", "c.example"} {
				t.addDomain(acme, name)
			}
			t.addDomain(rival, "a.rival.example")
			for tenant, want := range map[store.TenantID][]string{
				acme:     {"a.example", "b.example", "c.example"},
				rival:    {"a.rival.example"},
				"nobody": nil,
			} {
				if got := t.domainNames(tenant, store.Query{}); !slices.Equal(got, want) {
					t.Errorf("Domains(%q): got %q, want %q", tenant, got, want)
				}
			}
		},
	},
	{
		name:  "DomainsNamed/OfAllTenants",
		words: "DomainsNamed returns the domains of all tenants that have this name, by tenant. It is for operators: several tenants may claim a domain.",
		check: func(t *tester) {
			own := t.addDomain("b", acmeDomain)
			want := []store.Domain{own}
			for _, tenant := range []store.TenantID{"c", "a"} {
				d := store.Domain{Tenant: tenant, Name: acmeDomain, Created: day, Claim: true}
				t.ok(t.AddDomain(t.Context(), d, 0), "AddDomain of a claim")
				want = append(want, d)
			}
			slices.SortFunc(want, func(a, b store.Domain) int { return cmp.Compare(a.Tenant, b.Tenant) })
			t.addDomain("a", "x."+acmeDomain)
			t.addDomain("a", rivalDomain)
			t.addUser("c", acmeDomain, "u1")
			want[2].Users = 1
			got, err := t.DomainsNamed(t.Context(), acmeDomain)
			t.ok(err, "DomainsNamed(%q)", acmeDomain)
			if !slices.Equal(got, want) {
				t.Errorf("DomainsNamed(%q):\n got %+v\nwant %+v", acmeDomain, got, want)
			}
			for _, name := range []string{"no.example", "", "%", strings.ToUpper(acmeDomain)} {
				got, err := t.DomainsNamed(t.Context(), name)
				t.ok(err, "DomainsNamed(%q)", name)
				if len(got) > 0 {
					t.Errorf("DomainsNamed(%q): got %+v, want none", name, got)
				}
			}
		},
	},
	{
		name:  "DeleteDomain/UsersGoWithIt",
		words: "DeleteDomain removes the tenant's domain and every user of it, in one step.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2", "u3"}, []string{"r1"})
			t.addDomain(acme, "other.example")
			other := t.addUser(acme, "other.example", "o1")

			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			for _, username := range []string{"u1", "u2", "u3"} {
				t.gone(newUser(acme, acmeDomain, username))
			}
			_, _, err := t.Users(t.Context(), acme, acmeDomain, store.Query{})
			t.fails(err, store.ErrNotFound, "Users of the deleted domain")
			if got := t.domainNames(acme, store.Query{}); !slices.Equal(got, []string{"other.example"}) {
				t.Errorf("Domains(%q): got %q, want only the other domain", acme, got)
			}
			t.holds(other, hashOf("o1"))
			t.holds(newUser(rival, rivalDomain, "r1"), hashOf("r1"))
		},
	},
	{
		name:  "DeleteDomain/UsernamesStayOnRecord",
		words: "The usernames stay on record and are never issued again.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			t.addDomain(acme, acmeDomain)
			for _, u := range []store.User{
				newUser(acme, acmeDomain, "u1"),
				newUser(rival, rivalDomain, "u2"),
			} {
				t.fails(t.AddUser(t.Context(), u, "x", 0), store.ErrTaken, "AddUser(%q, %q) again", u.Tenant, u.Username)
			}
		},
	},
	{
		name:  "DeleteDomain/NameIsFreeAgain",
		words: "Any tenant can add the name again; the new domain has no users.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			t.addDomain(rival, acmeDomain)
			list, _, err := t.Users(t.Context(), rival, acmeDomain, store.Query{})
			t.ok(err, "Users of the new domain")
			if len(list) > 0 {
				t.Errorf("Users of the new domain: got %+v, want none", list)
			}
			t.gone(newUser(acme, acmeDomain, "u1"))
			t.gone(newUser(rival, acmeDomain, "u1"))
			t.addUser(rival, acmeDomain, "u2")
		},
	},
	{
		name:  "DeleteDomain/NotFound",
		words: "ErrNotFound: the tenant has no such domain.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.fails(t.DeleteDomain(t.Context(), acme, "no.example"), store.ErrNotFound, "DeleteDomain of an unknown domain")
			t.fails(t.DeleteDomain(t.Context(), acme, "x."+acmeDomain), store.ErrNotFound, "DeleteDomain of a subdomain")
			t.ok(t.DeleteDomain(t.Context(), acme, acmeDomain), "DeleteDomain")
			t.fails(t.DeleteDomain(t.Context(), acme, acmeDomain), store.ErrNotFound, "DeleteDomain for the second time")
		},
	},
}

// sumsUp checks Users and LastConnection of acme's domain, in Domain and Domains.
func (t *tester) sumsUp(users int, lastConnection time.Time) {
	t.Helper()
	want := store.Domain{Tenant: acme, Name: acmeDomain, Created: day, Users: users, LastConnection: lastConnection}
	got, err := t.Domain(t.Context(), acme, acmeDomain)
	t.ok(err, "Domain(%q)", acmeDomain)
	if got != want {
		t.Errorf("Domain:\n got %+v\nwant %+v", got, want)
	}
	list, _, err := t.Domains(t.Context(), acme, store.Query{})
	t.ok(err, "Domains(%q)", acme)
	if !slices.Contains(list, want) {
		t.Errorf("Domains:\n got %+v\nwant %+v among them", list, want)
	}
}
