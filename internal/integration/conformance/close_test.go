package conformance_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A SQLite file is complete as soon as the database is closed. A copy made then, such
// as a backup, has everything.
func TestCopyAfterClose(t *testing.T) {
	services.OnlyLong(t)
	const size = 64 << 10
	for _, b := range sqlite() {
		t.Run(b.name, func(t *testing.T) {
			for round := range 8 {
				dsn := b.create(t)
				file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
				db := b.openDB(t, dsn)
				st := sqlstore.New(db, b.dialect)
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				mails := 186 + round%4 // at about the last of which the log is copied
				for i := range mails {
					if err := put(t, st, fmt.Sprint("m", i), size); err != nil {
						t.Fatal(err)
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file+".copy", content, 0o600); err != nil {
					t.Fatal(err)
				}
				copied := b.openDB(t, strings.Replace(dsn, file, file+".copy", 1))
				var rows int
				var check string
				if err := copied.QueryRow("SELECT COUNT(*) FROM gatepost_deliveries").Scan(&rows); err != nil || rows != mails {
					t.Errorf("the copy holds %d mails, %v, want %d", rows, err, mails)
				}
				if err := copied.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
					t.Errorf("the copy isn't whole: %q, %v", check, err)
				}
			}
		})
	}
}
