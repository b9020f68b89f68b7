package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Behind a PgBouncer in transaction mode all works, if it keeps prepared statements
// (version 1.21 or later). Otherwise Migrate says what to change.
func TestMigrateBehindPgBouncer(t *testing.T) {
	for _, b := range backends {
		if b.dialect != sqlstore.Postgres {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			dsn := services.Postgres(t)
			b.open(t, dsn)
			for range 5 {
				st := sqlstore.New(b.openDB(t, services.PgBouncer(t, dsn, "pool_mode = transaction")), b.dialect)
				err := st.Migrate(t.Context())
				switch {
				case err == nil:
					t.Log("this PgBouncer keeps prepared statements")
					race(10, 500, func(i int) {
						if err := putAndSettle(t, st, fmt.Sprint("m", i)); err != nil {
							t.Error(err)
						}
					})
				case !strings.Contains(err.Error(), "max_prepared_statements"):
					t.Errorf("Migrate: %v, want an error that says what to set", err)
				}
			}
			st := b.open(t, services.PgBouncer(t, dsn, "pool_mode = session"))
			if err := putAndSettle(t, st, "m1"); err != nil {
				t.Error(err)
			}
		})
	}
}
