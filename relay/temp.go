package relay

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// A tempSpace is where temporary files are, and counts their bytes.
type tempSpace struct {
	dir   string
	limit int64
	used  atomic.Int64
}

var errTempFull = errors.New("the temporary files would be larger than Server.MaxTempBytes")

// take reserves n bytes. It reports false if the limit does not leave so many.
func (t *tempSpace) take(n int64) bool {
	if t.used.Add(n) > t.limit {
		t.used.Add(-n)
		return false
	}
	return true
}

func (t *tempSpace) giveBack(n int64) { t.used.Add(-n) }

// setUpTemp checks that a file can be made in TempDir.
func (s *Server) setUpTemp() error {
	s.temp.dir, s.temp.limit = s.TempDir, s.maxTempBytes()
	f, err := os.CreateTemp(s.TempDir, "gatepost-*")
	if err != nil {
		return fmt.Errorf("relay: Server.TempDir: %w", err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("relay: Server.TempDir: %w", err)
	}
	return nil
}
