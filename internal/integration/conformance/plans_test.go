package conformance_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// On PostgreSQL no call reads rows that it does not need, even if a queue fills that
// was empty for long and the database has not analyzed the table again.
func TestPostgresPlansForAQueueThatFills(t *testing.T) {
	services.OnlyLong(t)
	const others = 50_000
	for _, b := range databases() {
		if b.dialect != sqlstore.Postgres {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			admin, db := b.openDB(t, dsn), b.openDB(t, dsn)
			st := sqlstore.New(db, b.dialect)
			if err := st.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{"ALTER TABLE gatepost_deliveries SET (autovacuum_enabled = false)", "VACUUM ANALYZE gatepost_deliveries"} {
				if _, err := admin.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			for range 8 { // after five a plan may be kept
				cycle(t, st, 1, 10, 64)
			}
			fill(t, st, admin, others)
			before := rowsRead(t, admin)
			cycle(t, st, 1, 10, 64, 512)
			if err := db.Close(); err != nil { // which tells the statistics
				t.Fatal(err)
			}
			if read := rowsRead(t, admin) - before; read >= others {
				t.Errorf("%d rows were read for 587 mails, beside %d others", read, others)
			}
		})
	}
}

var cycles int

// cycle puts so many mails, and leases, reads and settles them.
func cycle(t *testing.T, st *sqlstore.Store, sizes ...int) {
	t.Helper()
	for _, n := range sizes {
		cycles++
		for i := range n {
			if err := put(t, st, fmt.Sprintf("c%06dx%d", cycles, i), 100); err != nil {
				t.Fatal(err)
			}
		}
		leased, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n1", Now: now, Limit: n})
		if err != nil || len(leased) != n {
			t.Fatalf("leased %d, %v, want %d", len(leased), err, n)
		}
		checkContent(t, st, leased[0].Mail.ID, 100)
		var outcomes []store.Outcome
		for i, l := range leased {
			outcomes = append(outcomes, store.Outcome{Mail: l.Delivery.Mail, N: l.Delivery.N, Lease: l.Delivery.Lease, Done: i%2 == 0, Next: now})
		}
		for range 2 {
			lost, err := st.Settle(t.Context(), outcomes)
			if err != nil || len(lost) > 0 {
				t.Fatalf("Settle: %d lost, %v", len(lost), err)
			}
			var rest []store.Outcome
			for _, o := range outcomes {
				if !o.Done {
					rest = append(rest, store.Outcome{Mail: o.Mail, N: o.N, Lease: o.Lease + 1, Done: true})
				}
			}
			if outcomes = rest; len(rest) == 0 {
				break
			}
		}
	}
}

// fill adds so many mails that are leased.
func fill(t *testing.T, st *sqlstore.Store, db *sql.DB, n int) {
	t.Helper()
	mustPut(t, st, "model", fourKiB[:1000]) // so many that they are in the row
	var columns string
	err := db.QueryRow(`SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns
		WHERE table_name = 'gatepost_deliveries' AND column_name <> 'mail'`).Scan(&columns)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO gatepost_deliveries (mail, %s)
		SELECT 'f' || i, %[1]s FROM gatepost_deliveries, generate_series(1, %d) AS i WHERE mail = 'model'`, columns, n))
	if err != nil {
		t.Fatal(err)
	}
}

// rowsRead is how many rows of the deliveries were read so far, in any way.
func rowsRead(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	time.Sleep(time.Second) // the server gathers what ended sessions tell
	err := db.QueryRow("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'gatepost_deliveries'").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
