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
				fail(t, b.openDB(t, dsn), b.dialect)
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

func put(t *testing.T, st *sqlstore.Store, id string, size int) error {
	m := store.Mail{ID: id, Tenant: "acme", Received: time.Unix(1, 0).UTC(), Size: int64(size)}
	return st.Put(t.Context(), m, []store.Delivery{{Recipient: "a@example.com"}}, strings.NewReader(strings.Repeat("x", size)))
}

// fail makes a database say what it says when its disk is full.
func fail(t *testing.T, db *sql.DB, dialect sqlstore.Dialect) {
	t.Helper()
	for _, table := range []string{"deliveries", "contents"} {
		statements := []string{fmt.Sprintf(
			`CREATE TRIGGER full_%s BEFORE INSERT ON gatepost_%[1]s FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114`, table)}
		if dialect == sqlstore.Postgres {
			statements = []string{
				`CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END$$`,
				fmt.Sprintf(`CREATE TRIGGER full_disk BEFORE INSERT ON gatepost_%s FOR EACH ROW EXECUTE FUNCTION full_disk()`, table),
			}
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
}
