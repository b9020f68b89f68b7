package conformance_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
	"github.com/gatepost-mail/gatepost/storetest"
)

// sqliteDrivers are the drivers for SQLite, by the names they register.
var sqliteDrivers = map[string]string{
	"modernc": "sqlite",
	"ncruces": "sqlite3",
}

func TestSQLite(t *testing.T) {
	for name, driver := range sqliteDrivers {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dsn := sqliteDSN(t)
				return func() store.Store { return open(t, driver, dsn, sqlstore.SQLite) }
			})
		})
	}
}

// sqliteDSN names a new database, as the package's documentation says.
func sqliteDSN(t testing.TB) string {
	return "file:" + filepath.Join(t.TempDir(), "gatepost.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
}

// open opens a database until the end of the test, and migrates it.
func open(t testing.TB, driver, dsn string, dialect sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	st := sqlstore.New(openDB(t, driver, dsn), dialect)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// openDB opens a database until the end of the test.
func openDB(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
