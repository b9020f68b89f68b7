package credentials_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// guess tries n new passwords one after the other. It returns how long that took
// and how many of them were hashed.
func (f *fixture) guess(username string, n int, from netip.Addr) (took time.Duration, hashes float64) {
	f.t.Helper()
	start := time.Now()
	hashes = f.hashes(func() {
		for range n {
			f.guesses++
			wantError(f.t, f.login(username, fmt.Sprint("guess ", f.guesses), from), credentials.ErrDenied)
		}
	})
	return time.Since(start), hashes
}

func wantTook(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s took %v, want between %v and %v", what, got, least, most)
	}
}

func wantHashes(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got != want {
		t.Errorf("%s cost %v hashes, want %v", what, got, want)
	}
}

func TestWrongPasswordsAreRateLimited(t *testing.T) {
	bubble(t, "one username", func(t *testing.T, f *fixture) {
		took, hashes := f.guess(f.user.Username, 10, here)
		wantTook(t, "the first 10", took, 0, 0)
		wantHashes(t, "the first 10", hashes, 10)
		took, hashes = f.guess(f.user.Username, 100, here)
		wantTook(t, "100 more", took, 390*time.Second, 410*time.Second)
		wantHashes(t, "100 more", hashes, 100)
		time.Sleep(41 * time.Second)
		took, _ = f.guess(f.user.Username, 10, here)
		wantTook(t, "10 after a pause", took, 0, 0)
	})
	bubble(t, "many usernames", func(t *testing.T, f *fixture) {
		guess := func(n int) (took time.Duration) {
			for range n {
				d, _ := f.guess(fmt.Sprint("smtp", f.guesses), 1, here)
				took += d
			}
			return took
		}
		wantTook(t, "the first 50", guess(50), 0, 0)
		wantTook(t, "100 more", guess(100), 195*time.Second, 205*time.Second)
	})
	bubble(t, "at once", func(t *testing.T, f *fixture) {
		var all sync.WaitGroup
		hashes := f.hashes(func() {
			for i := range 1000 {
				all.Go(func() { f.login(f.user.Username, fmt.Sprint(i), here) })
			}
			all.Wait()
		})
		// The first 10, one for each 4 of 5 seconds, and those that are being
		// hashed when the limit is reached.
		if hashes < 10 || hashes > 20 {
			t.Errorf("1,000 guesses cost %v hashes, want 10 to 20", hashes)
		}
	})
	bubble(t, "a /64 shares its limits", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, netip.MustParseAddr("2001:db8:0:1::1"))
		took, _ := f.guess(f.user.Username, 1, netip.MustParseAddr("2001:db8:0:1:ffff::2"))
		wantTook(t, "a guess from the same /64", took, 3*time.Second, 5*time.Second)
		took, _ = f.guess(f.user.Username, 10, netip.MustParseAddr("2001:db8:0:2::1"))
		wantTook(t, "10 guesses from another /64", took, 0, 0)
	})
	bubble(t, "IPv4 mapped to IPv6", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, here)
		took, _ := f.guess(f.user.Username, 1, netip.AddrFrom16(here.As16()))
		wantTook(t, "a guess from the same address", took, 3*time.Second, 5*time.Second)
		took, _ = f.guess(f.user.Username, 1, here.Next())
		wantTook(t, "a guess from the next address", took, 0, 0)
	})
	bubble(t, "spellings of a username", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, here)
		took, _ := f.guess(" "+strings.ToUpper(f.user.Username), 1, here)
		wantTook(t, "a guess in another spelling", took, 3*time.Second, 5*time.Second)
	})
	bubble(t, "a known network waits no longer", func(t *testing.T, f *fixture) {
		must(t, f.login(f.user.Username, f.password.Reveal(), here))
		var all sync.WaitGroup
		start := time.Now()
		for i := range 100 {
			all.Go(func() { f.login(f.user.Username, fmt.Sprint(i), here) })
		}
		all.Wait()
		wantTook(t, "100 guesses at once", time.Since(start), 0, 5*time.Second)
	})
}

func TestRightPasswordIsNotLockedOut(t *testing.T) {
	login := func(t *testing.T, f *fixture, from netip.Addr) time.Duration {
		t.Helper()
		start := time.Now()
		must(t, f.login(f.user.Username, f.password.Reveal(), from))
		return time.Since(start)
	}
	bubble(t, "from another address", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 20, here)
		wantTook(t, "the login", login(t, f, there), 0, 0)
	})
	bubble(t, "verified before, from the guessing address", func(t *testing.T, f *fixture) {
		login(t, f, there)
		f.guess(f.user.Username, 20, here)
		wantTook(t, "the login", login(t, f, here), 0, 0)
	})
	bubble(t, "not verified before, from the guessing address", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 20, here)
		wantTook(t, "the login", login(t, f, here), time.Nanosecond, 5*time.Second)
	})
	bubble(t, "from an address that guesses for other users", func(t *testing.T, f *fixture) {
		for i := range 60 {
			f.guess(fmt.Sprint("smtp", i), 1, here)
		}
		wantTook(t, "the first login", login(t, f, here), time.Nanosecond, 5*time.Second)
		// Another process finds the address of the last connection in the store.
		f.Manager = &credentials.Manager{Store: f.spy, Cost: cheap, Logger: f.Logger}
		for i := range 60 {
			f.guess(fmt.Sprint("smtp", i), 1, here)
		}
		wantTook(t, "the login in another process", login(t, f, here), 0, 0)
	})
	bubble(t, "right passwords do not count", func(t *testing.T, f *fixture) {
		for range 100 {
			u, p := f.add("tool")
			start := time.Now()
			must(t, f.login(u.Username, p.Reveal(), here))
			wantTook(t, "a login", time.Since(start), 0, 0)
		}
	})
	bubble(t, "a repeated wrong password counts once", func(t *testing.T, f *fixture) {
		for range 1000 {
			wantError(t, f.login(f.user.Username, "old", here), credentials.ErrDenied)
		}
		wantTook(t, "the login", login(t, f, here), 0, 0)
	})
}

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T, f *fixture)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newFixture(t)) })
	})
}
