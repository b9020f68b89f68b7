package conformance_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Mail that version 2 of the tables has is there after the migration, in the state
// in which it was.
func TestMigrateSpoolOfVersion2(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			db := b.openDB(t, dsn)
			atVersion(t, db, b.dialect, 2)
			const never = "9223372036854775807"
			due := fmt.Sprint(now.UnixMicro())
			addVersion2(t, db, b.dialect, "m1", due, 1)
			addVersion2(t, db, b.dialect, "m2", never, 1)
			addVersion2(t, db, b.dialect, "m3", "NULL", 2)
			if _, err := db.Exec(`INSERT INTO gatepost_deliveries (mail, n, tenant, recipient, notify, original, lease, leased_until, next, ready, attempts, warned, reason)
				SELECT mail, 1, tenant, recipient, notify, original, 7, leased_until, next, ` + due + ` + 60000000, attempts, warned, reason FROM gatepost_deliveries WHERE mail = 'm3'`); err != nil {
				t.Fatal(err)
			}
			st := b.open(t, dsn)
			list, err := st.Deliveries(t.Context(), store.Filter{}, store.Page{})
			if err != nil || len(list) != 3 {
				t.Fatalf("Deliveries: got %d, %v, want 3", len(list), err)
			}
			for i, want := range []struct {
				key  string
				held bool
				next time.Time
			}{{"m1.00000", false, now}, {"m2.00000", true, now}, {"m3.00001", false, now.Add(time.Minute)}} {
				d := list[i].Delivery
				if d.Key() != want.key || d.Held != want.held || !d.Next.Equal(want.next) || d.Attempts != 3 || list[i].Mail.Tenant != "acme" {
					t.Errorf("got %+v, want %+v", d, want)
				}
			}
			leased, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n1", Now: now.Add(time.Hour), Limit: 9})
			if err != nil || len(leased) != 2 {
				t.Fatalf("Lease: got %d, %v, want 2", len(leased), err)
			}
			if content, err := read(t, st, "m3"); err != nil || string(content) != string(fourKiB[:100]) {
				t.Errorf("content of m3: got %d bytes, %v", len(content), err)
			}
			if err := put(t, st, "m1", 100); err != nil {
				t.Errorf("Put of the same again: %v", err)
			}
			var outcomes []store.Outcome
			for _, l := range leased {
				outcomes = append(outcomes, store.Outcome{Mail: l.Delivery.Mail, N: l.Delivery.N, Lease: l.Delivery.Lease, Done: true})
			}
			if lost, err := st.Settle(t.Context(), outcomes); err != nil || len(lost) > 0 {
				t.Errorf("Settle: got %+v, %v", lost, err)
			}
			depth, err := st.Depth(t.Context())
			if want := (store.Depth{Deliveries: 1, Held: 1, Oldest: now}); err != nil || depth != want {
				t.Errorf("Depth: got %+v, %v, want %+v", depth, err, want)
			}
		})
	}
}

// atVersion makes the tables of a version.
func atVersion(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, version int) {
	t.Helper()
	statements := []string{"CREATE TABLE {schema} (version INTEGER NOT NULL PRIMARY KEY)"}
	files, err := filepath.Glob("../../../store/sqlstore/migrations/" + strings.ToLower(dialect.String()) + "/*.sql")
	if err != nil || len(files) < version {
		t.Fatalf("the migrations are %q, %v, want at least %d files", files, err, version)
	}
	files = files[:version]
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		statements = slices.Concat(statements, strings.Split(strings.Join(lines, ""), ";"))
	}
	for i := range version {
		statements = append(statements, fmt.Sprintf("INSERT INTO {schema} (version) VALUES (%d)", i+1))
	}
	tx, err := db.Begin() // some statements lock tables
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, statement := range statements {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := tx.Exec(strings.NewReplacer("{", "gatepost_", "}", "").Replace(statement)); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// addVersion2 adds the first recipient of a mail of 100 bytes.
func addVersion2(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, id, ready string, recipients int) {
	t.Helper()
	literal := func(text string) string {
		if dialect == sqlstore.Postgres {
			return fmt.Sprintf(`'\x%x'::bytea`, text)
		}
		return fmt.Sprintf("x'%x'", text)
	}
	none, at := literal(""), fmt.Sprint(now.UnixMicro())
	_, err := db.Exec(`INSERT INTO gatepost_deliveries VALUES (` + strings.Join([]string{
		"'" + id + "'", "0", "'acme'", literal("bob@example.net"), none, none, "5", at, at, ready, "3", "0", literal("451 later"),
		fmt.Sprint(recipients), literal("acme.example"), literal("u1"), literal("shop@acme.example"), "''", at, "100", none, "0", "0", none, none, "''", literal(string(fourKiB[:100])),
	}, ", ") + `)`)
	if err != nil {
		t.Fatal(err)
	}
}

// A user without the right to make tables can migrate when there is nothing to do,
// and use the Store.
func TestMigrateWithoutRights(t *testing.T) {
	b := backends[slices.IndexFunc(backends, func(b backend) bool { return b.dialect == sqlstore.Postgres })]
	dsn := services.Postgres(t)
	b.open(t, dsn)
	admin := b.openDB(t, dsn)
	for _, statement := range []string{
		"DROP ROLE IF EXISTS relay_only", "CREATE ROLE relay_only LOGIN",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO relay_only",
	} {
		if _, err := admin.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		admin.Exec("DROP OWNED BY relay_only")
		admin.Exec("DROP ROLE relay_only")
	})
	db := b.openDB(t, strings.Replace(dsn, "postgres@", "relay_only@", 1))
	if _, err := db.Exec("CREATE TABLE x (y INTEGER)"); err == nil {
		t.Fatal("the user can make tables")
	}
	st := sqlstore.New(db, b.dialect)
	if err := st.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate: %v", err)
	}
	if err := putAndSettle(t, st, "m1"); err != nil {
		t.Error(err)
	}
}
