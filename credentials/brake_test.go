package credentials_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// guess tries n new passwords, one after the other, and returns how long it
// took and how many were looked at.
func (f *fixture) guess(username string, n int, from netip.Addr) (took time.Duration, looked float64) {
	f.t.Helper()
	started := time.Now()
	looked = f.costs(func() {
		for range n {
			f.guesses++
			if err := f.login(username, fmt.Sprint("guess ", f.guesses), from); !errors.Is(err, credentials.ErrDenied) {
				f.t.Errorf("guess: %v", err)
			}
		}
	})
	return time.Since(started), looked
}

func TestWhoGuessesIsSlowedDown(t *testing.T) {
	bubble(t, "at one username", func(t *testing.T, f *fixture) {
		took, looked := f.guess(f.user.Username, 10, here)
		if took != 0 || looked != 10 {
			t.Errorf("the first 10 took %v, %v were looked at", took, looked)
		}
		took, looked = f.guess(f.user.Username, 100, here)
		if took < 390*time.Second || took > 410*time.Second || looked != 100 {
			t.Errorf("100 more took %v, %v were looked at", took, looked)
		}
		time.Sleep(41 * time.Second)
		if took, _ := f.guess(f.user.Username, 10, here); took != 0 {
			t.Errorf("after a pause, 10 took %v", took)
		}
	})
	bubble(t, "at many usernames", func(t *testing.T, f *fixture) {
		guess := func(n int) (took time.Duration) {
			for range n {
				d, _ := f.guess(fmt.Sprint("smtp", f.guesses), 1, here)
				took += d
			}
			return took
		}
		if took := guess(50); took != 0 {
			t.Errorf("the first 50 took %v", took)
		}
		if took := guess(100); took < 195*time.Second || took > 205*time.Second {
			t.Errorf("100 more took %v", took)
		}
	})
	bubble(t, "all at once", func(t *testing.T, f *fixture) {
		var all sync.WaitGroup
		looked := f.costs(func() {
			for i := range 1000 {
				all.Go(func() { f.login(f.user.Username, fmt.Sprint(i), here) })
			}
			all.Wait()
		})
		// The first 10, one more for each 4 of 5 seconds, and as many as may be
		// hashing when the last token goes.
		if looked < 10 || looked > 20 {
			t.Errorf("%v were looked at", looked)
		}
	})
	bubble(t, "one /64 is one guesser", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, netip.MustParseAddr("2001:db8:0:1::1"))
		if took, _ := f.guess(f.user.Username, 1, netip.MustParseAddr("2001:db8:0:1:ffff::2")); took == 0 {
			t.Error("another address of the /64 isn't slowed")
		}
		if took, _ := f.guess(f.user.Username, 10, netip.MustParseAddr("2001:db8:0:2::1")); took != 0 {
			t.Error("another /64 is slowed")
		}
	})
	bubble(t, "IPv4 in IPv6 is IPv4", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, here)
		if took, _ := f.guess(f.user.Username, 1, netip.AddrFrom16(here.As16())); took == 0 {
			t.Error("the same address in another form isn't slowed")
		}
		if took, _ := f.guess(f.user.Username, 1, here.Next()); took != 0 {
			t.Error("the next address is slowed")
		}
	})
}

func TestWhoHasThePasswordIsNotLockedOut(t *testing.T) {
	right := func(t *testing.T, f *fixture, from netip.Addr) time.Duration {
		t.Helper()
		started := time.Now()
		must(t, f.login(f.user.Username, f.password.Reveal(), from))
		return time.Since(started)
	}
	bubble(t, "from another address", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 20, here)
		if took := right(t, f, there); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
	bubble(t, "at the guessing address, known", func(t *testing.T, f *fixture) {
		right(t, f, there)
		f.guess(f.user.Username, 20, here)
		if took := right(t, f, here); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
	bubble(t, "at the guessing address, new", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 20, here)
		if took := right(t, f, here); took == 0 || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	bubble(t, "where others guess at others", func(t *testing.T, f *fixture) {
		for i := range 60 {
			f.guess(fmt.Sprint("smtp", i), 1, here)
		}
		if took := right(t, f, here); took == 0 || took > 5*time.Second {
			t.Errorf("a stranger's took %v", took)
		}
		// Another process, or the same after a restart, knows where it lives.
		fresh := &credentials.Manager{Store: f.spy, Cost: cheap, Logger: f.Logger}
		f.Manager = fresh
		for i := range 60 {
			f.guess(fmt.Sprint("smtp", i), 1, here)
		}
		if took := right(t, f, here); took != 0 {
			t.Errorf("at home it took %v", took)
		}
	})
	bubble(t, "a right password is no guess", func(t *testing.T, f *fixture) {
		for range 100 {
			u, p := f.add("tool")
			started := time.Now()
			must(t, f.login(u.Username, p.Reveal(), here))
			if took := time.Since(started); took != 0 {
				t.Fatalf("it took %v", took)
			}
		}
	})
	bubble(t, "a stale tool guesses once", func(t *testing.T, f *fixture) {
		for range 1000 {
			wantError(t, f.login(f.user.Username, "old", here), credentials.ErrDenied)
		}
		if took := right(t, f, here); took != 0 {
			t.Errorf("beside it the right one took %v", took)
		}
	})
}

// bubble runs a test on fake time.
func bubble(t *testing.T, name string, test func(t *testing.T, f *fixture)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newFixture(t)) })
	})
}
