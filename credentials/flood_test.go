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

// A thousand wrong logins at once, at the default cost: memory is bounded, and a
// right login from an address without failures is served soon.
func TestFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of all processors")
	}
	for _, addresses := range []int{1, 50, 1000} {
		t.Run(fmt.Sprint(addresses, " addresses"), func(t *testing.T) {
			// The flood runs in its own process, to measure its peak memory.
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFloodedProcess$", "-test.v")
			cmd.Env = append(os.Environ(), "FLOOD_ADDRESSES="+strconv.Itoa(addresses))
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
	addresses, err := strconv.Atoi(os.Getenv("FLOOD_ADDRESSES"))
	if err != nil {
		t.Skip("only for TestFlood")
	}
	f := newFixture(t)
	f.Manager = &credentials.Manager{Store: f.spy}
	f.acme = f.Manager.Tenant("acme")
	known, knownPassword := f.add("known")
	unknown, unknownPassword := f.add("unknown")
	target, _ := f.add("target")
	must(t, f.login(known.Username, knownPassword.Reveal(), there))
	f.Manager = &credentials.Manager{Store: f.spy} // as after a restart

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flood, started sync.WaitGroup
	started.Add(1000)
	for i := range 1000 {
		flood.Go(func() {
			from := netip.AddrFrom4([4]byte{10, 0, byte(i % addresses >> 8), byte(i % addresses)})
			started.Done()
			_, err := f.Authenticate(ctx, target.Username, credentials.NewPassword(fmt.Sprint("guess ", i)), from)
			if !errors.Is(err, credentials.ErrDenied) && !errors.Is(err, credentials.ErrBusy) && ctx.Err() == nil {
				t.Errorf("guess %d: error is %v, want ErrDenied or ErrBusy", i, err)
			}
		})
	}
	started.Wait()
	time.Sleep(100 * time.Millisecond)
	// The wait is counted in hashes, because the processors may be busy with
	// other work. 40 hashes take less than a second of two processors.
	login := func(what, username, password string, from netip.Addr) {
		before := f.Hashes()
		err := f.login(username, password, from)
		ahead := f.Hashes() - before
		t.Logf("%s: %v after %v hashes", what, err, ahead)
		if err != nil || ahead > 40 {
			t.Errorf("%s: error is %v after %v hashes, want none after at most 40", what, err, ahead)
		}
	}
	login("known address", known.Username, knownPassword.Reveal(), there)
	if addresses <= 50 { // otherwise it waits behind those that have not guessed yet
		login("unknown address", unknown.Username, unknownPassword.Reveal(), there.Next())
	}
	time.Sleep(time.Second) // for the peak of memory
	stop()
	flood.Wait()
	t.Logf("%.0f hashes", f.Hashes())

	status, err := os.ReadFile("/proc/self/status")
	if err != nil && os.Getenv("REQUIRE_SERVICES") != "1" {
		t.Skip("/proc/self/status is not available")
	}
	must(t, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "kB")
	kib, err := strconv.Atoi(strings.TrimSpace(peak))
	must(t, err)
	t.Logf("peak of memory: %d MB", kib>>10)
	if kib > 300<<10 && !raceEnabled {
		t.Errorf("peak of memory is %d MB, want at most 300", kib>>10)
	}
}
