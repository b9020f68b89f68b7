package services

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// A recorder notes how a helper ended the test.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper()             {}
func (r *recorder) Skip(args ...any)  { r.skipped = fmt.Sprint(args...) }
func (r *recorder) Fatal(args ...any) { r.failed = fmt.Sprint(args...) }

func TestMissingProgram(t *testing.T) {
	launch := func(*server) error {
		_, err := find("gatepost-no-such-program", "/usr/lib/*/bin")
		return err
	}
	const want = "gatepost-no-such-program is not installed"
	t.Run("skips", func(t *testing.T) {
		t.Setenv("REQUIRE_SERVICES", "")
		r := new(recorder)
		new(server).start(r, launch)
		if !strings.Contains(r.skipped, want) || r.failed != "" {
			t.Errorf("skipped with %q, failed with %q, want to skip with %q", r.skipped, r.failed, want)
		}
	})
	t.Run("fails if required", func(t *testing.T) {
		t.Setenv("REQUIRE_SERVICES", "1")
		r := new(recorder)
		new(server).start(r, launch)
		if !strings.Contains(r.failed, want) || r.skipped != "" {
			t.Errorf("skipped with %q, failed with %q, want to fail with %q", r.skipped, r.failed, want)
		}
	})
}

// A server that doesn't start says why, and leaves nothing running.
func TestServerThatFails(t *testing.T) {
	path := Program(t, "sh")
	var s server
	r := new(recorder)
	s.start(r, func(s *server) error {
		if err := s.makeDir(); err != nil {
			return err
		}
		return s.run(path, func(string) []string {
			return []string{"-c", "echo out of order; exit 3"}
		}, func(ctx context.Context) error { return errors.New("no answer") })
	})
	if !strings.Contains(r.failed, "out of order") {
		t.Errorf("failed with %q, want what the server said", r.failed)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the server's directory is still there: %v", err)
	}
}
