package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A thousand wrong logins at once, at full cost: memory stays bounded, and a
// right login from a quiet address gets through soon.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of all processors")
	}
	for _, prefixes := range []int{1, 50, 1000} {
		t.Run(fmt.Sprint(prefixes, " addresses"), func(t *testing.T) {
			// In a process of its own: its peak of memory is the flood's.
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFloodedProcess$", "-test.v")
			cmd.Env = append(os.Environ(), "FLOOD_PREFIXES="+strconv.Itoa(prefixes))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// TestFloodedProcess is the process that TestFlood starts.
func TestFloodedProcess(t *testing.T) {
	prefixes, err := strconv.Atoi(os.Getenv("FLOOD_PREFIXES"))
	if err != nil {
		t.Skip("only for TestFlood")
	}
	f := newFixture(t)
	f.Manager = &credentials.Manager{Store: f.spy}
	f.acme = f.Manager.Tenant("acme")
	resident, residentPassword := f.add("resident")
	stranger, strangerPassword := f.add("stranger")
	target, _ := f.add("target")
	must(t, f.login(resident.Username, residentPassword.Reveal(), there))
	f.Manager = &credentials.Manager{Store: f.spy} // as after a restart

	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	var flood, started sync.WaitGroup
	started.Add(1000)
	for i := range 1000 {
		flood.Go(func() {
			from := netip.AddrFrom4([4]byte{10, 0, byte(i % prefixes >> 8), byte(i % prefixes)})
			started.Done()
			_, err := f.Authenticate(ctx, target.Username, credentials.NewPassword(fmt.Sprint("guess ", i)), from)
			if !errors.Is(err, credentials.ErrDenied) && !errors.Is(err, credentials.ErrBusy) {
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	started.Wait()
	time.Sleep(100 * time.Millisecond)
	// How soon is counted in hashes: 40 take a second or less of two processors,
	// but nobody knows how busy these are with something else.
	right := func(what, username, password string, from netip.Addr) {
		before := f.Hashes()
		err := f.login(username, password, from)
		ahead := f.Hashes() - before
		t.Logf("%s: %v after %v hashes", what, err, ahead)
		if err != nil || ahead > 40 {
			t.Errorf("%s: %v after %v hashes, want at most 40", what, err, ahead)
		}
	}
	right("resident", resident.Username, residentPassword.Reveal(), there)
	if prefixes <= 50 { // among a thousand that have not guessed before, it waits like them
		right("stranger", stranger.Username, strangerPassword.Reveal(), there.Next())
	}
	flood.Wait()
	t.Logf("%.0f hashes", f.Hashes())

	status, err := os.ReadFile("/proc/self/status")
	if err != nil && os.Getenv("REQUIRE_SERVICES") != "1" {
		t.Skip("no way to know the peak of memory here")
	}
	must(t, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "kB")
	kib, err := strconv.Atoi(strings.TrimSpace(peak))
	must(t, err)
	t.Logf("peak of memory: %d MB", kib>>10)
	if kib > 300<<10 && !raceEnabled {
		t.Errorf("the process took %d MB", kib>>10)
	}
}
