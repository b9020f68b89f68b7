package conformance_test

import (
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestHistory(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunHistory(t, func(t *testing.T) func() store.History {
				b.skipLarge(t)
				dsn := b.create(t)
				return func() store.History { return b.open(t, dsn) }
			})
		})
	}
}

// As in TestOneConnection.
func TestHistoryOneConnection(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunHistory(t, func(t *testing.T) func() store.History {
				db := b.openDB(t, b.create(t))
				db.SetMaxOpenConns(1)
				st := sqlstore.New(db, b.dialect)
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return func() store.History { return st }
			})
		})
	}
}

func TestAllowances(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunAllowances(t, func(t *testing.T) func() store.Allowances {
				dsn := b.create(t)
				return func() store.Allowances { return b.open(t, dsn) }
			})
		})
	}
}
