package conformance_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// dsnVariable tells the process that TestKilled starts what to write to.
const dsnVariable, backendVariable = "CONFORMANCE_DSN", "CONFORMANCE_BACKEND"

var user = store.User{
	Tenant: domain.Tenant, Domain: domain.Name, Username: "u1", Name: "the shop", Generation: 1,
	Created: domain.Created, PasswordSet: domain.Created,
}

// A write that has returned survives a kill right after it.
func TestKilled(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriteAndDie$")
			cmd.Env = append(os.Environ(), dsnVariable+"="+dsn, backendVariable+"="+b.name)
			out, err := cmd.CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the other process was not killed: %v\n%s", err, out)
			}
			st := b.open(t, dsn)
			got, hash, _, err := st.Lookup(t.Context(), user.Username)
			want := user
			want.Generation, want.LastConnection, want.LastConnectionFrom = 2, domain.Created, netip.IPv6Unspecified()
			if err != nil || !reflect.DeepEqual(got, want) || hash != "second" {
				t.Errorf("Lookup: got %+v, %q, %v, want %+v, %q", got, hash, err, want, "second")
			}
			for id, size := range killedMails {
				if content, err := read(t, st, id); err != nil || len(content) != size {
					t.Errorf("content of %s: got %d bytes, %v, want %d", id, len(content), err, size)
				}
			}
		})
	}
}

// killedMails are what the killed process put, and how large.
var killedMails = map[string]int{"m1": 4 << 10, "m2": 1 << 20}

// TestWriteAndDie is run by TestKilled, in a process of its own.
func TestWriteAndDie(t *testing.T) {
	for _, b := range databases() {
		if b.name != os.Getenv(backendVariable) {
			continue
		}
		st := b.open(t, os.Getenv(dsnVariable))
		for _, err := range []error{
			st.AddDomain(t.Context(), domain, 0),
			st.AddUser(t.Context(), user, "first", 0),
			st.SetPassword(t.Context(), user.Tenant, user.Username, 1, "second", user.PasswordSet),
			st.RecordLogin(t.Context(), user.Username, 1, domain.Created, netip.IPv6Unspecified()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for id, size := range killedMails {
			mustPut(t, st, id, make([]byte, size))
		}
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Kill(); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	t.Skip("only TestKilled runs this")
}

// When the database ends a deadlock at the Store's cost, the Store tries again.
func TestDeadlock(t *testing.T) {
	for _, b := range databases() {
		if b.dialect == sqlstore.SQLite {
			continue // it has one writer
		}
		t.Run(b.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dsn := b.create(t)
			st := b.open(t, dsn)
			if err := st.AddDomain(ctx, domain, 0); err != nil {
				t.Fatal(err)
			}
			if err := st.AddUser(ctx, user, "first", 0); err != nil {
				t.Fatal(err)
			}

			// Another transaction holds the user's row, having written more than
			// the Store will: MariaDB ends the transaction that wrote least.
			tx, err := b.openDB(t, dsn).BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			for i := range 50 {
				mustExec(t, tx, fmt.Sprintf("INSERT INTO gatepost_usernames (username) VALUES ('weight%d')", i))
			}
			mustExec(t, tx, "UPDATE gatepost_users SET name = 'held' WHERE username = 'u1'")
			deleted := make(chan error, 1)
			go func() { deleted <- st.DeleteDomain(ctx, domain.Tenant, domain.Name) }()
			select {
			case err := <-deleted:
				t.Fatalf("DeleteDomain did not wait for the user's row: %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			// And now wants the domain's row, which DeleteDomain holds.
			mustExec(t, tx, "UPDATE gatepost_domains SET created = 1 WHERE name = 'acme.example'")
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-deleted; err != nil {
				t.Errorf("DeleteDomain: %v", err)
			}
		})
	}
}

func mustExec(t *testing.T, tx *sql.Tx, statement string) {
	t.Helper()
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
