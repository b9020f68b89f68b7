package storetest

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
)

// bytewise is in byte order. Orders that ignore case, follow a language or compare
// UTF-16 sort it differently.
var bytewise = []string{
	" lead", "-a", "10", "9", "A", "B", "Z", "_", "a", "a ", "a  ", "a-b", "a.b", "ab", "b", "z", "~",
	"\u00e4", "\u00e9", "\u0130", "\ufb01", "\uffdd", "\U0001f4ee",
}

var listPromises = []promise{
	{
		name:  "Page/ByteOrder",
		words: "A Page selects one page of a list that is ordered by name (domains) or by username (users), in byte order.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i := range bytewise {
				name := bytewise[(i*7+3)%len(bytewise)] // not in order
				t.addUser(acme, acmeDomain, name)
				t.addDomain("lister", name)
			}
			if got := t.usernames(store.Page{}); !slices.Equal(got, bytewise) {
				t.Errorf("Users:\n got %q\nwant %q", got, bytewise)
			}
			if got := t.domainNames("lister", store.Page{}); !slices.Equal(got, bytewise) {
				t.Errorf("Domains:\n got %q\nwant %q", got, bytewise)
			}
			for i, after := range bytewise {
				if got, want := t.usernames(store.Page{After: after}), bytewise[i+1:]; !slices.Equal(got, want) {
					t.Fatalf("Users after %q:\n got %q\nwant %q", after, got, want)
				}
				if got, want := t.domainNames("lister", store.Page{After: after}), bytewise[i+1:]; !slices.Equal(got, want) {
					t.Fatalf("Domains after %q:\n got %q\nwant %q", after, got, want)
				}
			}
		},
	},
	{
		name:  "Page/AThousandUsers",
		words: "at most this many entries; zero or less means 100",
		check: func(t *tester) {
			t.fill(nil, []string{"u0500x"})
			want := t.addMany(1000)
			for _, limit := range []int{0, -1, 1, 7, 99, 250, 999, 1000, 1001, math.MaxInt32} {
				first := t.usernames(store.Page{Limit: limit})
				size := min(store.Page{Limit: limit}.Size(), len(want))
				if !slices.Equal(first, want[:size]) {
					t.Errorf("Users, limit %d: got %d users, want the first %d", limit, len(first), size)
				}
			}
			for _, limit := range []int{0, 7, 250, 1000} {
				if got := t.walk(limit, nil); !slices.Equal(got, want) {
					t.Errorf("all pages of limit %d: got %d users, want all %d once and in order", limit, len(got), len(want))
				}
			}
		},
	},
	{
		name:  "Page/Domains",
		words: "at most this many entries; zero or less means 100",
		check: func(t *tester) {
			var want []string
			for i := range defaultLimit + 5 {
				want = append(want, fmt.Sprintf("d%03d.example", i))
				t.addDomain(acme, want[i])
			}
			if got := t.domainNames(acme, store.Page{}); !slices.Equal(got, want[:defaultLimit]) {
				t.Errorf("Domains: got %d, want the first %d", len(got), defaultLimit)
			}
			var got []string
			for page := (store.Page{Limit: 8}); ; page.After = got[len(got)-1] {
				names := t.domainNames(acme, page)
				if len(names) == 0 || len(got) > len(want) {
					break
				}
				got = append(got, names...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("all pages of limit 8: got %q, want %q", got, want)
			}
		},
	},
	{
		name: "Page/Search",
		words: "If Search is not empty, the page has only entries that contain it: domains in their Name, users in their Name or Username. " +
			"The letters A to Z match in either case; an adapter may match other letters in either case too. Search has no wildcards.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i, name := range []string{"WordPress", "the wordpress of 2019", "100 % off", "a_b", `back\slash`, "Größe 📮", "a.b", "C'est ça"} {
				u := newUser(acme, acmeDomain, fmt.Sprintf("u%d", i))
				u.Name = name
				t.ok(t.AddUser(t.Context(), u, "x"), "AddUser named %q", name)
			}
			for search, want := range map[string][]string{
				"":                {"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"},
				"wordpress":       {"u0", "u1"},
				"WORDPRESS":       {"u0", "u1"},
				"press of":        {"u1"},
				"word press":      nil,
				"%":               {"u2"},
				"_":               {"u3"},
				`\`:               {"u4"},
				"ö":               {"u5"},
				"gr\u00f6\u00dfE": {"u5"},
				"groesse":         nil,
				"📮":               {"u5"},
				"a.b":             {"u6"},
				"'":               {"u7"},
				"C'EST":           {"u7"},
				"ca":              nil,
				"U2":              {"u2"},
				" ":               {"u1", "u2", "u5", "u7"},
				"  ":              nil,
			} {
				if got := t.usernames(store.Page{Search: search}); !slices.Equal(got, want) {
					t.Errorf("Users that contain %q: got %q, want %q", search, got, want)
				}
			}
			if got, want := t.usernames(store.Page{Search: "A", After: "u2", Limit: 2}), []string{"u3", "u4"}; !slices.Equal(got, want) {
				t.Errorf("Users that contain A, two after u2: got %q, want %q", got, want)
			}
			if got := t.domainNames(acme, store.Page{Search: "E.EXAMPL"}); !slices.Equal(got, []string{acmeDomain}) {
				t.Errorf("Domains: got %q, want only %q", got, acmeDomain)
			}
			if got := t.domainNames(acme, store.Page{Search: "wordpress"}); len(got) > 0 {
				t.Errorf("Domains: got %q, want none: only a user has that name", got)
			}
		},
	},
	{
		name: "Page/ChangesMeanwhile",
		words: "A page begins after a key and not at a number, so an entry that is added or deleted between two calls neither repeats nor skips another entry. " +
			"only entries after this key, which need not exist",
		check: func(t *tester) {
			t.fill(nil, nil)
			all := t.addMany(40)
			// Between two pages an entry that was read is deleted, or one is added.
			n := 0
			got := t.walk(10, func(last string) {
				if n++; n%2 == 1 {
					t.ok(t.DeleteUser(t.Context(), acme, last), "DeleteUser(%q)", last)
					return
				}
				t.addUser(acme, acmeDomain, fmt.Sprint("a", n))
				t.addUser(acme, acmeDomain, fmt.Sprint("b", n))
			})
			if !slices.Equal(got, all) {
				t.Errorf("all pages: got %q, want %q", got, all)
			}
		},
	},
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
				errs[i] = t.AddUser(t.Context(), newUser(acme, acmeDomain, names[i]), hashOf(names[i]))
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
func (t *tester) walk(limit int, between func(last string)) []string {
	t.Helper()
	var all []string
	page := store.Page{Limit: limit}
	for range 10_000 {
		names := t.usernames(page)
		if len(names) == 0 {
			return all
		}
		all = append(all, names...)
		page.After = names[len(names)-1]
		if between != nil {
			between(page.After)
		}
	}
	t.Fatalf("Users, limit %d: the pages never end", limit)
	return nil
}

// defaultLimit is the size of a page whose Limit is zero or less.
var defaultLimit = store.Page{}.Size()
