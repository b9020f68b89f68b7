package conformance_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/filestore"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestSpool(t *testing.T) {
	for _, b := range databasesAndVariants() {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSpool(t, func(t *testing.T) func() store.Spool {
				b.skipLarge(t)
				dsn := b.create(t)
				return func() store.Spool { return b.open(t, dsn) }
			})
		})
	}
}

// As in TestOneConnection.
func TestSpoolOneConnection(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSpool(t, func(t *testing.T) func() store.Spool {
				db := b.openDB(t, b.create(t))
				db.SetMaxOpenConns(1)
				st := sqlstore.New(db, b.dialect)
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return func() store.Spool { return st }
			})
		})
	}
}

// A broken mail does not affect the others.
func TestSpoolBroken(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			for _, id := range []string{"m1", "m2", "m3", "m4"} {
				mustPut(t, st, id, large)
			}
			mustPut(t, st, "m5", large[:1000])
			for _, statement := range []string{
				"UPDATE gatepost_deliveries SET remote = 'nowhere' WHERE mail = 'm1'",
				"UPDATE gatepost_deliveries SET n = 1 WHERE mail = 'm2'",
				"DELETE FROM gatepost_contents WHERE n = 1 AND upload = (SELECT upload FROM gatepost_deliveries WHERE mail = 'm3')",
				"UPDATE gatepost_deliveries SET lease = 9223372036854775807 WHERE mail = 'm4'",
				"UPDATE gatepost_deliveries SET size = 10 WHERE mail = 'm5'",
			} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}

			if dir := contentsDir(b, dsn); dir != "" {
				if err := os.Truncate(filepath.Join(dir, uploadOf(t, db, "m3")), 1000); err != nil {
					t.Fatal(err)
				}
			}

			if err := st.Remove(t.Context(), store.Node{ID: "n1"}); err != nil {
				t.Fatal(err)
			}
			leased, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n2", Now: now.Add(2 * time.Hour), Limit: 10, Deaths: 1})
			if err != nil || len(leased) != 5 {
				t.Fatalf("Lease: got %d, %v, want 5", len(leased), err)
			}
			var outcomes []store.Outcome
			for _, l := range leased {
				d := l.Delivery
				broken := d.Mail == "m1" || d.Mail == "m2"
				if broken != (l.Mail == store.Mail{ID: d.Mail}) {
					t.Errorf("Lease of %s: got mail %+v", d.Mail, l.Mail)
				}
				outcomes = append(outcomes, store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease, Done: true})
			}
			for id, want := range map[string]error{"m1": nil, "m2": store.ErrNotFound, "m3": store.ErrNotFound, "m4": nil} {
				got, err := read(t, st, id)
				if !errors.Is(err, want) || want == nil && (err != nil || !bytes.Equal(got, large)) {
					t.Errorf("content of %s: got %d bytes, error %v, want error %v", id, len(got), err, want)
				}
			}
			if got, err := read(t, st, "m5"); err == nil && len(got) == 10 {
				t.Error("content of m5: its beginning is passed off as the whole")
			}
			if lost, err := st.Settle(t.Context(), outcomes); err != nil || len(lost) > 0 {
				t.Errorf("Settle: got %+v, %v", lost, err)
			}
			depth, err := st.Depth(t.Context())
			if err != nil || depth != (store.Depth{}) {
				t.Errorf("Depth: got %+v, %v, want nothing", depth, err)
			}
		})
	}
}

