package chaos_test

import (
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestDatabaseStopped takes the database away for ten seconds under load. Clients
// are told to come back, and everything goes on by itself.
func TestDatabaseStopped(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	db := services.NewPostgresServer(t, nil)
	s := newSink(t, nil)
	n := nodeOn(backend{driver: "pgx", dialect: sqlstore.Postgres}, db.DSN, s)
	n.Lease = 3 * time.Second // every lease ends during the outage
	n.start(t)
	l := &load{conns: 6, pause: 20 * time.Millisecond, large: 40}
	stop := l.run(t, n)
	eventually(t, "mail flows", func() bool { return l.accepted() > 100 })
	db.Stop()
	time.Sleep(10 * time.Second)
	kept := l.accepted()
	if l.refused(451) == 0 {
		t.Errorf("no client was told 451, but %v", l.stages)
	}
	db.Start(t)
	eventually(t, "mail flows again", func() bool { return l.accepted() > kept+100 })
	stop()
	l.wantCodes(t, 451, 454) // the latter to AUTH
	s.wantAll(t, l, n)
	if times := s.repeats(); len(times) > 0 {
		t.Errorf("%v were delivered again, although the relay was there all the time", times)
	}
	t.Logf("%d messages sent, %d got 250, refused: %v", l.sent.Load(), l.accepted(), l.stages)
}
