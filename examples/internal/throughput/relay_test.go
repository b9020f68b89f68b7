package throughput_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

func TestMain(m *testing.M) { services.Main(m) }

type backend struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	create  func(testing.TB) (dsn string) // a new database
}

var (
	sqlite     = backend{"sqlite", "sqlite", sqlstore.SQLite, newFile}
	postgresql = backend{"postgresql", "pgx", sqlstore.Postgres, services.Postgres}
	mariadb    = backend{"mariadb", "mysql", sqlstore.MySQL, services.MariaDB}
)

// newFile names a database for SQLite as the documentation of sqlstore says.
func newFile(t testing.TB) string {
	return "file:" + filepath.Join(t.TempDir(), "gatepost.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)" +
		"&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-32000)"
}

// open opens a new database until the end of the benchmark.
func (backend backend) open(b *testing.B) (*sql.DB, *sqlstore.Store) {
	b.Helper()
	db, err := sql.Open(backend.driver, backend.create(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	st := sqlstore.New(db, backend.dialect)
	if err := st.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return db, st
}

var quiet = slog.New(slog.DiscardHandler)

// discard takes everything and forgets it.
var discard = relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })

// submit starts a relay in front of f, and returns what submits messages to it
// over so many connections with TLS and a login.
func submit(b *testing.B, st store.Store, f relay.Forwarder, conns int) func(messages int) error {
	b.Helper()
	creds := &credentials.Manager{Store: st}
	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(b.Context(), "acme.example"); err != nil && !errors.Is(err, store.ErrTaken) {
		b.Fatal(err)
	}
	user, password, err := acme.AddUser(b.Context(), "acme.example", "the shop")
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &relay.Server{
		Hostname:    "relay.test",
		Credentials: creds,
		Forwarder:   f,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}},
		Logger:      quiet,
	}
	go srv.ServeTLS(l)
	b.Cleanup(func() { srv.Close() })
	return clients(b, l.Addr().String(), "\x00"+user.Username+"\x00"+password.Reveal(), conns)
}

// newSink starts a server that takes mail without TLS and forgets it.
func newSink(b *testing.B) *relaytest.Upstream {
	b.Helper()
	up := &relaytest.Upstream{Discard: true, NoTLS: true}
	up.Start()
	b.Cleanup(up.Close)
	return up
}

// deliverTo completes a queue that delivers to the sink, and runs it until the
// end of the benchmark.
func deliverTo(b *testing.B, up *relaytest.Upstream, q *queue.Queue) {
	b.Helper()
	next := &smarthost.Forwarder{Addr: up.Addr(), TLS: smarthost.NoTLS, Hostname: "relay.test", Logger: quiet}
	q.Next, q.Logger = next, quiet
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := q.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		cancel()
		running.Wait()
		next.Close()
	})
}
