//go:build unix

package consoletest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// With 1,000,000 deliveries that wait on SQLite, pages for operators take less than 100
// ms of processor time. Counting them takes longer, and is not part of a page.
func TestMillionDeliveries(t *testing.T) {
	withoutRaceDetector(t)
	const deliveries, most = 1_000_000, 100 * time.Millisecond
	q := &queue.Queue{Spool: crowded(t, deliveries), Destination: func(to string) string { return to[strings.LastIndex(to, "@")+1:] }}
	op := &console.Operator{Queue: q, By: func(*http.Request) (string, error) { return "alice", nil }}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept", "text/html")
		op.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Fatalf("%s: got status %d:\n%s", path, w.Code, w.Body)
		}
		return w
	}
	began := yardstick.CPUTime()
	if page := get("/queue").Body.String(); !strings.Contains(page, "1,000,000 recipients wait") {
		t.Fatalf("the queue was not counted:\n%s", page)
	}
	t.Logf("counting: %v", yardstick.CPUTime()-began)
	for name, path := range sorted(map[string]string{
		"overview": "/", "by destination": "/queue", "by tenant": "/queue?by=tenant", "a destination": "/queue?destination=large.example",
		"a tenant": "/queue?tenant=t7", "all deliveries": "/deliveries", "of a large destination": "/deliveries?destination=large.example",
		"of a small one": "/deliveries?destination=d77.example&state=waiting", "of none": "/deliveries?destination=none.example",
		"held": "/deliveries?state=held", "held there": "/deliveries?state=held&destination=d77.example", "of a tenant": "/deliveries?tenant=t7",
		"both": "/deliveries?tenant=t7&destination=large.example", "later": "/deliveries?destination=large.example&after=m0900000.00000",
		"cancel": "/change?do=cancel&destination=large.example", "one": "/deliveries/m0500000.00000",
	}) {
		isQuick(t, name, most, func() { get(path) })
	}
}

// crowded returns a spool on SQLite with so many deliveries of 50 tenants, four of ten
// to one destination, and one of twenty held.
func crowded(t *testing.T, deliveries int) *sqlstore.Store {
	t.Helper()
	st, db := openSQLite(t)
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`WITH RECURSIVE i (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < %d),
		d (i, tenant, destination) AS (SELECT i, 't' || (i * 7 %% 50), CASE WHEN i %% 10 < 4 THEN 'large.example' ELSE 'd' || (i * 31 %% 200) || '.example' END FROM i)
		INSERT INTO gatepost_deliveries (mail, n, tenant, recipient, notify, original, lane, list, lease, next, tried, attempts, deaths, warned, reason,
			recipients, domain, username, sender, remote, received, size, body, utf8, require_tls, ret, envelope_id, notice, digest, content)
		SELECT printf('m%%07d', i), 0, tenant, CAST('r' || i || '@' || destination AS BLOB), x'', x'', '=' || destination || char(1) || tenant,
			CASE WHEN i %% 20 = 3 THEN '!' ELSE '=' || destination || char(1) || tenant END, 1, 1700000000000000 + i, 1700000000000000, 1, 0, 0, CAST('451 later' AS BLOB),
			1, x'61', x'75', x'61', '127.0.0.1', 1700000000000000 + i, 300, x'', 0, 0, x'', x'', 0, 1, zeroblob(300) FROM d`, deliveries-1))
	if err != nil {
		t.Fatal(err)
	}
	return st
}
