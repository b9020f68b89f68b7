package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

func testPrefix(i int) netip.Prefix {
	return prefixOf(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
}

// A desk is a queue with all turns taken, and what was served since.
type desk struct {
	*queue
	mu     sync.Mutex
	served []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{queue: new(queue)}
	for range runtime.GOMAXPROCS(0) {
		if err := d.acquire(t.Context(), stranger, netip.Prefix{}, true); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// wait queues up, and is served for no time when its turn has come.
func (d *desk) wait(ctx context.Context, who string, c class, prefix netip.Prefix) {
	go func() {
		err := d.acquire(ctx, c, prefix, true)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil {
			who += " left: " + err.Error()
		}
		d.served = append(d.served, who)
	}()
	synctest.Wait()
}

// serve gives on n turns, one at a time.
func (d *desk) serve(n int) []string {
	d.mu.Lock()
	d.served = nil
	d.mu.Unlock()
	for range n {
		d.release()
		synctest.Wait()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.served
}

func wantServed(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("served %q, want %q", got, want)
	}
}

func TestQueueServesPrefixesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 100 {
			d.wait(t.Context(), fmt.Sprint("flood", i), stranger, testPrefix(1))
		}
		d.wait(t.Context(), "quiet", stranger, testPrefix(2))
		wantServed(t, d.serve(4), "flood0", "quiet", "flood1", "flood2")
		d.wait(t.Context(), "quiet", stranger, testPrefix(2))
		d.wait(t.Context(), "other", stranger, testPrefix(3))
		wantServed(t, d.serve(4), "flood3", "quiet", "other", "flood4")
		d.serve(95)
	})
}

func TestQueueGivesResidentsHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 500 { // a flood from 500 addresses
			d.wait(t.Context(), fmt.Sprint("flood", i), stranger, testPrefix(i))
		}
		d.wait(t.Context(), "resident1", resident, testPrefix(600))
		d.wait(t.Context(), "resident2", resident, testPrefix(600))
		wantServed(t, d.serve(4), "flood0", "resident1", "flood1", "resident2")
		wantServed(t, d.serve(2), "flood2", "flood3")
		d.serve(496)
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxWaiting {
			d.wait(ctx, "waiting", stranger, testPrefix(i/maxWaitingPerPrefix))
			if i == maxWaitingPerPrefix {
				if err := d.acquire(ctx, stranger, testPrefix(0), true); !errors.Is(err, errQueueFull) {
					t.Errorf("one too many of a prefix: %v", err)
				}
			}
		}
		if err := d.acquire(ctx, stranger, testPrefix(9999), true); !errors.Is(err, errQueueFull) {
			t.Errorf("one too many: %v", err)
		}
		cancel()
		synctest.Wait()
		if d.waiting != 0 || len(d.rings[stranger].order) != 0 || len(d.rings[stranger].lines) != 0 {
			t.Errorf("after all left, %d wait in %d lines", d.waiting, len(d.rings[stranger].order))
		}
		d.serve(runtime.GOMAXPROCS(0))
		if d.running != 0 {
			t.Errorf("%d are running", d.running)
		}
	})
}

func TestQueueLosesNoTurn(t *testing.T) {
	var q queue
	var all sync.WaitGroup
	var mu sync.Mutex
	running, most := 0, 0
	for i := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%3 == 0 {
				go cancel() // at the same time as its turn, perhaps
			}
			defer cancel()
			if q.acquire(ctx, class(i%2), testPrefix(i%7), false) != nil {
				return
			}
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			runtime.Gosched()
			mu.Lock()
			running--
			mu.Unlock()
			q.release()
		})
	}
	all.Wait()
	if most > runtime.GOMAXPROCS(0) {
		t.Errorf("%d ran at once", most)
	}
	if q.running != 0 || q.waiting != 0 {
		t.Errorf("at the end %d run and %d wait", q.running, q.waiting)
	}
}
