package sqlstore

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// The number of each migration is its place: the table of versions counts places, so one
// that is inserted later would be skipped in the databases that there are.
func TestMigrationNumbers(t *testing.T) {
	var first []string
	for _, dialect := range []Dialect{SQLite, Postgres, MySQL} {
		files, err := fs.Glob(migrations, "migrations/"+strings.ToLower(dialect.String())+"/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i] = path.Base(files[i])
			if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(files[i], want) {
				t.Errorf("%v: migration %d is %s, want %s...", dialect, i+1, files[i], want)
			}
		}
		if first == nil {
			first = files
		}
		if fmt.Sprint(files) != fmt.Sprint(first) {
			t.Errorf("%v has the migrations %v, and %v has %v", dialect, files, SQLite, first)
		}
	}
}
