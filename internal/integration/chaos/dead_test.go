package chaos_test

import (
	"database/sql"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
)

// TestDeadDestination has 100,000 deliveries of one tenant wait for a server that turns
// every connection away. They cost hardly any writes, the three relays probe one after
// the other, and mail of another tenant passes through the spool at its usual speed.
func TestDeadDestination(t *testing.T) {
	services.OnlyLong(t)
	const messages, recipients = 200, 500
	const waiting = messages * recipients
	b := backends[1]
	server := newTurnsAway(t)
	s := newSink(t, nil)
	dsn := b.create(t)
	nodes := startNodes(t, b, dsn, s, func(n *node) {
		n.ByDomain, n.NoMemory, n.Dead, n.Retry = true, true, server.Addr().String(), time.Second
	})
	o := nodes[0].operator(t)
	down := store.Suspension{Destination: dead}
	if err := o.Suspend(t.Context(), down); err != nil {
		t.Fatal(err)
	}
	time.Sleep(noticeTime)
	for range messages {
		o.sendTo(t, "other", dead, recipients)
	}
	db := nodes[0].open(t)
	if err := o.Resume(t.Context(), down); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the relay suspends the destination", func() bool {
		list, err := o.Suspensions(t.Context())
		return err == nil && len(list) == 1 && list[0].By == ""
	})
	before := updates(t, db)
	server.forget() // the first messages of each node came at the same time
	l := &load{conns: 3, pause: 100 * time.Millisecond}
	stop := l.run(t, nodes...)
	time.Sleep(20 * time.Second)
	stop()
	s.wantAll(t, l, nodes...)
	// A message of the load costs an update for its lease, and some for its outcome.
	if n := updates(t, db) - before - 4*int64(l.accepted()); n > waiting/20 {
		t.Errorf("%d updates for %d waiting messages in 20 s", n, waiting)
	}
	var waits []time.Duration
	for recipient, list := range s.all() {
		waits = append(waits, list[0].at.Sub(l.begun[tokenOf(recipient)]))
	}
	slices.Sort(waits)
	p90 := waits[len(waits)*9/10]
	if p90 > 10*time.Second { // less than 0.1 s on an idle machine; half a minute if they wait
		t.Errorf("nine of ten messages of another tenant took up to %v", p90)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if server.most > 1 || server.all < 2 {
		t.Errorf("%d probes, up to %d at the same time, want one at a time", server.all, server.most)
	}
	t.Logf("%d updates, %d probes; %d messages beside them, p90 %v", updates(t, db)-before, server.all, len(waits), p90)
}

// updates returns how many rows of deliveries were updated so far.
func updates(t *testing.T, db *sql.DB) (n int64) {
	t.Helper()
	time.Sleep(2 * time.Second) // the server's processes report with a delay
	if err := db.QueryRow(`SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'gatepost_deliveries'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// turnsAway is a server that turns every connection away after a moment.
type turnsAway struct {
	net.Listener

	mu              sync.Mutex
	all, open, most int
}

func newTurnsAway(t *testing.T) *turnsAway {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &turnsAway{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.turnAway(conn)
		}
	}()
	return s
}

func (s *turnsAway) turnAway(conn net.Conn) {
	s.mu.Lock()
	s.all++
	s.open++
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	time.Sleep(200 * time.Millisecond)
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	conn.Write([]byte("554 no\r\n"))
	conn.Close()
}

// forget begins to count anew.
func (s *turnsAway) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.most = 0, s.open
}
