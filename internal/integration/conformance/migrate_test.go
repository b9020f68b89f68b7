package conformance_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

var domain = store.Domain{Tenant: "acme", Name: "acme.example", Created: time.Date(2026, time.May, 1, 0, 0, 0, 0, time.UTC)}

func TestMigrateAtOnce(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			stores := make([]*sqlstore.Store, 8)
			for i := range stores {
				stores[i] = sqlstore.New(b.openDB(t, dsn), b.dialect)
			}
			for _, time := range []string{"first", "second"} {
				var wg sync.WaitGroup
				for i, st := range stores {
					wg.Go(func() {
						if err := st.Migrate(t.Context()); err != nil {
							t.Errorf("node %d, %s time: %v", i, time, err)
						}
					})
				}
				wg.Wait()
			}
			if err := stores[0].AddDomain(t.Context(), domain, 0); err != nil {
				t.Fatal(err)
			}
			if err := stores[0].Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			list, _, err := stores[7].Domains(t.Context(), domain.Tenant, store.Query{})
			if err != nil || len(list) != 1 || list[0] != domain {
				t.Errorf("after Migrate: got %+v, %v, want only %+v", list, err, domain)
			}
		})
	}
}

func TestMigrateNewerDatabase(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st := b.open(t, dsn)
			db := b.openDB(t, dsn)
			if _, err := db.ExecContext(t.Context(), "INSERT INTO gatepost_schema (version, needs) VALUES (9998, 3)"); err != nil {
				t.Fatal(err)
			}
			if err := st.Migrate(t.Context()); err != nil {
				t.Errorf("beside a newer version that this one can work with: %v", err)
			}
			if _, err := db.ExecContext(t.Context(), "INSERT INTO gatepost_schema (version, needs) VALUES (9999, 9999)"); err != nil {
				t.Fatal(err)
			}
			err := st.Migrate(t.Context())
			if err == nil || !strings.Contains(err.Error(), "version 9999") || !strings.Contains(err.Error(), "newer") {
				t.Errorf("got error %v, want one about a newer version 9999", err)
			}
		})
	}
}

// MySQL commits after each statement that makes a table.
func TestMigrateCutShort(t *testing.T) {
	b := mariadb
	dsn := b.create(t)
	b.open(t, dsn)
	db := b.openDB(t, dsn)
	for _, statement := range []string{"DROP TABLE gatepost_users", "DELETE FROM gatepost_schema"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	st := b.open(t, dsn)
	if err := st.AddDomain(t.Context(), domain, 0); err != nil {
		t.Fatal(err)
	}
	u := store.User{Tenant: domain.Tenant, Domain: domain.Name, Username: "u1"}
	if err := st.AddUser(t.Context(), u, "hash", 0); err != nil {
		t.Fatal(err)
	}
}

func TestPrefix(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			db := b.openDB(t, b.create(t))
			for i, prefix := range []string{"", "other_", strings.Repeat("p", 32)} {
				st := sqlstore.New(db, b.dialect)
				st.TablePrefix = prefix
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := st.AddDomain(t.Context(), domain, 0); err != nil {
					t.Errorf("AddDomain with prefix %d, %q: %v", i, prefix, err)
				}
				if err := st.AddDomain(t.Context(), domain, 0); !errors.Is(err, store.ErrTaken) {
					t.Errorf("AddDomain again with prefix %q: got error %v, want %q", prefix, err, store.ErrTaken)
				}
			}
			for _, prefix := range []string{"a b", "x;", "Ä", `"`, "2024_", strings.Repeat("p", 33)} {
				st := sqlstore.New(db, b.dialect)
				st.TablePrefix = prefix
				if err := st.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "prefix") {
					t.Errorf("Migrate with prefix %q: got error %v, want one about it", prefix, err)
				}
				if _, _, _, err := st.Lookup(t.Context(), "u1"); err == nil || !strings.Contains(err.Error(), "prefix") {
					t.Errorf("Lookup with prefix %q: got error %v, want one about it", prefix, err)
				}
			}
		})
	}
}

// Without Migrate the error says what to call.
func TestNotMigrated(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := sqlstore.New(b.openDB(t, b.create(t)), b.dialect)
			for call, err := range map[string]error{
				"AddDomain": st.AddDomain(t.Context(), domain, 0),
				"Join":      st.Join(t.Context(), store.Node{ID: "a", Name: "a"}),
			} {
				if err == nil || !strings.Contains(err.Error(), "call Store.Migrate first") {
					t.Errorf("%s: got error %v, want one that names Store.Migrate", call, err)
				}
			}
		})
	}
}

