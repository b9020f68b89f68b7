package conformance_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

func acceptedEvent(mail string, n int) store.Event {
	return store.Event{
		Kind: store.EventAccepted, Time: now, Received: now, Tenant: "acme", Domain: "acme.example", Username: "u1", Mail: mail, N: n,
		From: "shop@acme.example", Recipient: fmt.Sprintf("to%d@example.net", n), Subject: "Your order", Size: 4096,
	}
}

// putEvent puts a mail with one recipient, and an event.
func putEvent(t testing.TB, st store.Spool, id string) error {
	m := store.Mail{ID: id, Tenant: "acme", Received: now, Size: 1}
	d := []store.Delivery{{Recipient: "to0@example.net", Node: "n1", Lease: 1, Next: now}}
	return st.Put(t.Context(), m, d, strings.NewReader("x"), acceptedEvent(id, 0))
}

// A record that is damaged says so, and does not stop the others.
func TestDamagedRecords(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			const n = 6
			for i := range n {
				if err := st.Record(t.Context(), []store.Event{acceptedEvent("m1", i)}); err != nil {
					t.Fatal(err)
				}
			}
			before, err := st.Records(t.Context(), 100)
			if err != nil || len(before) != n {
				t.Fatalf("Records: got %d, %v, want %d", len(before), err, n)
			}
			empty := map[sqlstore.Dialect]string{sqlstore.SQLite: `x''`, sqlstore.Postgres: `''::bytea`, sqlstore.MySQL: `''`}[b.dialect]
			for i, set := range []string{
				"content = NULL", "content = " + empty, "content = substr(content, 1, 50)", "recipients = 2", "recipients = -1",
			} {
				statement := "UPDATE gatepost_deliveries SET " + set + " WHERE mail = '~" + before[i].ID + "'"
				if b.dialect == sqlstore.SQLite && strings.Contains(set, "substr") {
					statement = strings.Replace(statement, "substr(content, 1, 50)", "CAST(substr(content, 1, 50) AS BLOB)", 1)
				}
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			after, err := st.Records(t.Context(), 100)
			if err != nil || len(after) != n {
				t.Fatalf("Records: got %d, %v, want %d", len(after), err, n)
			}
			for i, r := range after {
				if damaged := i < n-1; r.ID != before[i].ID || (r.Damage != "") != damaged || (len(r.Events) == 0) != damaged {
					t.Errorf("record %d: got %+v", i, r)
				}
				if r.Damage != "" {
					if err := st.SetAside(t.Context(), r.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := st.Apply(t.Context(), []string{after[n-1].ID}, store.Changes{}); err != nil {
				t.Error(err)
			}
			if taken, err := st.Restore(t.Context()); err != nil || taken != 0 {
				t.Errorf("Restore of damaged records: got %d, %v, want 0", taken, err)
			}
			var aside int
			if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM gatepost_deliveries WHERE mail > '~~'").Scan(&aside); err != nil || aside != n-1 {
				t.Errorf("%d records were set aside, %v, want %d", aside, err, n-1)
			}
		})
	}
}

// A record of a newer version is set aside by an older one. When it can be read, it waits
// again.
func TestRecordsOfANewerVersion(t *testing.T) {
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			for i := range 2 {
				if err := st.Record(t.Context(), []store.Event{acceptedEvent("m1", i)}); err != nil {
					t.Fatal(err)
				}
			}
			before, err := st.Records(t.Context(), 100)
			if err != nil || len(before) != 2 {
				t.Fatalf("Records: got %+v, %v, want 2", before, err)
			}
			version := func(prefix, n string) {
				t.Helper()
				set := map[sqlstore.Dialect]string{
					sqlstore.SQLite: "CAST(x'" + n + "' || substr(content, 2) AS BLOB)", sqlstore.MySQL: "CONCAT(x'" + n + "', SUBSTRING(content, 2))",
					sqlstore.Postgres: `'\x` + n + `'::bytea || substr(content, 2)`,
				}[b.dialect]
				if _, err := db.ExecContext(t.Context(), "UPDATE gatepost_deliveries SET content = "+set+" WHERE mail = '"+prefix+before[0].ID+"'"); err != nil {
					t.Fatal(err)
				}
			}
			taken := func(want int) {
				t.Helper()
				if n, err := st.Restore(t.Context()); err != nil || n != want {
					t.Errorf("Restore: got %d, %v, want %d", n, err, want)
				}
			}
			version("~", "63")
			after, err := st.Records(t.Context(), 100)
			if err != nil || after[0].Damage == "" || after[1].Damage != "" {
				t.Fatalf("Records: got %+v, %v, want that the first is of another version", after, err)
			}
			if err := st.SetAside(t.Context(), before[0].ID); err != nil {
				t.Fatal(err)
			}
			taken(0)
			version("~~", "01")
			taken(1)
			after, err = st.Records(t.Context(), 100)
			if err != nil || len(after) != 2 || after[0].ID != before[0].ID || !slices.Equal(after[0].Events, before[0].Events) {
				t.Errorf("Records: got %+v, %v, want\n%+v", after, err, before)
			}
		})
	}
}

