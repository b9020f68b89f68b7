//go:build unix

package consoletest_test

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// Pages about 1,000,000 activities of a tenant take less than 100 ms of processor time.
func TestMillionActivities(t *testing.T) {
	withoutRaceDetector(t)
	const most = 100 * time.Millisecond
	st := withActivities(t, 1_000_000)
	h := &console.Handler{
		Credentials: &credentials.Manager{Store: st}, SMTPHost: "localhost", History: &history.History{Store: st},
		Tenant: func(*http.Request) (store.TenantID, error) { return "acme", nil },
	}
	for name, path := range sorted(map[string]string{
		"newest":            "/activity",
		"problems":          "/activity?state=problems",
		"a rare state":      "/activity?state=canceled",
		"a text":            "/activity?search=order+77",
		"a text of nothing": "/activity?search=nothing",
		"a recipient":       "/activity?recipient=r4711@example.com",
		"a user":            "/activity?username=smtp7&state=delivered",
		"a day":             "/activity?period=yesterday",
		"a message":         "/activity/m500000",
		"many recipients":   "/activity/big",
		"its last ones":     "/activity/big?from=99950",
		"statistics":        "/statistics?period=30",
		"of a year":         "/statistics?from=" + time.Now().AddDate(-1, 0, 1).Format(time.DateOnly),
		"of a domain":       "/statistics?period=30&domain=acme.example",
	}) {
		isQuick(t, name, most, func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Accept", "text/html")
			h.ServeHTTP(w, r)
			if w.Code != 200 || name == "a recipient" && !strings.Contains(w.Body.String(), ">r4711@example.com<") {
				t.Fatalf("%s: got status %d, want 200:\n%s", name, w.Code, w.Body)
			}
		})
	}
}

// withActivities returns a store on SQLite with that many activities of one tenant in 30
// days, of 20 users, and with counts of two months. One message has 100,000 of them.
func withActivities(t *testing.T, n int) *sqlstore.Store {
	t.Helper()
	st, db := openSQLite(t)
	const big = 100_000
	now, month := time.Now().UnixMicro(), (30 * 24 * time.Hour).Microseconds()
	for _, insert := range []string{
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO gatepost_activities (mail, tenant, n, day, folded, received, domain, username, state, ord, updated, attempt, code, size, times, erased,
				sender, author, recipient, subject, message_id, enhanced, said, host, field, reason, trail)
			SELECT CASE WHEN i < %[2]d THEN 'big' ELSE 'm' || i END, 'acme', CASE WHEN i < %[2]d THEN i ELSE 0 END, at / 86400000000, 0, at, CAST('acme.example' AS BLOB), CAST('smtp' || (i %% 20) AS BLOB),
				CASE WHEN i %% 50 = 0 THEN 7 WHEN i %% 1000 = 1 THEN 5 ELSE 4 END, 2, at, 1, 250, 1000, 1, 0,
				CAST('shop@acme.example' AS BLOB), CAST('shop@acme.example' AS BLOB), CAST('r' || i || '@example.com' AS BLOB), CAST('Your order ' || i AS BLOB), CAST('<' || i || '@acme.example>' AS BLOB),
				CAST('2.0.0' AS BLOB), CAST('OK' AS BLOB), CAST('mx.example.com' AS BLOB), CAST('' AS BLOB), CAST('' AS BLOB), CAST('' AS BLOB)
			FROM (SELECT i, %[3]d - i * %[4]d AS at FROM n)`, n-1, big, now, month/int64(n)),
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO gatepost_counts (tenant, hour, domain, username, accepted, delivered, deferred, soft, hard, rejected, canceled, bytes)
			SELECT 'acme', (%[2]d / 3600000000 - i / 20) * 3600000000, CAST('acme.example' AS BLOB), CAST('smtp' || (i %% 20) AS BLOB), 70, 65, 3, 1, 2, 1, 0, 70000 FROM n`, 60*24*20-1, now),
	} {
		if _, err := db.ExecContext(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE gatepost_activities SET folded = ? WHERE mail = 'big' AND n = 4711`, foldedOf("acme", "r4711@example.com")); err != nil {
		t.Fatal(err)
	}
	return st
}

// foldedOf is how the store finds a recipient of a tenant.
func foldedOf(tenant, recipient string) int64 {
	h := fnv.New64a()
	io.WriteString(h, tenant+"\x00"+recipient)
	return max(1, int64(h.Sum64()>>1))
}
