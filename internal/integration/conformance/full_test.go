package conformance_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A Put on a full database returns ErrFull, with each driver.
func TestFull(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st := b.open(t, dsn)
			if err := put(t, st, "before", 1000); err != nil {
				t.Fatal(err)
			}
			full, sizes := st, []int{100 << 10, 600 << 10}
			if b.dialect == sqlstore.SQLite {
				sizes = []int{40 << 10, 60 << 10} // larger contents lie in files
				full = sqlstore.New(b.openDB(t, dsn+"&_pragma=max_page_count(1)"), b.dialect)
			} else {
				fail(t, b.openDB(t, dsn), b.dialect, "INSERT", "deliveries", "contents")
			}
			for _, size := range sizes {
				if err := put(t, full, fmt.Sprint("full", size), size); !errors.Is(err, store.ErrFull) {
					t.Errorf("Put of %d bytes: got %v, want store.ErrFull", size, err)
				}
			}
			if depth, err := st.Depth(t.Context()); err != nil || depth.Deliveries != 1 {
				t.Errorf("Depth: got %+v, %v, want the delivery that was kept", depth, err)
			}
		})
	}
}

// A mail that is kept already is not said to be lost because the database is full.
func TestFullAndPutAgain(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			const size = 600 << 10
			if err := put(t, st, "m1", size); err != nil {
				t.Fatal(err)
			}
			fail(t, db, b.dialect, "UPDATE", "uploads") // which discards a content
			if err := put(t, st, "m1", size); err != nil {
				t.Errorf("Put of a mail that is kept: %v", err)
			}
			if b.dialect == sqlstore.SQLite {
				return // whose large contents lie in files
			}
			fail(t, db, b.dialect, "INSERT", "uploads")
			if err := put(t, st, "m1", size); err == nil || errors.Is(err, store.ErrFull) {
				t.Errorf("Put of a mail that is kept, on a full database: got %v, want an error that is not ErrFull", err)
			}
			if err := put(t, st, "m2", size); !errors.Is(err, store.ErrFull) {
				t.Errorf("Put of another mail: got %v, want store.ErrFull", err)
			}
			if content, err := read(t, st, "m1"); err != nil || len(content) != size {
				t.Errorf("the content that was kept: got %d bytes, %v", len(content), err)
			}
		})
	}
}

func put(t *testing.T, st *sqlstore.Store, id string, size int) error {
	m := store.Mail{ID: id, Tenant: "acme", Received: time.Unix(1, 0).UTC(), Size: int64(size)}
	return st.Put(t.Context(), m, []store.Delivery{{Recipient: "a@example.com"}}, strings.NewReader(strings.Repeat("x", size)))
}

// fail makes a database say what it says when its disk is full, for each INSERT or UPDATE
// of tables.
func fail(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, event string, tables ...string) {
	t.Helper()
	for _, table := range tables {
		trigger := fmt.Sprintf(`CREATE TRIGGER full_%s_%s BEFORE %[2]s ON gatepost_%[1]s FOR EACH ROW `, table, event)
		var statements []string
		switch dialect {
		case sqlstore.SQLite:
			statements = []string{trigger + `BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`}
		case sqlstore.Postgres:
			statements = []string{
				`CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END$$`,
				trigger + `EXECUTE FUNCTION full_disk()`,
			}
		default:
			statements = []string{trigger + `SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114`}
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
}
