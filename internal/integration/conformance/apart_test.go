package conformance_test

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Callers share commits, but not their fates: when the database refuses what one
// of them wants, that one is told, and the others' work is done.
func TestSpoolApart(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			const each = 50
			refuse(t, db, b.dialect, "INSERT", "NEW")
			kept := together(each, func(i int) error { return put(t, st, fmt.Sprintf("%s%d", kind(i), i), 1000) })
			wantKinds(t, "Put", kept)
			if depth, err := st.Depth(t.Context()); err != nil || depth.Deliveries != each/2 {
				t.Errorf("Depth: got %+v, %v, want %d", depth, err, each/2)
			}

			if _, err := db.ExecContext(t.Context(), dropTrigger[b.dialect]); err != nil {
				t.Fatal(err)
			}
			for i := range each {
				if err := put(t, st, fmt.Sprintf("%s%d", kind(i), i), 1000); err != nil {
					t.Fatal(err)
				}
			}
			refuse(t, db, b.dialect, "DELETE", "OLD")
			settled := together(each, func(i int) error {
				lost, err := st.Settle(t.Context(), []store.Outcome{{Mail: fmt.Sprintf("%s%d", kind(i), i), Done: true}})
				if len(lost) > 0 {
					t.Errorf("Settle: lost %+v", lost)
				}
				return err
			})
			wantKinds(t, "Settle", settled)
			if depth, err := st.Depth(t.Context()); err != nil || depth.Deliveries != each/2 {
				t.Errorf("Depth: got %+v, %v, want %d", depth, err, each/2)
			}
		})
	}
}

var dropTrigger = map[sqlstore.Dialect]string{
	sqlstore.SQLite:   `DROP TRIGGER refuse_INSERT`,
	sqlstore.Postgres: `DROP TRIGGER refuse_INSERT ON gatepost_deliveries`,
	sqlstore.MySQL:    `DROP TRIGGER refuse_INSERT`,
}

// kind is what the name of a mail begins with: every other one is refused.
func kind(i int) string { return [2]string{"good", "bad"}[i%2] }

// together calls f for each number below n at once, and returns its errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}

func wantKinds(t *testing.T, op string, errs []error) {
	t.Helper()
	for i, err := range errs {
		if refused := err != nil && strings.Contains(err.Error(), "refused"); refused != (kind(i) == "bad") || !refused && err != nil {
			t.Errorf("%s of a %s mail: got %v", op, kind(i), err)
		}
	}
}

// refuse makes a database refuse to insert, or to delete, mails that are bad.
func refuse(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, event, row string) {
	t.Helper()
	statements := []string{fmt.Sprintf(
		`CREATE TRIGGER refuse_%s BEFORE %[1]s ON gatepost_deliveries WHEN %s.mail LIKE 'bad%%' BEGIN SELECT RAISE(ABORT, 'refused'); END`, event, row)}
	switch dialect {
	case sqlstore.Postgres:
		statements = []string{
			fmt.Sprintf(`CREATE FUNCTION refuse_%s() RETURNS trigger LANGUAGE plpgsql AS
				$$BEGIN IF %s.mail LIKE 'bad%%' THEN RAISE EXCEPTION 'refused'; END IF; RETURN %[2]s; END$$`, event, row),
			fmt.Sprintf(`CREATE TRIGGER refuse_%s BEFORE %[1]s ON gatepost_deliveries FOR EACH ROW EXECUTE FUNCTION refuse_%[1]s()`, event),
		}
	case sqlstore.MySQL:
		statements = []string{fmt.Sprintf(
			`CREATE TRIGGER refuse_%s BEFORE %[1]s ON gatepost_deliveries FOR EACH ROW IF %s.mail LIKE 'bad%%' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'; END IF`, event, row)}
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
