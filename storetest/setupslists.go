package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// lists checks a list of setups that has no order, through both handles.
func (t *setupper) lists(call string, list func(store.Setups) ([]store.Setup, error), want ...store.Setup) {
	t.Helper()
	byKey := func(a, b store.Setup) int {
		if c := strings.Compare(a.Domain, b.Domain); c != 0 {
			return c
		}
		return a.Added.Compare(b.Added)
	}
	slices.SortFunc(want, byKey)
	for _, s := range []store.Setups{t.Setups, t.second()} {
		got, err := list(s)
		slices.SortFunc(got, byKey)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", call, got, err, want)
		}
	}
}

var setupListPromises = []setupsPromise{
	{
		name:  "Of/Domains",
		words: "SetupsOf returns the setups that a tenant has of some domains, in no order. A domain may have several, of different times.",
		check: func(t *setupper) {
			later := newSetup(acme, "a.example")
			later.Added = day.Add(time.Second)
			a, b := t.set(newSetup(acme, "a.example")), t.set(newSetup(acme, "b.example"))
			later = t.set(later)
			t.set(newSetup(acme, "c.example"))
			t.set(newSetup(rival, "a.example"))
			of := func(domains ...string) func(store.Setups) ([]store.Setup, error) {
				return func(s store.Setups) ([]store.Setup, error) { return s.SetupsOf(t.Context(), acme, domains) }
			}
			t.lists("SetupsOf a and b", of("a.example", "b.example", "missing.example"), a, later, b)
			t.lists("SetupsOf none", of())
			many := slices.Repeat([]string{"missing.example"}, 1500)
			t.lists("SetupsOf many", of(append(many, "b.example")...), b)
		},
	},
	{
		name:  "Open/States",
		words: "OpenSetups returns setups of a tenant that do not hold their domain or have another State than settled: at most limit of them.",
		check: func(t *setupper) {
			waits, failing, fine := t.set(newSetup(acme, "a.example")), t.set(newSetup(acme, "b.example")), t.set(newSetup(acme, "c.example"))
			t.set(newSetup(rival, "d.example"))
			failing.State, failing.Holds, fine.Holds = "failing", true, true
			failing, _ = t.set(failing), t.set(fine)
			open := func(limit int) func(store.Setups) ([]store.Setup, error) {
				return func(s store.Setups) ([]store.Setup, error) { return s.OpenSetups(t.Context(), acme, "verified", limit) }
			}
			t.lists("OpenSetups", open(10), waits, failing)
			t.lists("OpenSetups, 2", open(2), waits, failing)
			if list, err := t.OpenSetups(t.Context(), acme, "verified", 1); err != nil || len(list) != 1 || list[0] != waits && list[0] != failing {
				t.Errorf("OpenSetups, 1: got %+v, %v, want one of %+v and %+v", list, err, waits, failing)
			}
		},
	},
	{
		name:  "Open/HoldersFirst",
		words: "Those that hold their domain come first, by State in alphabetical order, if States have only letters from a to z. The rest is in no order.",
		check: func(t *setupper) {
			for i := range 20 {
				t.set(newSetup(acme, fmt.Sprintf("m%d.example", i)))
			}
			hold := func(domain, state string) store.Setup {
				s := t.set(newSetup(acme, domain))
				s.State, s.Holds = state, true
				return t.set(s)
			}
			failing, first, failed, last := hold("a.example", "failing"), hold("b.example", "broken"), hold("z.example", "failed"), hold("c.example", "z")
			for _, s := range []store.Setups{t.Setups, t.second()} {
				for limit, want := range [][]store.Setup{1: {first}, 2: {first, failed}, 3: {first, failed, failing}, 10: {first, failed, failing, last}} {
					got, err := s.OpenSetups(t.Context(), acme, "verified", limit)
					if err != nil || want != nil && (len(got) != limit || !slices.Equal(got[:len(want)], want)) {
						t.Errorf("OpenSetups, %d:\n got %+v, %v\nwant %+v first", limit, got, err, want)
					}
				}
			}
		},
	},
	{
		name:  "Open/NoLimit",
		words: "Zero and less: none.",
		check: func(t *setupper) {
			t.set(newSetup(acme, "a.example"))
			for _, limit := range []int{0, -1} {
				t.lists("OpenSetups", func(s store.Setups) ([]store.Setup, error) { return s.OpenSetups(t.Context(), acme, "verified", limit) })
			}
		},
	},
}
