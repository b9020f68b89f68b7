package conformance_test

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Connections that break under load lose nothing that was kept.
func TestSpoolConnectionsCut(t *testing.T) {
	for _, b := range databases() {
		if b.dialect == sqlstore.SQLite { // has none
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			db := b.openDB(t, dsn)
			pool, err := sql.Open(b.driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close() // which may find broken connections
			st := sqlstore.New(pool, b.dialect)
			if err := st.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			end := time.Now().Add(time.Second)
			var mu sync.Mutex
			kept := make(map[string]bool)
			cut := 0
			var wg sync.WaitGroup
			for caller := range 10 {
				wg.Go(func() {
					for i := 0; time.Now().Before(end); i++ {
						id := fmt.Sprintf("m%dx%d", caller, i)
						err := put(t, st, id, 1000)
						mu.Lock()
						kept[id] = err == nil
						mu.Unlock()
					}
				})
			}
			for time.Now().Before(end) {
				cut += cutConnections(t, db, b.dialect)
				time.Sleep(20 * time.Millisecond)
			}
			wg.Wait()
			if cut == 0 {
				t.Error("no connection was cut")
			}
			rows, err := db.QueryContext(t.Context(), `SELECT mail FROM gatepost_deliveries`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					t.Fatal(err)
				}
				delete(kept, id)
			}
			for id, ok := range kept {
				if ok {
					t.Errorf("Put of %s returned nil, and it is not there", id)
				}
			}
		})
	}
}

// cutConnections ends all connections to a database but the caller's, and returns
// how many there were.
func cutConnections(t *testing.T, db *sql.DB, dialect sqlstore.Dialect) (n int) {
	t.Helper()
	if dialect == sqlstore.Postgres {
		if err := db.QueryRowContext(t.Context(), `SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	rows, err := db.QueryContext(t.Context(), `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		db.ExecContext(t.Context(), fmt.Sprintf("KILL %d", id)) // it may be gone
	}
	return len(ids)
}
