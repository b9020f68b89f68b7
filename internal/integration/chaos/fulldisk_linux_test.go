package chaos_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// TestDiskFullOfThree fills the disk that three relays share: that of their SQLite
// database, or that of the contents beside a database on PostgreSQL. What does not fit
// is refused with 452. Nothing that got 250 is lost or delivered twice, and with space
// again the relays go on by themselves.
func TestDiskFullOfThree(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range []backend{backends[0], backends[1]} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			needSmallDisk(t, dir)
			inside, seen := sharedSmallDisk(t, dir)
			dsn, large := sqliteIn(dir), 10
			if b.name == "PostgreSQL" {
				dsn, large = b.create(t), 2 // the small messages go on
			}
			s := newSink(t, nil)
			nodes := startNodes(t, b, dsn, s, func(n *node) {
				n.Contents, n.wrap = filepath.Join(dir, "contents"), inside
			})
			s.shut() // so that the spool grows
			l := &load{conns: 6, pause: 20 * time.Millisecond, large: large}
			stop := l.run(t, nodes...)
			eventually(t, "mail is accepted", func() bool { return l.accepted() > 20 })
			filler := filepath.Join(seen, "filler")
			fill(t, filler)
			eventually(t, "clients are told that there is no room", func() bool { return l.refused(452) > 20 })
			s.open()
			time.Sleep(2 * time.Second) // what is delivered now can't be recorded on a full SQLite
			kept := l.accepted()
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			eventually(t, "mail is accepted again", func() bool { return l.accepted() > kept+50 })
			stop()
			l.wantCodes(t, 452)
			s.wantAll(t, l, nodes...)
			if times := s.repeats(); len(times) > 0 {
				t.Errorf("%v were delivered again, although the relays were there all the time", times)
			}
			eventually(t, "everything is settled", func() bool {
				settled := 0
				for _, n := range nodes {
					settled += len(n.became("delivered"))
				}
				return settled >= l.accepted()
			})
			t.Logf("%d messages sent, %d got 250, refused: %v", l.sent.Load(), l.accepted(), l.stages)
		})
	}
}

// sharedSmallDisk mounts a small file system on dir until the end of the test, where
// only the processes that inside is applied to see it. Seen is how the test reaches it.
func sharedSmallDisk(t *testing.T, dir string) (inside func(*exec.Cmd), seen string) {
	t.Helper()
	keeper := exec.Command("sleep", "600")
	onSmallDisk(keeper, dir)
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keeper.Process.Kill(); keeper.Wait() })
	proc := fmt.Sprintf("/proc/%d", keeper.Process.Pid)
	eventually(t, "the file system is mounted", func() bool {
		name, err := os.Readlink(proc + "/exe")
		return err == nil && filepath.Base(name) != "sh" && filepath.Base(name) != "dash"
	})
	inside = func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"nsenter", "--mount=" + proc + "/ns/mnt", "--"}, cmd.Args...)
		cmd.Path = services.Program(t, "nsenter", "/usr/bin")
	}
	return inside, proc + "/root" + dir
}
