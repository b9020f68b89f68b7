package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// lister is the tenant whose domains are like acme's users in a case.
const lister store.TenantID = "lister"

// addSorted adds a user to acme's domain and a domain to lister, with a key and a
// SortName.
func (t *tester) addSorted(key, sortName string) {
	t.Helper()
	u := newUser(acme, acmeDomain, key)
	u.SortName = sortName
	t.ok(t.AddUser(t.Context(), u, hashOf(key), 0), "AddUser(%q)", key)
	d := store.Domain{Tenant: lister, Name: key, SortName: sortName, Created: day}
	t.ok(t.AddDomain(t.Context(), d, 0), "AddDomain(%q)", key)
	if t.sortNames == nil {
		t.sortNames = make(map[string]string)
	}
	t.sortNames[key] = sortName
}

// addConnected is addSorted, with the key as SortName and a last connection. The
// domain has a user for it, and another that has never connected.
func (t *tester) addConnected(key string, at time.Time) {
	t.Helper()
	t.addSorted(key, key)
	t.addUser(lister, key, "first of "+key)
	t.addUser(lister, key, "second of "+key)
	if !at.IsZero() {
		t.ok(t.RecordLogin(t.Context(), key, 1, at, addr4), "RecordLogin")
		t.ok(t.RecordLogin(t.Context(), "first of "+key, 1, at, addr4), "RecordLogin")
	}
}

// lists checks which of acme's users, and which of lister's domains, a query selects.
func (t *tester) lists(q store.Query, want []string) {
	t.Helper()
	if got := t.usernames(q); !slices.Equal(got, want) {
		t.Errorf("Users(%+v):\n got %q\nwant %q", q, got, want)
	}
	if got := t.domainNames(lister, q); !slices.Equal(got, want) {
		t.Errorf("Domains(%+v):\n got %q\nwant %q", q, got, want)
	}
}

// pages checks the pages of a list, forward and back again.
func (t *tester) pages(q store.Query, limit int, want []string) {
	t.Helper()
	q.Limit = limit
	t.bothWays("Users", q, want, func(q store.Query) ([]string, store.Found, error) {
		list, found, err := t.Users(t.Context(), acme, acmeDomain, q)
		return usernamesOf(list), found, err
	})
	t.bothWays("Domains", q, want, func(q store.Query) ([]string, store.Found, error) {
		list, found, err := t.Domains(t.Context(), lister, q)
		return domainNamesOf(list), found, err
	})
}

func (t *tester) bothWays(method string, q store.Query, want []string, read func(store.Query) ([]string, store.Found, error)) {
	t.Helper()
	for start := 0; start < len(want) || start == 0; start += q.Limit {
		got, found, err := read(q)
		t.ok(err, "%s(%+v)", method, q)
		page := want[start:min(start+q.Limit, len(want))]
		if !slices.Equal(got, page) || (found.Next == "") != (start+q.Limit >= len(want)) || (found.Previous == "") != (start == 0) || found.Matching != len(want) {
			t.Fatalf("%s(%+v): got %q and %+v, want %q, the entries from %d of %d", method, q, got, found, page, start, len(want))
		}
		q.After, q.Before = found.Next, found.Previous
		if start > 0 {
			back := q
			back.After = ""
			got, found, err := read(back)
			t.ok(err, "%s(%+v)", method, back)
			page := want[start-q.Limit : start]
			if !slices.Equal(got, page) || found.Next == "" || (found.Previous == "") != (start == q.Limit) {
				t.Fatalf("%s(%+v): got %q and %+v, want %q, the entries before %d of %d", method, back, got, found, page, start, len(want))
			}
		}
		q.Before = ""
	}
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// addMany adds n users to acme's domain, several at once, and returns their
// usernames in order.
func (t *tester) addMany(n int) []string {
	t.Helper()
	names := make([]string, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	const workers = 8
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				names[i] = fmt.Sprintf("u%04d", i)
				errs[i] = t.AddUser(t.Context(), newUser(acme, acmeDomain, names[i]), hashOf(names[i]), 0)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		t.ok(err, "AddUser(%q)", names[i])
	}
	return names
}

// walk reads the usernames of acme's domain page by page. Before each next page it
// calls between, if it is not nil, with the last username of the page.
func (t *tester) walk(q store.Query, between func(last string)) []string {
	t.Helper()
	var all []string
	for range 300 {
		list, found, err := t.Users(t.Context(), acme, acmeDomain, q)
		t.ok(err, "Users(%+v)", q)
		all = append(all, usernamesOf(list)...)
		if found.Next == "" {
			return all
		}
		q.After = found.Next
		if between != nil {
			between(all[len(all)-1])
		}
	}
	t.Fatalf("Users(%+v): the pages never end", q)
	return nil
}
