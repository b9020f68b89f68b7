package conformance_test

import (
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestStore(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dsn := b.create(t)
				return func() store.Store { return b.open(t, dsn) }
			})
		})
	}
}

func TestSuppressions(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSuppressions(t, func(t *testing.T) func() store.Suppressions {
				dsn := b.create(t)
				return func() store.Suppressions { return b.open(t, dsn) }
			})
		})
	}
}

func TestSetups(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSetups(t, func(t *testing.T) func() store.Setups {
				dsn := b.create(t)
				return func() store.Setups { return b.open(t, dsn) }
			})
		})
	}
}

func TestEndpoints(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunEndpoints(t, func(t *testing.T) func() store.Endpoints {
				dsn := b.create(t)
				return func() store.Endpoints { return b.open(t, dsn) }
			})
		})
	}
}

// A Store needs no more than one connection at a time, so that it can't wait
// for itself when the pool is small.
func TestOneConnection(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				db := b.openDB(t, b.create(t))
				db.SetMaxOpenConns(1)
				st := sqlstore.New(db, b.dialect)
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return func() store.Store { return st }
			})
		})
	}
}