// No record is larger than about 1 MiB.
func TestRecordsAreSplit(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			var list []store.Event
			for i := range 3000 {
				e := acceptedEvent("m1", i)
				e.Reason = strings.Repeat(fmt.Sprint(i), 500)
				list = append(list, e)
			}
			if err := st.Record(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			var records, largest int
			err := db.QueryRowContext(t.Context(), "SELECT COUNT(*), MAX(LENGTH(content)) FROM gatepost_deliveries WHERE mail > '~'").Scan(&records, &largest)
			if err != nil || records < 4 || largest > 1<<20+1<<15 {
				t.Errorf("%d records, the largest of %d bytes, %v", records, largest, err)
			}
		})
	}
}

// What Record takes, Apply takes: the ID of a mail has at most 64 bytes.
func TestLongMailIDs(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := b.open(t, b.create(t))
			for size, ok := range map[int]bool{64: true, 65: false} {
				id := strings.Repeat("m", size)
				a := store.Activity{Tenant: "acme", Mail: id, Received: now}
				recorded := st.Record(t.Context(), []store.Event{{Kind: store.EventRefused, Time: now, Tenant: "acme", Mail: id}})
				applied := st.Apply(t.Context(), nil, store.Changes{Activities: []store.ActivityChange{{Activity: a}}})
				if (recorded == nil) != ok || (applied == nil) != ok {
					t.Errorf("an ID of %d bytes: Record = %v, Apply = %v", size, recorded, applied)
				}
			}
		})
	}
}

// A Put with an event is one statement, and so is one without. An outcome with an
// event takes one statement more than one without.
func TestStatements(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			c := &counter{}
			db := c.open(t, b, dsn)
			st := sqlstore.New(db, b.dialect)
			if err := st.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			settle := func(id string, e store.Event) {
				t.Helper()
				lost, err := st.Settle(t.Context(), []store.Outcome{{Mail: id, Lease: 1, Done: true, Event: e}})
				if err != nil || len(lost) > 0 {
					t.Fatalf("Settle: %+v, %v", lost, err)
				}
			}
			for i := range 2 { // the first prepares
				plain, with := fmt.Sprintf("p%d", i), fmt.Sprintf("w%d", i)
				without := c.count(func() { mustPut(t, st, plain, []byte("x")) })
				recorded := c.count(func() {
					if err := putEvent(t, st, with); err != nil {
						t.Fatal(err)
					}
				})
				again := c.count(func() { settle(plain, store.Event{}) })
				settled := c.count(func() { settle(with, acceptedEvent(with, 0)) })
				if i == 0 {
					continue
				}
				if one := []string{"exec"}; !slices.Equal(without, one) || !slices.Equal(recorded, one) {
					t.Errorf("a Put took %q, with an event %q, want one statement each", without, recorded)
				}
				if len(settled) > len(again)+1 || again[0] != settled[0] {
					t.Errorf("a Settle took %q, with an event %q, want one statement more", again, settled)
				}
			}
		})
	}
}

// Puts that share a commit with one of a mail that exists are kept, and each event is
// recorded once.
func TestManyPutsBesideOneThatExists(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := b.open(t, b.create(t))
			if err := putEvent(t, st, "same"); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			const callers, rounds = 40, 5
			for caller := range callers {
				wg.Go(func() {
					for i := range rounds {
						id := fmt.Sprintf("m%dx%d", caller, i)
						if caller%10 == 0 {
							id = "same"
						}
						if err := putEvent(t, st, id); err != nil {
							t.Errorf("Put(%q): %v", id, err)
						}
					}
				})
			}
			wg.Wait()
			records, err := st.Records(t.Context(), 10_000)
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]int)
			for _, r := range records {
				for _, e := range r.Events {
					seen[e.Mail]++
				}
			}
			if want := callers*9/10*rounds + 1; len(seen) != want {
				t.Errorf("events of %d mails were recorded, want %d", len(seen), want)
			}
			for mail, n := range seen {
				if n != 1 {
					t.Errorf("%s was recorded %d times", mail, n)
				}
			}
		})
	}
}

// A counter is a driver that notes what goes to the database.
type counter struct {
	driver.Driver
	mu   sync.Mutex
	seen []string
}

func (c *counter) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, what)
}

func (c *counter) count(f func()) []string {
	c.mu.Lock()
	c.seen = nil
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// open opens a database of the backend through c.
func (c *counter) open(t *testing.T, b backend, dsn string) *sql.DB {
	t.Helper()
	c.Driver = b.openDB(t, dsn).Driver()
	name := fmt.Sprintf("counted-%s-%d", b.driver, time.Now().UnixNano())
	sql.Register(name, c)
	db, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (c *counter) Open(dsn string) (driver.Conn, error) {
	conn, err := c.Driver.Open(dsn)
	return &countedConn{conn, c}, err
}

type countedConn struct {
	driver.Conn
	c *counter
}

func (c *countedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	return &countedStmt{st, c.c}, err
}

func (c *countedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.c.note("begin")
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c *countedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if ex, ok := c.Conn.(driver.ExecerContext); ok {
		c.c.note("exec")
		return ex.ExecContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

func (c *countedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := c.Conn.(driver.QueryerContext); ok {
		c.c.note("query")
		return q.QueryContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

func (c *countedConn) CheckNamedValue(v *driver.NamedValue) error {
	if ch, ok := c.Conn.(driver.NamedValueChecker); ok {
		return ch.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type countedStmt struct {
	driver.Stmt
	c *counter
}

func (s *countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.c.note("exec")
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.c.note("query")
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (s *countedStmt) CheckNamedValue(v *driver.NamedValue) error {
	if ch, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return ch.CheckNamedValue(v)
	}
	return driver.ErrSkip
}
