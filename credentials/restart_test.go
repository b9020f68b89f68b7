package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// restarted returns n users that have logged in, each from its own address. It gives
// the fixture a new Manager, as after a restart.
func (f *fixture) restarted(n int, cost credentials.Cost) (users []store.User, passwords []credentials.Password) {
	f.t.Helper()
	f.Manager = &credentials.Manager{Store: f.spy, Cost: cost}
	f.acme = f.Manager.Tenant("acme")
	for i := range n {
		u, p := f.add("tool")
		must(f.t, f.spy.RecordLogin(f.t.Context(), u.Username, 1, time.Now(), toolAddr(i)))
		users, passwords = append(users, u), append(passwords, p)
	}
	f.Manager = &credentials.Manager{Store: f.spy, Cost: cost}
	f.acme = f.Manager.Tenant("acme")
	return users, passwords
}

func toolAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// BenchmarkRestart measures 600 tools that log in at once after a restart, at
// the default cost and on all processors.
func BenchmarkRestart(b *testing.B) {
	f := newFixture(b)
	busy, seconds := 0, 0.0
	for b.Loop() {
		b.StopTimer()
		users, passwords := f.restarted(600, credentials.Cost{})
		b.StartTimer()
		start := time.Now()
		var all sync.WaitGroup
		var mu sync.Mutex
		for i, u := range users {
			all.Go(func() {
				err := f.login(u.Username, passwords[i].Reveal(), toolAddr(i))
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, credentials.ErrBusy) {
					busy++
				} else if err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		seconds += time.Since(start).Seconds()
	}
	b.ReportMetric(float64(busy)/float64(b.N), "busy/restart")
	b.ReportMetric(seconds/float64(b.N), "s/restart")
	b.ReportMetric((600*float64(b.N)-float64(busy))/seconds, "hashes/s")
}

// atFiftyHashes runs test in a bubble in which two processors compute 50 hashes
// a second.
func atFiftyHashes(t *testing.T, name string, test func(t *testing.T, f *fixture)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	bubble(t, name, func(t *testing.T, f *fixture) {
		f.fiftyHashes()
		test(t, f)
	})
}

func (f *fixture) fiftyHashes() { f.OnHash(func() { time.Sleep(time.Second / 25) }) }

// flood guesses passwords of the fixture's user from n addresses until stop is
// called. Each address tries new passwords, one after the other.
func (f *fixture) flood(n int) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var all sync.WaitGroup
	for i := range n {
		from := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
		all.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				guess := credentials.NewPassword(fmt.Sprintf("guess %d of %d", k, i))
				_, err := f.Authenticate(ctx, f.user.Username, guess, from)
				if !errors.Is(err, credentials.ErrDenied) && !errors.Is(err, credentials.ErrBusy) && ctx.Err() == nil {
					f.t.Errorf("guess: error is %v, want ErrDenied or ErrBusy", err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// 600 tools log in at once after a restart, during a flood of guesses from a
// thousand addresses. With half of 50 hashes a second they take 24 seconds.
func TestRestart(t *testing.T) {
	for _, tc := range []struct {
		name  string
		flood int
		most  time.Duration
	}{
		{"quiet", 0, 13 * time.Second},
		{"during a flood", 1000, 25 * time.Second},
	} {
		atFiftyHashes(t, tc.name, func(t *testing.T, f *fixture) {
			users, passwords := f.restarted(600, cheap)
			f.fiftyHashes()
			stop := f.flood(tc.flood)
			defer stop()
			time.Sleep(time.Second)
			start := time.Now()
			var all sync.WaitGroup
			for i, u := range users {
				all.Go(func() {
					if err := f.login(u.Username, passwords[i].Reveal(), toolAddr(i)); err != nil {
						t.Errorf("tool %d after %v: error is %v, want none", i, time.Since(start), err)
					}
				})
			}
			all.Wait()
			if took := time.Since(start); took > tc.most {
				t.Errorf("600 logins took %v, want at most %v", took, tc.most)
			}
		})
	}
}

// Addresses that have guessed in the last ten minutes wait behind those that
// have not, so a flood delays a login from a new address only at its beginning.
func TestDistributedFlood(t *testing.T) {
	atFiftyHashes(t, "1,000 addresses", func(t *testing.T, f *fixture) {
		defer f.flood(1000)()
		time.Sleep(40 * time.Second) // 1,000 guesses take 20 seconds
		for i := range 20 {
			u, p := f.add("tool")
			start := time.Now()
			err := f.login(u.Username, p.Reveal(), toolAddr(i))
			if took := time.Since(start); err != nil || took > 200*time.Millisecond {
				t.Errorf("login %d from a new address: error %v after %v, want none within 200ms", i, err, took)
			}
			time.Sleep(time.Second)
		}
	})
}
