package conformance_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// The log of a SQLite database stays short under writes without a pause. SQLite's own
// checkpoints are off, because commits would wait for them.
func TestCheckpoint(t *testing.T) {
	services.OnlyLong(t)
	const (
		mails = 1500
		size  = 64 << 10 // the largest content that is kept in a row
		most  = mails * size / 2
	)
	for _, b := range sqlite() {
		t.Run(b.name, func(t *testing.T) {
			dsn := strings.Replace(b.create(t), "wal_autocheckpoint(8000)", "wal_autocheckpoint(0)", 1)
			file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
			st := b.open(t, dsn)
			race(4, mails, func(i int) {
				if err := put(t, st, fmt.Sprint("m", i), size); err != nil {
					t.Error(err)
				}
				checkContent(t, st, fmt.Sprint("m", i), size)
			})
			log, err := os.Stat(file + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			if log.Size() > most {
				t.Errorf("the log has %d bytes after contents of %d, want at most half", log.Size(), mails*size)
			}
			for i := range mails {
				checkContent(t, st, fmt.Sprint("m", i), size)
			}
		})
	}
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
