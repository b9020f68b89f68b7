package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func testPrefix(i int) netip.Prefix {
	return mailtext.Network(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
}

// A desk is a queue with all turns taken, and what was served since.
type desk struct {
	*queue
	mu     sync.Mutex
	served []string
}

func newDesk(t *testing.T) *desk { return deskOf(t, new(queue)) }

func deskOf(t *testing.T, q *queue) *desk {
	d := &desk{queue: q}
	for range runtime.GOMAXPROCS(0) {
		if err := d.acquire(t.Context(), claim{}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// wait queues up, and is served for no time when its turn has come.
func (d *desk) wait(ctx context.Context, who string, c claim) {
	go func() {
		err := d.acquire(ctx, c)
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

func TestQueueServesWhoAsksForLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 500 { // 10 addresses with 50 each
			d.wait(t.Context(), "flood", claim{owner: testPrefix(i % 10)})
		}
		d.wait(t.Context(), "quiet1", claim{owner: testPrefix(11)})
		d.wait(t.Context(), "quiet2", claim{owner: testPrefix(12)})
		wantServed(t, d.serve(4), "quiet1", "flood", "quiet2", "flood")
		d.serve(498)
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 50 { // one each from 50 addresses that have guessed before
			d.wait(t.Context(), "flood", claim{owner: testPrefix(i), guesses: 1})
		}
		d.wait(t.Context(), "quiet", claim{owner: testPrefix(60)})
		wantServed(t, d.serve(3), "quiet", "flood", "flood")
		d.serve(48)
	})
}

func TestQueueServesEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 3 {
			for range 10 {
				d.wait(t.Context(), fmt.Sprint("many", i), claim{owner: testPrefix(i)})
			}
		}
		seen := make(map[string]int)
		for i := range 12 { // and all the time somebody asks for less
			d.wait(t.Context(), "few", claim{owner: testPrefix(10 + i)})
			seen[d.serve(1)[0]]++
		}
		want := map[string]int{"few": 6, "many0": 2, "many1": 2, "many2": 2}
		if !reflect.DeepEqual(seen, want) {
			t.Errorf("served %v, want %v", seen, want)
		}
		d.serve(30)
	})
}

func TestQueueGivesResidentsHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for i := range 500 { // a flood from 500 addresses
			d.wait(t.Context(), fmt.Sprint("flood", i), claim{class: stranger, owner: testPrefix(i)})
		}
		d.wait(t.Context(), "resident1", claim{class: resident, owner: testPrefix(600)})
		d.wait(t.Context(), "resident2", claim{class: resident, owner: testPrefix(600)})
		wantServed(t, d.serve(4), "flood0", "resident1", "flood1", "resident2")
		wantServed(t, d.serve(2), "flood2", "flood3")
		d.serve(496)
	})
}

// However many passwords a tenant makes at once, another waits for few of them.
func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Manager{Store: new(memory.Store), Cost: Cost{MemoryKiB: 16, Time: 1, Threads: 1}}
		for _, who := range []string{"acme", "rival"} {
			if _, err := m.Tenant(store.TenantID(who)).AddDomain(t.Context(), who+".example"); err != nil {
				t.Fatal(err)
			}
		}
		d := deskOf(t, &m.queue)
		add := func(who string) {
			go func() {
				_, _, err := m.Tenant(store.TenantID(who)).AddUser(t.Context(), who+".example", "tool")
				d.mu.Lock()
				defer d.mu.Unlock()
				switch {
				case errors.Is(err, ErrBusy):
					who += " refused"
				case err != nil:
					t.Error(err)
				}
				d.served = append(d.served, who)
			}()
			synctest.Wait()
		}
		for range maxWaitingPerLine {
			add("acme")
		}
		add("acme")
		wantServed(t, d.served, "acme refused")
		add("rival")
		// A turn goes on from one to the next.
		got := d.serve(1)
		if i := slices.Index(got, "rival"); len(got) != maxWaitingPerLine+1 || i < 0 || i > 5 { // who is served first needn't be done first
			t.Errorf("served %d, the rival after %d", len(got), i)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxWaiting {
			d.wait(ctx, "waiting", claim{class: stranger, owner: testPrefix(i / maxWaitingPerLine)})
			if i == maxWaitingPerLine {
				if err := d.acquire(ctx, claim{owner: testPrefix(0)}); !errors.Is(err, errQueueFull) {
					t.Errorf("one too many of a prefix: %v", err)
				}
			}
		}
		if err := d.acquire(ctx, claim{owner: testPrefix(9999)}); !errors.Is(err, errQueueFull) {
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

// A turn that comes when its waiter is about to leave goes on to the next.
func TestQueueTurnOfWhoLeaves(t *testing.T) {
	// On one processor, one is woken by its context and runs after the release.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(t.Context())
		d.wait(ctx, "one", claim{})
		d.wait(t.Context(), "two", claim{})
		cancel()
		d.release()
		synctest.Wait()
		wantServed(t, d.served, "one left: context canceled", "two")
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
			if q.acquire(ctx, claim{class: class(i % 2), owner: testPrefix(i % 7)}) != nil {
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
