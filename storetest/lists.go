package storetest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

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
		name: "List/ByName",
		words: "ByName orders by SortName, and entries with the same SortName by Name (domains) or Username (users), in byte order. " +
			"Order is the order of the list, and Descending reverses it. The zero Query selects the first 100 by name.",
		check: func(t *tester) {
			t.fill(nil, nil)
			// The pairs of SortName and key, in order.
			var want []string
			for i := range bytewise {
				for j := range 3 {
					want = append(want, fmt.Sprintf("%s/%d-%d", bytewise[i], (len(bytewise)-i)%7, j)) // keys are in another order
				}
			}
			for i := range want {
				key := want[(i*7+3)%len(want)] // not in order
				sortName, _, _ := strings.Cut(key, "/")
				t.addSorted(key, sortName)
			}
			t.lists(store.Query{}, want)
			t.lists(store.Query{Descending: true}, reversed(want))
			t.pages(store.Query{}, 10, want)
			t.pages(store.Query{Descending: true}, 11, reversed(want))
		},
	},
	{
		name: "List/ByConnection",
		words: "ByConnection orders by LastConnection. Entries without one are first. Entries with the same LastConnection are ordered by Name or Username, in byte order. " +
			"Order is the order of the list, and Descending reverses it.",
		check: func(t *tester) {
			t.fill(nil, nil)
			var want []string
			for i := range 30 {
				key := fmt.Sprintf("%02d", i)
				want = append(want, key)
				at := time.Time{}
				if i >= 4 {
					at = day.Add(time.Duration(i/4-5) * time.Microsecond) // four at a time
				}
				if i >= 28 {
					at = time.Date(1960, time.January, 1, 0, 0, i, 0, time.UTC)
				}
				t.addConnected(key, at)
			}
			want = slices.Concat(want[:4], want[28:], want[4:28])
			for _, limit := range []int{1, 3, 4, 100} {
				t.pages(store.Query{Order: store.ByConnection}, limit, want)
				t.pages(store.Query{Order: store.ByConnection, Descending: true}, limit, reversed(want))
			}
		},
	},
	{
		name:  "List/AThousandUsers",
		words: "at most this many entries; zero or less means 100.",
		check: func(t *tester) {
			t.fill(nil, []string{"u0500x"})
			want := t.addMany(1000)
			for _, limit := range []int{0, -1, 1, 7, 99, 250, 999, 1000, 1001, math.MaxInt32} {
				first := t.usernames(store.Query{Limit: limit})
				size := min(store.Query{Limit: limit}.Size(), len(want))
				if !slices.Equal(first, want[:size]) {
					t.Errorf("Users, limit %d: got %d users, want the first %d", limit, len(first), size)
				}
			}
			for _, limit := range []int{0, 7, 250, 1000} {
				if got := t.walk(store.Query{Limit: limit}, nil); !slices.Equal(got, want) {
					t.Errorf("all pages of limit %d: got %d users, want all %d once and in order", limit, len(got), len(want))
				}
			}
		},
	},
	{
		name: "List/BothWays",
		words: "After and Before are the Next and the Previous of another page of a list in this order. " +
			"With After the page begins behind that page, with Before it ends ahead of that page. " +
			"Next is empty if no entry follows the page, Previous if none precedes it. If the page is empty, both are.",
		check: func(t *tester) {
			t.fill(nil, nil)
			var want []string
			for i := range 23 {
				want = append(want, fmt.Sprintf("k%02d", i))
				t.addSorted(want[i], "the same")
			}
			for _, limit := range []int{1, 4, 7, 22, 23, 24} {
				t.pages(store.Query{}, limit, want)
			}
			if list, found, err := t.Users(t.Context(), acme, acmeDomain, store.Query{Search: "nothing"}); err != nil || len(list) > 0 || found.Next != "" || found.Previous != "" {
				t.Errorf("Users that match nothing: got %q, %+v, %v, want none and no other page", usernamesOf(list), found, err)
			}
			_, found, err := t.Users(t.Context(), acme, acmeDomain, store.Query{Limit: 4})
			t.ok(err, "Users")
			for _, username := range want[4:] {
				t.ok(t.DeleteUser(t.Context(), acme, username), "DeleteUser(%q)", username)
			}
			list, found, err := t.Users(t.Context(), acme, acmeDomain, store.Query{After: found.Next})
			if err != nil || len(list) > 0 || found.Next != "" || found.Previous != "" {
				t.Errorf("Users of a page whose entries are deleted: got %q, %+v, %v, want none and no other page", usernamesOf(list), found, err)
			}
		},
	},
	{
		name:  "List/OtherText",
		words: "Any other text selects some page of the list. After wins over Before.",
		check: func(t *tester) {
			t.fill(nil, nil)
			want := t.addMany(5)
			_, first, err := t.Users(t.Context(), acme, acmeDomain, store.Query{Limit: 2})
			t.ok(err, "Users")
			_, recent, err := t.Users(t.Context(), acme, acmeDomain, store.Query{Limit: 2, Order: store.ByConnection})
			t.ok(err, "Users by connection")
			for _, text := range []string{"u0001", "!", "\xff", "a\x00b", first.Next + "x", first.Next[:len(first.Next)-1], recent.Next} {
				for _, q := range []store.Query{{After: text}, {Before: text}} {
					list, _, err := t.Users(t.Context(), acme, acmeDomain, q)
					if got := usernamesOf(list); err != nil || !strings.Contains(fmt.Sprintf("%q", want), strings.Trim(fmt.Sprintf("%q", got), "[]")) {
						t.Errorf("Users(%+v): got %q, %v, want a part of %q", q, got, err, want)
					}
				}
			}
			if got := t.usernames(store.Query{After: first.Next, Before: first.Next}); !slices.Equal(got, want[2:]) {
				t.Errorf("Users after and before u0001: got %q, want %q", got, want[2:])
			}
		},
	},
	{
		name: "List/Search",
		words: "If Search is not empty, the list has only entries that contain it: domains in their SortName or Name, users in their SortName or Username. " +
			"It is compared byte by byte and has no wildcards.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i, sortName := range []string{"wordpress", "the wordpress of 2019", "100 % off", "a_b", `back\slash`, "gro\u00dfe 📮", "a.b", "c'est ca", "Upper"} {
				t.addSorted(fmt.Sprintf("u%d", i), sortName)
			}
			for search, want := range map[string][]string{
				"wordpress":   {"u0", "u1"},
				"WORDPRESS":   nil,
				"press of":    {"u1"},
				"word press":  nil,
				"%":           {"u2"},
				"_":           {"u3"},
				`\`:           {"u4"},
				"\u00df":      {"u5"},
				"groesse":     nil,
				"📮":           {"u5"},
				"\U0001f4ef":  nil,
				"a.b":         {"u6"},
				"'":           {"u7"},
				"upper":       nil,
				"U":           {"u8"},
				"u2":          {"u2"},
				" ":           {"u1", "u2", "u5", "u7"},
				"  ":          nil,
				"the shop":    nil, // the Name of each user
				"$hash of u1": nil,
			} {
				slices.SortFunc(want, func(a, b string) int { return cmp.Compare(t.sortNames[a], t.sortNames[b]) })
				t.lists(store.Query{Search: search}, want)
			}
			t.pages(store.Query{Search: "a"}, 1, []string{"u6", "u3", "u4", "u7"})
		},
	},
	{
		name: "List/Filters",
		words: "Never selects entries without a LastConnection, ConnectedBefore those whose LastConnection is before that time, or that have none. " +
			"Its zero time does not select. Suspended selects entries that are suspended themselves.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i, at := range []time.Time{{}, {}, day, day.Add(time.Microsecond), day.Add(time.Hour)} {
				t.addConnected(fmt.Sprintf("%02d", i), at)
			}
			for _, key := range []string{"01", "03", "04"} {
				t.ok(t.SuspendUser(t.Context(), acme, key, suspended, nil), "SuspendUser")
				t.ok(t.SuspendDomain(t.Context(), lister, key, suspended), "SuspendDomain")
			}
			for _, c := range []struct {
				q    store.Query
				want []string
			}{
				{store.Query{}, []string{"00", "01", "02", "03", "04"}},
				{store.Query{Never: true}, []string{"00", "01"}},
				{store.Query{ConnectedBefore: day}, []string{"00", "01"}},
				{store.Query{ConnectedBefore: day.Add(time.Microsecond)}, []string{"00", "01", "02"}},
				{store.Query{Suspended: true}, []string{"01", "03", "04"}},
				{store.Query{Suspended: true, Never: true}, []string{"01"}},
				{store.Query{Suspended: true, ConnectedBefore: day.Add(time.Minute), Search: "0"}, []string{"01", "03"}},
				{store.Query{Never: true, Search: "1"}, []string{"01"}},
			} {
				for _, order := range []store.Order{store.ByName, store.ByConnection} {
					c.q.Order = order
					t.lists(c.q, c.want)
					t.pages(c.q, 1, c.want)
				}
			}
			t.ok(t.SuspendDomain(t.Context(), acme, acmeDomain, suspended), "SuspendDomain")
			if got, want := t.usernames(store.Query{Suspended: true}), []string{"01", "03", "04"}; !slices.Equal(got, want) {
				t.Errorf("Users that are suspended, of a suspended domain: got %q, want %q", got, want)
			}
		},
	},
	{
		name: "List/ChangesMeanwhile",
		words: "A page begins at an entry and not at a number, so an entry that is added or deleted between two calls neither repeats nor skips another entry. " +
			"The entry at which that page ended need not exist any more.",
		check: func(t *tester) {
			t.fill(nil, nil)
			all := t.addMany(40)
			// Between two pages an entry that was read is deleted, or one is added.
			for _, q := range []store.Query{{Limit: 10}, {Limit: 10, Order: store.ByConnection}} {
				n := 0
				got := t.walk(q, func(last string) {
					if n++; n%2 == 1 {
						t.ok(t.DeleteUser(t.Context(), acme, last), "DeleteUser(%q)", last)
						return
					}
					t.addUser(acme, acmeDomain, fmt.Sprint("a", n, q.Order))
					t.addUser(acme, acmeDomain, fmt.Sprint("b", n, q.Order))
				})
				if !slices.Equal(got, all) {
					t.Errorf("all pages: got %q, want %q", got, all)
				}
				all = t.usernames(store.Query{})
			}
		},
	},
	{
		name:  "List/Renamed",
		words: "ByName orders by SortName, and entries with the same SortName by Name (domains) or Username (users), in byte order.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for _, key := range []string{"a", "b", "c"} {
				t.addSorted(key, key)
			}
			t.ok(t.RenameUser(t.Context(), acme, "a", "Zoo", "zoo"), "RenameUser")
			if got, want := t.usernames(store.Query{}), []string{"b", "c", "a"}; !slices.Equal(got, want) {
				t.Errorf("Users after RenameUser: got %q, want %q", got, want)
			}
			if got := t.usernames(store.Query{Search: "zoo"}); !slices.Equal(got, []string{"a"}) {
				t.Errorf("Users with the new SortName: got %q, want a", got)
			}
		},
	},
	{
		name: "List/Counts",
		words: "entries that the Query selects, on all pages. entries of the list without a selection. " +
			"Domains counts after it has read the page, so the counts of Found may include later changes. Users counts as Domains does.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, []string{"r1", "r2"})
			t.addDomain(acme, "other.example")
			for _, username := range []string{"o1", "o2", "o3"} {
				t.addUser(acme, "other.example", username)
			}
			for _, c := range []struct {
				domain string
				q      store.Query
				want   store.Found
			}{
				{acmeDomain, store.Query{}, store.Found{Matching: 1, All: 1}},
				{"other.example", store.Query{}, store.Found{Matching: 3, All: 3}},
				{"other.example", store.Query{Search: "2"}, store.Found{Matching: 1, All: 3}},
				{"", store.Query{}, store.Found{Matching: 4, All: 4}},
				{"", store.Query{Search: "1"}, store.Found{Matching: 2, All: 4}},
				{"", store.Query{Search: "r"}, store.Found{Matching: 0, All: 4}},
			} {
				_, found, err := t.Users(t.Context(), acme, c.domain, c.q)
				if err != nil || found != c.want {
					t.Errorf("Users(%q, %+v): got %+v, %v, want %+v", c.domain, c.q, found, err, c.want)
				}
			}
			_, found, err := t.Domains(t.Context(), acme, store.Query{Search: "other"})
			if want := (store.Found{Matching: 1, All: 2}); err != nil || found != want {
				t.Errorf("Domains: got %+v, %v, want %+v", found, err, want)
			}
		},
	},
}
