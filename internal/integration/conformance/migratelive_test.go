package conformance_test

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Older programs look users up while a new one migrates: the look-ups wait, and neither
// they nor Migrate fail.
func TestMigrateUnderLookUps(t *testing.T) {
	for _, b := range databases() {
		if b.dialect != sqlstore.Postgres {
			continue
		}
		for _, version := range []int{7, 10} {
			t.Run(b.name, func(t *testing.T) {
				dsn := b.create(t)
				db := b.openDB(t, dsn)
				atVersion(t, db, b.dialect, version)
				for _, statement := range []string{
					`INSERT INTO gatepost_domains (name, tenant, created, owned) SELECT 'd' || i || '.example', 't1', 0, 'd' || i || '.example' FROM generate_series(1, 20000) AS i`,
					`INSERT INTO gatepost_users (tenant, domain, username, name, generation, created, password_set, last_connection, last_from, hash)
						SELECT 't1', 'd1.example', 'u' || i, 'N', 1, 0, 0, 0, '', 'h' FROM generate_series(1, 1000) AS i`,
				} {
					if _, err := db.Exec(statement); err != nil {
						t.Fatal(err)
					}
				}
				end := lookUp(t, db)
				if err := sqlstore.New(b.openDB(t, dsn), b.dialect).Migrate(t.Context()); err != nil {
					t.Errorf("Migrate from version %d: %v", version, err)
				}
				end()
			})
		}
	}
}

// lookUp looks a user up as older programs do until end is called.
func lookUp(t *testing.T, db *sql.DB) (end func()) {
	const query = `SELECT (SELECT d.tenant FROM gatepost_domains AS d WHERE d.name = u.domain AND d.tenant = u.tenant) FROM gatepost_users AS u WHERE username = 'u5'`
	stop := make(chan struct{})
	var wg, began sync.WaitGroup
	began.Add(4)
	for range 4 {
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				var tenant string
				if err := db.QueryRow(query).Scan(&tenant); err != nil {
					t.Errorf("look-up %d: %v", i, err)
				}
				if i == 0 {
					began.Done()
				}
				select {
				case <-stop:
					return
				case <-tick.C:
				}
			}
		})
	}
	began.Wait()
	return func() { close(stop); wg.Wait() }
}
