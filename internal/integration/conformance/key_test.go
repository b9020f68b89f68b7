package conformance_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A relay is killed when the message is in the store and before the client is
// answered. The client sends it again, and is told the ID of the one that was kept.
func TestKilledBeforeTheAnswer(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSubmitAndDie$")
			cmd.Env = append(os.Environ(), dsnVariable+"="+dsn, backendVariable+"="+b.name)
			out, err := cmd.CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the other process was not killed: %v\n%s", err, out)
			}
			st := b.open(t, dsn)
			kept, err := st.Deliveries(t.Context(), store.Filter{}, store.Page{})
			if err != nil || len(kept) != 1 {
				t.Fatalf("the killed relay left %d deliveries, %v, want 1", len(kept), err)
			}
			for range 2 {
				if id, err := submitKeyed(t, st, st); err != nil || id != kept[0].Mail.ID {
					t.Errorf("sent again: got the ID %q, %v, want %q", id, err, kept[0].Mail.ID)
				}
			}
			if depth, err := st.Depth(t.Context()); err != nil || depth.Deliveries != 1 {
				t.Errorf("Depth: got %+v, %v, want 1 delivery", depth, err)
			}
		})
	}
}

// TestSubmitAndDie is run by TestKilledBeforeTheAnswer, in a process of its own.
func TestSubmitAndDie(t *testing.T) {
	for _, b := range databases() {
		if b.name == os.Getenv(backendVariable) {
			st := b.open(t, os.Getenv(dsnVariable))
			if err := st.AddDomain(t.Context(), domain, 0); err != nil {
				t.Fatal(err)
			}
			if err := st.AddUser(t.Context(), user, "hash", 0); err != nil {
				t.Fatal(err)
			}
			id, err := submitKeyed(t, st, deadly{st})
			t.Fatalf("got %q, %v, want to be dead", id, err)
		}
	}
	t.Skip("only TestKilledBeforeTheAnswer runs this")
}

// A deadly Spool kills the process when it has kept a mail.
type deadly struct{ store.Spool }

func (s deadly) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	if err := s.Spool.Put(ctx, m, ds, body, events...); err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		return err
	}
	select {}
}

// submitKeyed submits the same message with the same key each time, on a fresh relay.
func submitKeyed(t *testing.T, st store.Store, spool store.Spool) (id string, err error) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv := &relay.Server{
		Hostname: "relay.test", Logger: quiet,
		Credentials: &credentials.Manager{Store: st, Logger: quiet},
		Forwarder:   &queue.Queue{Spool: spool, Hostname: "relay.test", Logger: quiet, Next: relay.ForwarderFunc(nil)},
	}
	defer srv.Close()
	return srv.Submit(t.Context(), relay.Submission{
		Identity: credentials.IdentityOf(user), From: "shop@" + domain.Name, To: []string{"bob@example.com"}, Key: "order 17",
		Content: strings.NewReader("From: shop@" + domain.Name + "\nSubject: Your order\n\nThank you.\n"),
	})
}

// addKeys adds n keys that end half a millisecond after each other, from the time first on.
func (b backend) addKeys(t *testing.T, db *sql.DB, n int, first time.Time) {
	t.Helper()
	var values []string
	for i := range n {
		none, name := "x''", fmt.Sprintf("x'%08x'", i)
		if b.dialect == sqlstore.Postgres {
			none, name = "''::bytea", fmt.Sprintf(`'\x%08x'::bytea`, i)
		}
		values = append(values, fmt.Sprintf("(%s, %s, 'm', %s, %d)", none, name, none, first.UnixMicro()+int64(i)*500))
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO gatepost_submissions (username, submission, mail, fingerprint, until) VALUES "+strings.Join(values, ", ")); err != nil {
		t.Fatal(err)
	}
}

// keysAfterLease calls Lease, and returns how many keys are left and when the first ends.
func keysAfterLease(t *testing.T, st *sqlstore.Store, db *sql.DB) (left int, first int64) {
	t.Helper()
	if _, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n1", Now: now, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*), COALESCE(MIN(until), 0) FROM gatepost_submissions").Scan(&left, &first); err != nil {
		t.Fatal(err)
	}
	return left, first
}

// Keys are removed when they have ended, and others stay.
func TestKeysAreSwept(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			b.addKeys(t, db, 2500, now.Add(-time.Second))
			if left, first := keysAfterLease(t, st, db); left != 499 || first <= now.UnixMicro() {
				t.Errorf("%d keys are left, the first until %d, want 499 that end after %d", left, first, now.UnixMicro())
			}
		})
	}
}

// Each Lease removes some thousands of keys. A failure to remove them is logged, with what
// to do, and is not a failure of Lease.
func TestManyKeysAreSweptInParts(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			b.addKeys(t, db, 7000, now.Add(-time.Hour))
			for _, want := range []int{1995, 0} {
				if left, _ := keysAfterLease(t, st, db); left != want {
					t.Errorf("%d keys are left, want %d", left, want)
				}
			}
			if _, err := db.ExecContext(t.Context(), "DROP TABLE gatepost_submissions"); err != nil {
				t.Fatal(err)
			}
			lines := captureLog(t)
			if _, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n1", Now: now.Add(2 * time.Hour), Limit: 1}); err != nil {
				t.Errorf("Lease: %v", err)
			}
			if !strings.Contains(lines.String(), "level=ERROR") || !strings.Contains(lines.String(), "call Store.Migrate first") {
				t.Errorf("logged %q, want an error that names Store.Migrate", lines)
			}
		})
	}
}

// captureLog makes log and slog write to its result until the end of the test.
func captureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var lines bytes.Buffer
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	return &lines
}
