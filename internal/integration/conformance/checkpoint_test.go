package conformance_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// The log of a SQLite database stays short under writes without a pause, although another
// reader begins before the last one ends, and becomes short again after a reader that took
// long. SQLite's own checkpoints are off, because commits would wait for them.
func TestCheckpoint(t *testing.T) {
	services.OnlyLong(t)
	const size = 64 << 10 // the largest content that is kept in a row
	for _, b := range sqlite() {
		t.Run(b.name, func(t *testing.T) {
			dsn := strings.Replace(b.create(t), "wal_autocheckpoint(8000)", "wal_autocheckpoint(0)", 1)
			st, db := b.open(t, dsn), b.openDB(t, dsn)
			write := func(name string, mails int) (written int64) {
				race(4, mails, func(i int) {
					id := fmt.Sprint(name, i)
					if err := put(t, st, id, size); err != nil {
						t.Error(err)
					}
					checkContent(t, st, id, size)
				})
				return int64(mails) * size
			}
			write("first", 1)
			long := beginReading(t, db)
			written := write("a", 1000)
			long.Close()
			if got := logSize(t, dsn); got < written {
				t.Errorf("the log has %d bytes, and a reader needed all that was written: %d", got, written)
			}
			end := alwaysReading(t, db)
			written = write("b", 2000)
			end()
			if got := logSize(t, dsn); got > written/2 {
				t.Errorf("the log has %d bytes after contents of %d, want at most half", got, written)
			}
			for i := range 1000 {
				checkContent(t, st, fmt.Sprint("a", i), size)
				checkContent(t, st, fmt.Sprint("b", i), size)
			}
		})
	}
}

// beginReading begins to read the database. The reader ends when its result is closed.
func beginReading(t *testing.T, db *sql.DB) *sql.Rows {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT mail FROM gatepost_deliveries`)
	if err != nil || !rows.Next() {
		t.Fatalf("got no row: %v", err)
	}
	return rows
}

// alwaysReading reads the database until its result is called. Each reader takes some
// milliseconds, and begins before the last one ends.
func alwaysReading(t *testing.T, db *sql.DB) (end func()) {
	t.Helper()
	quit, done := make(chan bool), make(chan bool)
	last := beginReading(t, db)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				last.Close()
				return
			case <-time.After(5 * time.Millisecond):
			}
			next, err := db.Query(`SELECT mail FROM gatepost_deliveries`)
			last.Close()
			if err != nil {
				t.Error(err)
				return
			}
			last = next
		}
	}()
	return func() { close(quit); <-done }
}

func logSize(t *testing.T, dsn string) int64 {
	t.Helper()
	file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
	log, err := os.Stat(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return log.Size()
}

// checkContent makes sure that a mail has the content that put gave it.
func checkContent(t *testing.T, st *sqlstore.Store, id string, size int) {
	t.Helper()
	body, err := st.Body(t.Context(), id)
	if err != nil {
		t.Error(err)
		return
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(content, bytes.Repeat([]byte("x"), size)) {
		t.Errorf("%s: got %d bytes, %v", id, len(content), err)
	}
}
