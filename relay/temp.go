package relay

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// A tempSpace is the directory of temporary files, and counts their bytes.
type tempSpace struct {
	dir   string
	limit int64
	used  atomic.Int64
}

var errTempFull = errors.New("the temporary files would be larger than Server.MaxTempBytes")

// take reserves n bytes. It reports false if that would exceed the limit.
func (t *tempSpace) take(n int64) bool {
	if t.used.Add(n) > t.limit {
		t.used.Add(-n)
		return false
	}
	return true
}

func (t *tempSpace) giveBack(n int64) { t.used.Add(-n) }

// setUpTemp checks MaxTempBytes, and that a file can be created in TempDir.
func (s *Server) setUpTemp() error {
	s.temp.dir, s.temp.limit = s.TempDir, s.maxTempBytes()
	if s.temp.limit < s.maxMessageBytes() {
		// A larger message would be told to try again later, each time.
		return fmt.Errorf("relay: Server.MaxTempBytes %d is less than MaxMessageBytes %d", s.temp.limit, s.maxMessageBytes())
	}
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
