package chaos_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestPowerCut cuts the power at any moment. After a kill the kernel still writes
// the data that the process has handed over. A power cut loses all data that was
// not flushed to the disk. Each message that got a 250 arrives all the same.
func TestPowerCut(t *testing.T) {
	services.OnlyLong(t)
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s, d := newSink(t, nil), newDisk(t)
		n := nodeOn(backends[0], sqliteIn(d.dir), s)
		n.wrap = d.carry
		powerCuts(t, s, n, 5, func() {
			n.freeze(t)
			d.cut(t)
			n.kill()
			d.wantFree(t)
		}, func() { d.wantEmptySpool(t) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		cutServer(t, backends[1], services.NewPostgresServer)
	})
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		cutServer(t, backends[2], services.NewMariaDBServer)
	})
}

// cutServer cuts the power of a relay and of the server of its database.
func cutServer(t *testing.T, b backend, launch func(testing.TB, func(*exec.Cmd)) *services.Server) {
	s, d := newSink(t, nil), newDisk(t)
	db := launch(t, d.carry)
	n := nodeOn(b, db.DSN, s)
	powerCuts(t, s, n, 2, func() {
		n.freeze(t)
		d.cut(t)
		n.kill()
		db.Stop()
		d.wantFree(t)
		db.Start(t)
	}, func() { n.wantDepth(t, 0, 0) })
}

// powerCuts makes cuts under load, waits with over until everything is settled, and
// wants of the cuts what is wanted of kills.
func powerCuts(t *testing.T, s *sink, n *node, times int, cut, over func()) {
	t.Helper()
	n.Lease = 2 * time.Second
	n.start(t)
	l := &load{conns: 6, pause: 10 * time.Millisecond, large: 40}
	settled := crash(t, s, n, l, times, cut)
	over()
	l.wantCodes(t) // the relay never saw the disk without power
	wantRepeats(t, s, n)
	s.wantNoMore(t, settled)
	t.Logf("%d messages sent, %d got 250, %v were delivered again", l.sent.Load(), l.accepted(), s.repeats())
}

// TestPowerCutLosesWhatIsNotFlushed shows that the cuts are real: a store that
// answers before its data is on the disk would lose it.
func TestPowerCutLosesWhatIsNotFlushed(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	const flushed = "flushed\n"
	d := newDisk(t)
	release := d.hold(t)
	f, err := os.Create(filepath.Join(d.seen(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(flushed); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("not flushed\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.cut(t)
	release()
	d.wantFree(t)

	d.hold(t)
	got, err := os.ReadFile(filepath.Join(d.seen(), "file"))
	if err != nil || string(got) != flushed {
		t.Errorf("after the cut the file holds %q (%v), want %q", got, err, flushed)
	}
}

// freeze stops the process where it is, so that it sends no reply after the cut.
// Its calls of fsync continue. One that is under way when Linux shuts the file
// system down may report success although nothing was written.
func (n *node) freeze(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); !n.frozen(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("the relay doesn't stop")
		}
	}
}

// frozen reports whether a thread of the process has stopped. Then all threads
// have, except those that stop when they return from the kernel.
func (n *node) frozen() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", n.cmd.Process.Pid))
	return slices.ContainsFunc(threads, func(path string) bool {
		stat, _ := os.ReadFile(path)
		return bytes.Contains(stat, []byte(") T "))
	})
}

// A disk is an image with an ext4 file system. Only the process that it carries,
// and those that this one starts, see it mounted, and it is unmounted when the last
// of them ends. Were it mounted for all, any process that gets a copy of all mounts
// would keep it from being unmounted.
type disk struct {
	image string
	dir   string    // where it is mounted
	cmd   *exec.Cmd // the newest process that runs on the disk
}

// newDisk makes a disk whose power can be cut. It ends the test if there can't be
// one here.
func newDisk(t *testing.T) *disk {
	t.Helper()
	mkfs := services.Program(t, "mkfs.ext4", "/usr/sbin", "/sbin")
	d := &disk{image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	if out, err := exec.Command(mkfs, "-q", d.image, "1g").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	release := d.hold(t)
	if err := d.shutdown(); err != nil {
		services.Missing(t, fmt.Errorf("a file system can't be shut down: %w", err))
	}
	release()
	d.wantFree(t)
	return d
}

// carry makes cmd run on the disk, which is mounted on the directory that cmd
// starts in, if it names one. Root mounts it, whoever cmd is to run as.
func (d *disk) carry(cmd *exec.Cmd) {
	args, owner := cmd.Args, "0:0"
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Credential != nil {
		as := cmd.SysProcAttr.Credential
		owner = fmt.Sprintf("%d:%d", as.Uid, as.Gid)
		args = append([]string{
			"setpriv", fmt.Sprintf("--reuid=%d", as.Uid), fmt.Sprintf("--regid=%d", as.Gid), "--clear-groups",
			"--pdeathsig=QUIT", // which a change of the user takes away
		}, args...)
	}
	if cmd.Dir != "" {
		d.dir = cmd.Dir
	}
	const script = `mount -t ext4 -o loop "$0" "$1" && chown "$2" "$1" && shift 2 && exec "$@"`
	cmd.Args = append([]string{"sh", "-c", script, d.image, d.dir, owner}, args...)
	cmd.Path = "/bin/sh"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Credential = nil
	cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNS
	d.cmd = cmd
}

// hold mounts the disk until release is called, or until the end of the test. It
// ends the test if that can't be done here.
func (d *disk) hold(t *testing.T) (release func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "echo mounted && exec cat")
	d.carry(cmd)
	var said strings.Builder
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe() // ends with the process of the test, and cat with it
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		services.Missing(t, fmt.Errorf("a file system can't be mounted, which takes root and loop devices: %w", err))
	}
	release = func() {
		stdin.Close()
		cmd.Wait()
	}
	t.Cleanup(release)
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		release()
		services.Missing(t, fmt.Errorf("a file system can't be mounted, which takes root and loop devices: %s", strings.TrimSpace(said.String())))
	}
	return release
}

// seen is the directory of the disk, as this process sees it.
func (d *disk) seen() string {
	return fmt.Sprintf("/proc/%d/root%s", d.cmd.Process.Pid, d.dir)
}

// wantEmptySpool waits until nothing is left in the spool that is on the disk. It
// looks at copies: SQLite finds no file by a path that leads into another process.
func (d *disk) wantEmptySpool(t *testing.T) {
	t.Helper()
	eventually(t, "the spool is empty", func() bool {
		time.Sleep(500 * time.Millisecond)
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(d.seen())); err != nil {
			return false // the relay changed it during the copy
		}
		db := (&node{settings: settings{Driver: "sqlite", DSN: sqliteIn(dir)}}).open(t)
		depth, err := sqlstore.New(db, sqlstore.SQLite).Depth(t.Context())
		return err == nil && depth.Deliveries == 0
	})
}

// cut makes the file system forget what it hasn't written, its journal included,
// and fail from now on whatever it is asked for.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	if err := d.shutdown(); err != nil {
		t.Fatal(err)
	}
}

func (d *disk) shutdown() error {
	const (
		ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN of Linux's fs/ext4/ext4.h: _IOR('X', 125, __u32)
		noLogFlush   = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	f, err := os.Open(d.seen())
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}

// wantFree waits until the disk is unmounted: what of it was in memory is gone then.
func (d *disk) wantFree(t *testing.T) {
	t.Helper()
	eventually(t, "the disk is unmounted", func() bool {
		used, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, path := range used {
			if image, _ := os.ReadFile(path); strings.TrimSpace(string(image)) == d.image {
				return false
			}
		}
		return true
	})
}