// No row stays of what is settled, of what failed, or of what a crash has left
// a day ago.
func TestSpoolLeavesNothing(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			large := bytes.Repeat([]byte("x"), 1<<20)
			mustPut(t, st, "m1", large)
			mustPut(t, st, "m1", large) // again
			short := store.Mail{ID: "m2", Received: now, Size: 2 << 20}
			if err := st.Put(t.Context(), short, make([]store.Delivery, 1), bytes.NewReader(large)); err == nil {
				t.Error("Put of half a content succeeded")
			}
			dir := contentsDir(b, dsn)
			for _, upload := range []struct {
				name string
				age  time.Duration
			}{{"m0.new", time.Hour}, {"m0.old", 25 * time.Hour}} {
				if dir != "" {
					upload.name = strings.TrimPrefix(upload.name, "m0.")
					if err := os.WriteFile(filepath.Join(dir, upload.name), large, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				for _, statement := range []string{
					fmt.Sprintf("INSERT INTO gatepost_uploads (upload, started) VALUES ('%s', %d)", upload.name, now.Add(-upload.age).UnixMicro()),
					fmt.Sprintf("INSERT INTO gatepost_contents (upload, n, content) SELECT '%s', n, content FROM gatepost_contents WHERE upload LIKE 'm1.%%' AND n = 0", upload.name),
				} {
					if _, err := db.ExecContext(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := st.Lease(t.Context(), store.LeaseRequest{Node: "n2", Now: now, Limit: 1}); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Settle(t.Context(), []store.Outcome{{Mail: "m1", Lease: 1, Done: true}}); err != nil {
				t.Fatal(err)
			}
			mustPut(t, st, "m3", large[:10]) // tidies up after the Settle before
			contents, uploads := 1, 1
			if dir != "" {
				contents, uploads = 0, 1+13 // names are registered 16 at a time, and three were used
				files, err := os.ReadDir(dir)
				if err != nil || len(files) != 1 || files[0].Name() != "new" {
					t.Errorf("files: got %v, %v, want new alone", files, err)
				}
			}
			for table, want := range map[string]int{"deliveries": 1, "uploads": uploads, "contents": contents} {
				var rows int
				if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM gatepost_"+table).Scan(&rows); err != nil || rows != want {
					t.Errorf("%s: got %d rows, %v, want %d", table, rows, err, want)
				}
			}
		})
	}
}

// contentsDir returns the directory of large contents, or "" if they are in a
// table.
func contentsDir(b backend, dsn string) string {
	if b.dialect != sqlstore.SQLite {
		return ""
	}
	file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
	return file + "-contents"
}

// uploadOf returns the name under which the content of a mail is kept.
func uploadOf(t *testing.T, db *sql.DB, mail string) (name string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT upload FROM gatepost_deliveries WHERE n = 0 AND mail = '"+mail+"'").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// Contents of other databases may lie in a directory as well.
func TestSpoolWithContents(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range []backend{postgresPgx, mariadb} {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSpool(t, func(t *testing.T) func() store.Spool {
				dsn, contents := b.create(t), &filestore.Contents{Dir: filepath.Join(t.TempDir(), "large")}
				return func() store.Spool {
					st := b.open(t, dsn)
					st.Contents = contents
					return st
				}
			})
		})
	}
}

// A content that was kept in a directory is not given up for lost when the
// directory is not set.
func TestContentsNotSet(t *testing.T) {
	b := postgresPgx
	dsn := b.create(t)
	st := b.open(t, dsn)
	st.Contents = &filestore.Contents{Dir: filepath.Join(t.TempDir(), "large")}
	large := bytes.Repeat([]byte("x"), 1<<20)
	mustPut(t, st, "m1", large)
	if _, err := read(t, b.open(t, dsn), "m1"); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "set Store.Contents") {
		t.Errorf("Body without Contents: got %v, want an error that says to set it", err)
	}
	if got, err := read(t, st, "m1"); err != nil || !bytes.Equal(got, large) {
		t.Errorf("Body: got %d bytes, %v, want %d", len(got), err, len(large))
	}
}

// A large content passes through without being held.
func TestSpoolMemory(t *testing.T) {
	services.OnlyLong(t)
	const size, most = 64 << 20, 16 << 20
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := b.open(t, b.create(t))
			meter := newMeter()
			m := store.Mail{ID: "m1", Received: now, Size: size}
			if err := st.Put(t.Context(), m, make([]store.Delivery, 1), io.LimitReader(meter, size)); err != nil {
				t.Fatal(err)
			}
			body, err := st.Body(t.Context(), "m1")
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if n, err := io.Copy(meter, body); err != nil || n != size {
				t.Errorf("read %d bytes, %v, want %d", n, err, size)
			}
			if meter.peak > meter.base+most {
				t.Errorf("the heap grew by %d MiB, want at most %d", (meter.peak-meter.base)>>20, most>>20)
			}
		})
	}
}

// A meter supplies and accepts any number of bytes. It measures the heap at each
// Read and Write.
type meter struct{ base, peak uint64 }

func newMeter() *meter {
	runtime.GC()
	return &meter{base: heap()}
}

func (m *meter) Read(p []byte) (int, error) { return m.Write(p) }

func (m *meter) Write(p []byte) (int, error) {
	if h := heap(); h > m.peak {
		if runtime.GC(); heap() > m.peak { // what is garbage isn't held
			m.peak = heap()
		}
	}
	return len(p), nil
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// mustPut puts a mail that n1 has leased.
func mustPut(t testing.TB, st store.Spool, id string, content []byte) {
	t.Helper()
	m := store.Mail{ID: id, Tenant: "acme", Received: now, Size: int64(len(content))}
	d := store.Delivery{Recipient: "bob@example.net", Node: "n1", Lease: 1, Next: now}
	if err := st.Put(t.Context(), m, []store.Delivery{d}, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, st store.Spool, id string) ([]byte, error) {
	t.Helper()
	body, err := st.Body(t.Context(), id)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
