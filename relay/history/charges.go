package history

import (
	"cmp"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

// chargesOf returns what accepted recipients are charged to. Grants that cannot be read
// are left out.
func chargesOf(events []*store.Event) []store.Charge {
	recipients := make(map[string]int64) // by Event.Grants
	for _, e := range events {
		if e.Kind == store.EventAccepted && e.Grants != "" {
			recipients[e.Grants]++
		}
	}
	sums := make(map[store.Grant]int64)
	for text, n := range recipients {
		grants, _ := store.ParseGrants(text)
		for _, g := range grants {
			sums[g] += n
		}
	}
	charges := make([]store.Charge, 0, len(sums))
	for g, n := range sums {
		charges = append(charges, store.Charge{Grant: g, N: n})
	}
	slices.SortFunc(charges, func(a, b store.Charge) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), a.Period.Compare(b.Period), cmp.Compare(a.ID, b.ID))
	})
	return charges
}
