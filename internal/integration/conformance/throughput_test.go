package conformance_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// turn is how long the sides of a comparison take turns for.
const turn = time.Second

// BenchmarkAccept submits messages to a relay whose queue keeps them in SQLite,
// while nothing is delivered. The yardstick is the same relay with a Forwarder
// that discards them. fsyncs/s is how often the same disk makes 4 KiB more of a
// file durable. With one connection fsync-ratio compares ours with what that
// allows: the time that the yardstick takes for a message, and one such write.
func BenchmarkAccept(b *testing.B) {
	for _, conns := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d", conns), func(b *testing.B) {
			_, st := sqliteModernc.pool(b)
			fsyncs := appendRate(b)
			q := &queue.Queue{Spool: st, Next: discard, Logger: quiet}
			accept, base := measured(submit(b, st, q, conns)), measured(submit(b, st, discard, conns))
			yardstick.CompareFor(b, turn, base.load, accept.load)
			b.ReportMetric(fsyncs, "fsyncs/s")
			if conns == 1 {
				allowed := 1 / (1/fsyncs + 1/base.rate())
				b.ReportMetric(accept.rate(), "fsync-ours/s")
				b.ReportMetric(allowed, "fsync-yardstick/s")
				b.ReportMetric(accept.rate()/allowed, "fsync-ratio")
			}
		})
	}
}

// BenchmarkDeliver submits messages to a relay that keeps them in SQLite and
// delivers them to a sink over kept connections, until all are settled. The
// yardstick is again the relay that discards. straight/s is how many clients
// without TLS and login send straight to the sink; most-waiting is how many
// messages were accepted and not delivered yet at the worst moment.
func BenchmarkDeliver(b *testing.B) {
	for _, conns := range []int{10, 100} {
		b.Run(fmt.Sprintf("%d", conns), func(b *testing.B) {
			_, st := sqliteModernc.pool(b)
			var waiting, most atomic.Int64
			q := &queue.Queue{Spool: st, OnEvent: func(e queue.Event) {
				switch e.(type) {
				case *queue.Queued:
					most.Store(max(most.Load(), waiting.Add(1)))
				case *queue.Delivered:
					waiting.Add(-1)
				default:
					b.Errorf("%T: %+v", e, e)
				}
			}}
			up := newSink(b)
			deliverTo(b, up, q)
			straight := measured(clients(b, up.Addr(), "", conns))
			if err := straight.load(20_000); err != nil {
				b.Fatal(err)
			}
			yardstick.CompareFor(b, turn, submit(b, st, discard, conns), settled(b, st, submit(b, st, q, conns)))
			b.ReportMetric(straight.rate(), "straight/s")
			b.ReportMetric(float64(most.Load()), "most-waiting")
		})
	}
}

// BenchmarkServer submits messages over 10 connections to a relay that keeps them
// in PostgreSQL or MariaDB, and to its yardstick, one that keeps them in SQLite.
// commits/s is how many small transactions the database does for one client.
func BenchmarkServer(b *testing.B) {
	for _, backend := range []backend{postgresPgx, mariadb} {
		for _, deliver := range []bool{false, true} {
			name := backend.dialect.String() + map[bool]string{false: "/accept", true: "/deliver"}[deliver]
			b.Run(name, func(b *testing.B) {
				db, server := backend.pool(b)
				commits := commitRate(b, db)
				_, file := sqliteModernc.pool(b)
				load := func(st spool) func(int) error {
					q := &queue.Queue{Spool: st, Next: discard, Logger: quiet}
					if !deliver {
						return submit(b, st, q, 10)
					}
					deliverTo(b, newSink(b), q)
					return settled(b, st, submit(b, st, q, 10))
				}
				yardstick.CompareFor(b, turn, load(file), load(server))
				b.ReportMetric(commits, "commits/s")
			})
		}
	}
}

// A spool is both stores of a relay.
type spool interface {
	store.Store
	store.Spool
}

// settled is a load that ends when all its messages are settled.
func settled(b *testing.B, st store.Spool, load func(int) error) func(int) error {
	return func(n int) error {
		if err := load(n); err != nil {
			return err
		}
		for {
			depth, err := st.Depth(b.Context())
			if err != nil || depth.Deliveries == 0 {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// A stopwatch measures the rate of a load.
type stopwatch struct {
	f    func(int) error
	n    int
	took time.Duration
}

func measured(f func(int) error) *stopwatch { return &stopwatch{f: f} }

func (m *stopwatch) load(n int) error {
	start := time.Now()
	err := m.f(n)
	m.n, m.took = m.n+n, m.took+time.Since(start)
	return err
}

func (m *stopwatch) rate() float64 { return float64(m.n) / m.took.Seconds() }

// commitRate is how often a second one client of a database can change a row.
func commitRate(b *testing.B, db *sql.DB) float64 {
	b.Helper()
	for _, statement := range []string{"CREATE TABLE counter (n INTEGER)", "INSERT INTO counter VALUES (0)"} {
		if _, err := db.ExecContext(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	m := measured(func(n int) error {
		for range n {
			if _, err := db.ExecContext(b.Context(), "UPDATE counter SET n = n + 1"); err != nil {
				return err
			}
		}
		return nil
	})
	if err := m.load(1000); err != nil {
		b.Fatal(err)
	}
	return m.rate()
}

// pool opens a new database as a busy relay should.
func (backend backend) pool(b *testing.B) (*sql.DB, *sqlstore.Store) {
	b.Helper()
	db := backend.openDB(b, backend.create(b))
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	st := sqlstore.New(db, backend.dialect)
	if err := st.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return db, st
}

// submit starts a relay in front of f, and returns what submits messages to it
// over so many connections.
func submit(b *testing.B, st store.Store, f relay.Forwarder, conns int) func(messages int) error {
	b.Helper()
	addr, auth := serve(b, st, f)
	return clients(b, addr, auth, conns)
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
