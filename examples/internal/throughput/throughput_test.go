package throughput_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
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
			_, st := sqlite.open(b)
			fsyncs := appendRate(b)
			q := &queue.Queue{Spool: st, Next: discard, Logger: quiet}
			accept, base := measured(submit(b, st, q, conns)), measured(submit(b, st, discard, conns))
			yardstick.CompareFor(b, turn, base.load, accept.load)
			b.ReportMetric(fsyncs, "fsyncs/s")
			if conns == 1 {
				b.ReportMetric(accept.rate()*(1/fsyncs+1/base.rate()), "fsync-ratio")
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
			_, st := sqlite.open(b)
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
	for _, backend := range []backend{postgresql, mariadb} {
		for _, deliver := range []bool{false, true} {
			name := backend.name + map[bool]string{false: "/accept", true: "/deliver"}[deliver]
			b.Run(name, func(b *testing.B) {
				db, server := backend.open(b)
				commits := commitRate(b, db)
				_, file := sqlite.open(b)
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

// A meter measures the rate of a load.
type meter struct {
	f    func(int) error
	n    int
	took time.Duration
}

func measured(f func(int) error) *meter { return &meter{f: f} }

func (m *meter) load(n int) error {
	start := time.Now()
	err := m.f(n)
	m.n, m.took = m.n+n, m.took+time.Since(start)
	return err
}

func (m *meter) rate() float64 { return float64(m.n) / m.took.Seconds() }

// appendRate is how often a second 4 KiB can be appended to a file and made
// durable.
func appendRate(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m := measured(func(n int) error {
		for range n {
			if _, err := f.Write(message); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return nil
	})
	if err := m.load(2000); err != nil {
		b.Fatal(err)
	}
	return m.rate()
}

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
