package chaos_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestDiskFull fills the disk that holds a relay's database and temporary files.
// Clients are told that the disk is full. When it has space again, the relay goes
// on by itself.
func TestDiskFull(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	dir := t.TempDir()
	needSmallDisk(t, dir)
	s := newSink(t, nil)
	n := nodeOn(backend{driver: "sqlite", dialect: sqlstore.SQLite}, sqliteIn(dir), s)
	n.wrap = func(cmd *exec.Cmd) {
		onSmallDisk(cmd, dir)
		cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	}
	n.start(t)
	seen := fmt.Sprintf("/proc/%d/root%s", n.cmd.Process.Pid, dir) // only the relay's processes have it mounted
	filler := filepath.Join(seen, "filler")

	s.shut() // so that the spool grows
	l := &load{conns: 6, pause: 20 * time.Millisecond, large: 10}
	stop := l.run(t, n)
	eventually(t, "mail is accepted", func() bool { return l.accepted() > 50 })
	fill(t, filler)
	eventually(t, "clients are told that there is no room", func() bool { return l.refused(452) > 20 })
	s.open()
	time.Sleep(2 * time.Second) // what is delivered now can't be recorded
	kept := l.accepted()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "mail is accepted again", func() bool { return l.accepted() > kept+50 })
	stop()
	l.wantCodes(t, 452)
	s.wantAll(t, l, n)
	if times := s.repeats(); len(times) > 0 {
		t.Errorf("%v were delivered again, although the relay was there all the time", times)
	}
	eventually(t, "everything is settled", func() bool { return len(n.became("delivered")) >= l.accepted() })
	t.Logf("%d messages sent, %d got 250, refused: %v", l.sent.Load(), l.accepted(), l.stages)
}

// onSmallDisk makes cmd run with a small file system of its own on dir. Other
// processes do not see it, and it ends with the process.
func onSmallDisk(cmd *exec.Cmd, dir string) {
	cmd.Args = append([]string{"sh", "-c", `mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"`, dir}, cmd.Args...)
	cmd.Path = "/bin/sh"
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// needSmallDisk ends the test if there can't be such a file system here.
func needSmallDisk(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("true")
	onSmallDisk(cmd, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		services.Missing(t, fmt.Errorf("a small file system can't be mounted, which takes root: %w %s", err, out))
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: got %v, want no space", err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
