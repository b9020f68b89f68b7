package conformance_test

import (
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A search for a recipient and an Erase take few statements, also if the clocks of nodes
// were wrong by a hundred years.
func TestFewStatementsForDaysFarApart(t *testing.T) {
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			c := &counter{}
			st := sqlstore.New(c.open(t, b, dsn), b.dialect)
			if err := st.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			var changes store.Changes
			for i, year := range []int{1970, 2026, 2106} {
				changes.Activities = append(changes.Activities, store.ActivityChange{Activity: store.Activity{
					Tenant: "acme", Mail: "m1", N: i, Recipient: "bob@example.com", Received: time.Date(year, 2, 7, 0, 0, 0, 0, time.UTC),
				}})
			}
			if err := st.Apply(t.Context(), nil, changes); err != nil {
				t.Fatal(err)
			}
			searched := c.count(func() {
				page, err := st.Activities(t.Context(), "acme", store.ActivityFilter{Recipient: "bob@example.com"})
				if err != nil || len(page.List) != 3 {
					t.Errorf("Activities: got %d, %v, want 3", len(page.List), err)
				}
			})
			erased := c.count(func() {
				if n, err := st.Erase(t.Context(), "acme", "bob@example.com"); err != nil || n != 3 {
					t.Errorf("Erase: got %d, %v, want 3", n, err)
				}
			})
			if len(searched) > 30 || len(erased) > 40 {
				t.Errorf("the search took %d statements and the Erase %d, want few", len(searched), len(erased))
			}
		})
	}
}