// A database that can't keep the promises is refused with the remedy.
func TestMigrateUnsafeSQLite(t *testing.T) {
	for _, b := range databases() {
		if b.dialect != sqlstore.SQLite {
			continue
		}
		for dsn, want := range map[string]string{
			"file:%s?_pragma=busy_timeout(0)&_pragma=synchronous(FULL)":                               "_pragma=busy_timeout(10000)",
			"file:%s?_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)":                         "_pragma=synchronous(FULL)",
			"file:%s?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&mode=memory&cache=private": "use a file",
		} {
			t.Run(b.name+"/"+want, func(t *testing.T) {
				dsn := fmt.Sprintf(dsn, filepath.Join(t.TempDir(), "gatepost.db"))
				err := sqlstore.New(b.openDB(t, dsn), b.dialect).Migrate(t.Context())
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got error %v, want one that says %q", dsn, err, want)
				}
			})
		}
	}
}

func TestMigrateUnsafePostgres(t *testing.T) {
	for _, b := range databases() {
		if b.dialect != sqlstore.Postgres {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			err := sqlstore.New(b.openDB(t, b.create(t)+"&synchronous_commit=off"), b.dialect).Migrate(t.Context())
			if err == nil || !strings.Contains(err.Error(), "set synchronous_commit to on") {
				t.Errorf("synchronous_commit=off: got error %v, want one that names it on", err)
			}
		})
	}
}

func TestMigrateUnsafeMySQL(t *testing.T) {
	b := mariadb
	err := sqlstore.New(b.openDB(t, b.create(t)+"?autocommit=0"), b.dialect).Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "autocommit is off") {
		t.Errorf("autocommit=0: got error %v, want one that names it", err)
	}
	db := b.openDB(t, services.NewMariaDBServer(t, nil).DSN)
	if _, err := db.ExecContext(t.Context(), "SET GLOBAL innodb_flush_log_at_trx_commit = 2"); err != nil {
		t.Fatal(err)
	}
	err = sqlstore.New(db, b.dialect).Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "innodb_flush_log_at_trx_commit is 2") {
		t.Errorf("innodb_flush_log_at_trx_commit=2: got error %v, want one that names it", err)
	}
}

func TestNoDialect(t *testing.T) {
	b := sqliteModernc
	st := sqlstore.New(b.openDB(t, b.create(t)), 0)
	if err := st.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "dialect") {
		t.Errorf("Migrate: got error %v, want one about the dialect", err)
	}
	if err := st.AddDomain(t.Context(), domain, 0); err == nil || !strings.Contains(err.Error(), "dialect") {
		t.Errorf("AddDomain: got error %v, want one about the dialect", err)
	}
}

func TestMigrateNotMade(t *testing.T) {
	for want, st := range map[string]*sqlstore.Store{
		"sqlstore: migrate: unknown dialect Dialect(0): use SQLite, Postgres or MySQL": {},
		"sqlstore: migrate: no database: New got a nil *sql.DB":                        sqlstore.New(nil, sqlstore.SQLite),
	} {
		if err := st.Migrate(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

// The error names the dialect: a database's message about the SQL of another one
// is puzzling without it.
func TestMigrateWrongDialect(t *testing.T) {
	b := sqliteModernc
	err := sqlstore.New(b.openDB(t, b.create(t)), sqlstore.Postgres).Migrate(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "sqlstore: migrate PostgreSQL: ") {
		t.Errorf("got error %v, want one that names the dialect", err)
	}
}

// A database in memory is refused before any other mistake is reported.
func TestMigrateInMemory(t *testing.T) {
	for _, b := range []backend{sqliteModernc, sqliteNcruces} {
		for _, dsn := range []string{":memory:", "file::memory:?cache=shared"} {
			err := sqlstore.New(b.openDB(t, dsn), b.dialect).Migrate(t.Context())
			if err == nil || !strings.Contains(err.Error(), "use a file on a local disk, or store/memory") {
				t.Errorf("%s: %s: got error %v, want one that says to use a file", b.name, dsn, err)
			}
		}
	}
}
