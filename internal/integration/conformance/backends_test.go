package conformance_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	_ "github.com/ncruces/go-sqlite3/driver"
	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

func TestMain(m *testing.M) { services.Main(m) }

// A backend is a database and a driver for it.
type backend struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	create  func(testing.TB) (dsn string) // a new database
}

var (
	sqliteModernc = backend{"sqlite-modernc", "sqlite", sqlstore.SQLite, newFile}
	sqliteNcruces = backend{"sqlite-ncruces", "sqlite3", sqlstore.SQLite, newFile}
	postgresPgx   = backend{"postgres-pgx", "pgx", sqlstore.Postgres, services.Postgres}
	postgresPq    = backend{"postgres-pq", "postgres", sqlstore.Postgres, services.Postgres}
	mariadb       = backend{"mariadb", "mysql", sqlstore.MySQL, services.MariaDB}

	// mapped reads the database file through a memory map.
	mapped = backend{"sqlite-mapped", "sqlite", sqlstore.SQLite, with(newFile, "&_pragma=mmap_size(1073741824)")}
)

// backends are one for each driver.
var backends = []backend{sqliteModernc, sqliteNcruces, postgresPgx, postgresPq, mariadb}

// variants are backends with parameters that change how the database compares,
// counts, cuts or isolates, and must not change what a Store does.
var variants = []backend{
	{"sqlite-immediate", "sqlite", sqlstore.SQLite, with(newFile, "&_txlock=immediate")},
	mapped,
	{"postgres-serializable", "pgx", sqlstore.Postgres, with(services.Postgres, "&default_transaction_isolation=serializable")},
	{"mariadb-found-rows", "mysql", sqlstore.MySQL, with(services.MariaDB, "?clientFoundRows=true&interpolateParams=true&parseTime=true")},
	{"mariadb-lax", "mysql", sqlstore.MySQL, with(services.MariaDB, "?sql_mode=%27%27&charset=latin1")},
}

// databases are the backends to test with: one for each database, or in a long
// run one for each driver.
func databases() []backend {
	if services.Long() {
		return backends
	}
	return dialects
}

// databasesAndVariants are the databases, and in a long run the variants too.
func databasesAndVariants() []backend {
	if services.Long() {
		return slices.Concat(backends, variants)
	}
	return databases()
}

// dialects are one backend for each database, for what depends on no driver.
var dialects = []backend{sqliteModernc, postgresPgx, mariadb}

// large are the cases of the spool and of history whose size is what they are about. They
// take half of the time of all, so they run once for each driver, and not again for each
// parameter of one.
var large = []string{
	"Put/10000Recipients", "Put/Cancelled", "Body/64MiB", "Lease/ManyLanes", "Remove/Removed",
	"Activities/Many", "Put/ManyRecipients", "Apply/ManyAtOnce",
}

// skipLarge skips a large case of a backend that is a variant of another.
func (b backend) skipLarge(t *testing.T) {
	t.Helper()
	isVariant := slices.ContainsFunc(variants, func(v backend) bool { return v.name == b.name })
	if isVariant && slices.ContainsFunc(large, func(name string) bool { return strings.HasSuffix(t.Name(), "/"+name) }) {
		t.Skip("one backend for each driver runs it")
	}
}

// newFile returns the name of a new SQLite database, with the parameters that the
// documentation of sqlstore recommends.
func newFile(t testing.TB) string {
	return "file:" + filepath.Join(services.DataDir(t), "gatepost.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)" +
		"&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-32000)"
}

func with(create func(testing.TB) string, params string) func(testing.TB) string {
	return func(t testing.TB) string { return create(t) + params }
}

// open opens a database until the end of the test, and migrates it.
func (b backend) open(t testing.TB, dsn string) *sqlstore.Store {
	t.Helper()
	st := sqlstore.New(b.openDB(t, dsn), b.dialect)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// openDB opens a database until the end of the test.
func (b backend) openDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(b.driver, dsn)
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
