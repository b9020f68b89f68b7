package chaos_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A backend is what relays keep their mail in.
type backend struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	create  func(testing.TB) (dsn string) // a new database
}

var backends = []backend{
	{"SQLite", "sqlite", sqlstore.SQLite, func(t testing.TB) string { return sqliteIn(services.DataDir(t)) }},
	{"PostgreSQL", "pgx", sqlstore.Postgres, services.Postgres},
	{"MariaDB", "mysql", sqlstore.MySQL, services.MariaDB},
}

func sqliteIn(dir string) (dsn string) {
	return "file:" + filepath.Join(dir, "gatepost.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
}

// node returns a relay that isn't started yet, on a new database.
func (b backend) node(t *testing.T, s *sink) *node {
	return nodeOn(b, b.create(t), s)
}

func nodeOn(b backend, dsn string, s *sink) *node {
	return &node{name: "relay", settings: settings{
		Driver: b.driver, Dialect: b.dialect, DSN: dsn,
		Upstream: s.upstream.Addr(), Workers: 8, Retry: 200 * time.Millisecond,
	}}
}

// startNodes starts three nodes on one database. Each keeps its name over restarts.
// Set changes their settings before that.
func startNodes(t *testing.T, b backend, dsn string, s *sink, set func(*node)) []*node {
	t.Helper()
	nodes := make([]*node, 3)
	for i := range nodes {
		n := nodeOn(b, dsn, s)
		n.name = fmt.Sprintf("node%d", i)
		n.Node = n.name
		set(n)
		nodes[i] = n
		n.start(t)
		_, n.username, n.password = nodes[0].account()
	}
	return nodes
}

// open opens the node's database until the end of the test.
func (n *node) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open(n.Driver, n.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// wantDepth waits until the node's spool holds so many deliveries, and of those
// so many that are held.
func (n *node) wantDepth(t *testing.T, deliveries, held int64) {
	t.Helper()
	st := sqlstore.New(n.open(t), n.Dialect)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		depth, err := st.Depth(t.Context())
		if err == nil && depth.Deliveries == deliveries && depth.Held == held {
			return
		}
		if time.Now().After(end) {
			t.Errorf("the spool holds %d deliveries, of which %d are held (%v), want %d, %d; log:\n%s",
				depth.Deliveries, depth.Held, err, deliveries, held, n.log.tail())
			return
		}
	}
}
