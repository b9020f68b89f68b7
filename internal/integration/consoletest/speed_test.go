//go:build unix

package consoletest_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Pages of a domain with 10,000 users take less than 100 ms of processor time.
func TestTenThousandUsers(t *testing.T) {
	withoutRaceDetector(t)
	const users, most = 10_000, 100 * time.Millisecond
	h := &console.Handler{
		Credentials: &credentials.Manager{Store: filled(t, users)},
		SMTPHost:    "localhost",
		Tenant:      func(*http.Request) (store.TenantID, error) { return "acme", nil },
	}
	for name, path := range sorted(map[string]string{
		"domains":      "/",
		"first page":   "/domains/acme.example",
		"descending":   "/domains/acme.example?sort=-name",
		"connection":   "/domains/acme.example?sort=-connection",
		"never":        "/domains/acme.example?never=true&sort=connection",
		"everywhere":   "/?search=tool+77",
		"by name":      "/domains/acme.example?search=tool+7777",
		"by half name": "/domains/acme.example?search=OOL+77",
		"nothing":      "/domains/acme.example?search=nothing",
		"deletion":     "/domains/acme.example/delete",
	}) {
		isQuick(t, name, most, func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Accept", "text/html")
			h.ServeHTTP(w, r)
			if w.Code != 200 || name == "by name" && !strings.Contains(w.Body.String(), ">Tool 7777<") {
				t.Fatalf("%s: got status %d, want 200 and the user:\n%s", name, w.Code, w.Body)
			}
		})
	}
}

// isQuick checks that a page takes at most so much processor time. Unlike the clock, it
// does not depend on the load of the machine.
func isQuick(t *testing.T, name string, most time.Duration, get func()) {
	t.Helper()
	best := time.Hour // the first run also reads the database file
	for range 5 {
		began := yardstick.CPUTime()
		get()
		best = min(best, yardstick.CPUTime()-began)
	}
	t.Logf("%s: %v", name, best)
	if best > most {
		t.Errorf("%s: got %v, want at most %v", name, best, most)
	}
}

// withoutRaceDetector skips a test that measures, if the race detector would distort it.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	services.OnlyLong(t)
	if raceDetector {
		t.Skip("the race detector slows a SQLite that is written in Go sixty times")
	}
}

// openSQLite returns a store in a file of the test, and its database.
func openSQLite(t *testing.T) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "gatepost.db")+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st, db
}

// filled returns a store on SQLite with one domain of that many users.
func filled(t *testing.T, users int) store.Store {
	t.Helper()
	st, db := openSQLite(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	if err := st.AddDomain(t.Context(), store.Domain{Tenant: "acme", Name: "acme.example", Created: now}, 0); err != nil {
		t.Fatal(err)
	}
	// In one transaction: with AddUser it would take most of the test's time.
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`
		WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO gatepost_users (tenant, domain, username, name, sort_name, generation, created, password_set, last_connection, last_from, hash)
		SELECT 'acme', 'acme.example', printf('smtp%%05d', i * 7919 %% %[2]d), 'Tool ' || i, 'tool ' || i, 1, %[3]d, %[3]d, %[3]d, '192.0.2.1', '$hash' FROM n`,
		users-1, users, now.UnixMicro()))
	if err != nil {
		t.Fatal(err)
	}
	return st
}
