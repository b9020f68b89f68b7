package chaos_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestDatabasePaused has three relays on a database that answers nothing for 20 seconds,
// which is longer than a lease. Nothing is lost, and nothing arrives twice.
func TestDatabasePaused(t *testing.T) {
	services.OnlyLong(t)
	for _, test := range []struct {
		backend
		server func(testing.TB, func(*exec.Cmd)) *services.Server
	}{
		{backends[1], services.NewPostgresServer},
		{backends[2], services.NewMariaDBServer},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := test.server(t, nil)
			s := newSink(t, nil)
			nodes := startNodes(t, test.backend, db.DSN, s, func(n *node) { n.Lease = 8 * time.Second })
			l := &load{conns: 6, pause: 20 * time.Millisecond, large: 40}
			stop := l.run(t, nodes...)
			eventually(t, "mail flows", func() bool { return l.accepted() > 100 })
			thaw := db.Freeze(t)
			before := l.accepted()
			time.Sleep(20 * time.Second)
			kept := l.accepted()
			if kept > before+l.conns {
				t.Errorf("%d messages were accepted while the database was paused", kept-before)
			}
			thaw()
			eventually(t, "mail flows again", func() bool { return l.accepted() > kept+100 })
			stop()
			s.wantAll(t, l, nodes...)
			nodes[0].wantDepth(t, 0, 0)
			if times := s.repeats(); len(times) > 0 {
				t.Errorf("%v were delivered again", times)
			}
			t.Logf("%d messages got 250, refused: %v", l.accepted(), l.stages)
		})
	}
}

// TestClockJumps has three relays on a database whose clock jumps by days, forward and
// back, while a tenth of the mail is deferred. Nothing expires, and nothing is lost or
// delivered twice.
func TestClockJumps(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	set, wrap := fakeClock(t)
	db := services.NewPostgresServer(t, wrap)
	var tries sync.Map
	s := newSink(t, func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "RCPT" && strings.Contains(c.Line, "0@") {
			if n, _ := tries.LoadOrStore(c.Line, new(int)); *n.(*int) < 3 { // the second may come in the same attempt
				*n.(*int)++
				return relaytest.Answer{Text: "450 4.2.0 not now"}
			}
		}
		return relaytest.Answer{}
	})
	b := backend{name: "PostgreSQL", driver: "pgx", dialect: sqlstore.Postgres}
	nodes := startNodes(t, b, db.DSN, s, func(n *node) { n.Lease = 8 * time.Second })
	l := &load{conns: 6, pause: 20 * time.Millisecond, large: 40}
	stop := l.run(t, nodes...)
	for _, offset := range []string{"+4d", "+0", "-4d", "+0"} {
		kept := l.accepted()
		eventually(t, "mail is accepted", func() bool { return l.accepted() > kept+50 })
		set(offset)
		time.Sleep(6 * time.Second) // more than two beats
	}
	stop()
	s.wantAll(t, l, nodes...)
	nodes[0].wantDepth(t, 0, 0)
	if times := s.repeats(); len(times) > 0 {
		t.Errorf("%v were delivered again", times)
	}
	for _, n := range nodes {
		if got := n.became("expired"); len(got) > 0 {
			t.Errorf("%d expired", len(got))
		}
		if !strings.Contains(n.log.tail(), "clock differs") {
			t.Errorf("the log of %s does not mention the clock:\n%s", n.name, n.log.tail())
		}
	}
	t.Logf("%d messages got 250, refused: %v", l.accepted(), l.stages)
}

// fakeClock returns a function that changes the clock of a program by an offset such as
// "+4d", and one that starts the program so.
func fakeClock(t *testing.T) (set func(offset string), wrap func(*exec.Cmd)) {
	t.Helper()
	libraries, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if len(libraries) == 0 {
		services.Missing(t, errors.New("libfaketime is not installed"))
	}
	dir, err := os.MkdirTemp("", "gatepost-clock-*") // the server is another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "offset")
	set = func(offset string) {
		t.Helper()
		err := errors.Join(os.WriteFile(file+".new", []byte(offset+"\n"), 0o644), os.Rename(file+".new", file), os.Chmod(dir, 0o755))
		if err != nil {
			t.Fatal(err)
		}
	}
	set("+0")
	return set, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+libraries[0], "FAKETIME_TIMESTAMP_FILE="+file,
			"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	}
}
