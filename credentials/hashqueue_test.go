package credentials

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func testNetwork(i int) netip.Prefix {
	return mailtext.Network(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
}

// A busyQueue is a hashQueue with all its hashes running. It records who is
// served next.
type busyQueue struct {
	*hashQueue
	mu     sync.Mutex
	served []string
}

func newBusyQueue(t *testing.T) *busyQueue { return occupy(t, new(hashQueue)) }

func occupy(t *testing.T, q *hashQueue) *busyQueue {
	b := &busyQueue{hashQueue: q}
	for range runtime.GOMAXPROCS(0) {
		if err := b.acquire(t.Context(), request{}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// enqueue adds a request that, when it is served, records name.
func (b *busyQueue) enqueue(ctx context.Context, name string, r request) {
	go func() {
		err := b.acquire(ctx, r)
		b.mu.Lock()
		defer b.mu.Unlock()
		if err != nil {
			name += ": " + err.Error()
		}
		b.served = append(b.served, name)
	}()
	synctest.Wait()
}

// serve ends n hashes, one at a time, and returns the names that were served.
func (b *busyQueue) serve(n int) []string {
	b.mu.Lock()
	b.served = nil
	b.mu.Unlock()
	for range n {
		b.release()
		synctest.Wait()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served
}

func wantServed(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("served %q, want %q", got, want)
	}
}

func TestHashQueueServesLeastDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		for i := range 500 { // 50 from each of 10 networks
			b.enqueue(t.Context(), "flood", request{owner: testNetwork(i % 10)})
		}
		b.enqueue(t.Context(), "quiet1", request{owner: testNetwork(11)})
		b.enqueue(t.Context(), "quiet2", request{owner: testNetwork(12)})
		wantServed(t, b.serve(4), "quiet1", "flood", "quiet2", "flood")
		b.serve(498)
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		for i := range 50 { // one from each of 50 networks with a failure
			b.enqueue(t.Context(), "flood", request{owner: testNetwork(i), failures: 1})
		}
		b.enqueue(t.Context(), "quiet", request{owner: testNetwork(60)})
		wantServed(t, b.serve(3), "quiet", "flood", "flood")
		b.serve(48)
	})
}

func TestHashQueueServesRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		for i := range 3 {
			for range 10 {
				b.enqueue(t.Context(), fmt.Sprint("many", i), request{owner: testNetwork(i)})
			}
		}
		got := make(map[string]int)
		for i := range 12 { // an owner with less demand is always waiting
			b.enqueue(t.Context(), "few", request{owner: testNetwork(10 + i)})
			got[b.serve(1)[0]]++
		}
		want := map[string]int{"few": 6, "many0": 2, "many1": 2, "many2": 2}
		if !maps.Equal(got, want) {
			t.Errorf("served %v, want %v", got, want)
		}
		b.serve(30)
	})
}

func TestHashQueueAlternatesClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		for i := range 500 { // a flood from 500 networks
			b.enqueue(t.Context(), fmt.Sprint("flood", i), request{class: unknownNetwork, owner: testNetwork(i)})
		}
		b.enqueue(t.Context(), "known1", request{class: knownNetwork, owner: testNetwork(600)})
		b.enqueue(t.Context(), "known2", request{class: knownNetwork, owner: testNetwork(600)})
		wantServed(t, b.serve(4), "flood0", "known1", "flood1", "known2")
		wantServed(t, b.serve(2), "flood2", "flood3")
		b.serve(496)
	})
}

// A tenant that makes many passwords at once does not delay another tenant.
func TestTenantsAreServedRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Manager{Store: new(memory.Store), Cost: Cost{MemoryKiB: 16, Time: 1, Threads: 1}}
		for _, name := range []string{"acme", "rival"} {
			if _, err := m.Tenant(store.TenantID(name)).AddDomain(t.Context(), name+".example"); err != nil {
				t.Fatal(err)
			}
		}
		b := occupy(t, &m.queue)
		add := func(name string) {
			go func() {
				_, _, err := m.Tenant(store.TenantID(name)).AddUser(t.Context(), name+".example", "tool")
				b.mu.Lock()
				defer b.mu.Unlock()
				switch {
				case errors.Is(err, ErrBusy):
					name += ": busy"
				case err != nil:
					t.Error(err)
				}
				b.served = append(b.served, name)
			}()
			synctest.Wait()
		}
		for range maxWaitingPerOwner {
			add("acme")
		}
		add("acme")
		wantServed(t, b.served, "acme: busy")
		add("rival")
		// One release is enough: each hash starts the next one. The second to be
		// served may be a few places later in this list, because goroutines that
		// run at the same time record themselves in any order.
		got := b.serve(1)
		if i := slices.Index(got, "rival"); len(got) != maxWaitingPerOwner+1 || i < 0 || i > 5 {
			t.Errorf("served %d, the rival at index %d; want %d, and an index of at most 5", len(got), i, maxWaitingPerOwner+1)
		}
	})
}

func TestHashQueueLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxWaiting {
			b.enqueue(ctx, "waiting", request{class: unknownNetwork, owner: testNetwork(i / maxWaitingPerOwner)})
			if i == maxWaitingPerOwner {
				if err := b.acquire(ctx, request{owner: testNetwork(0)}); !errors.Is(err, errQueueFull) {
					t.Errorf("request %d of an owner: error is %v, want %v", maxWaitingPerOwner+1, err, errQueueFull)
				}
			}
		}
		if err := b.acquire(ctx, request{owner: testNetwork(9999)}); !errors.Is(err, errQueueFull) {
			t.Errorf("request %d of a class: error is %v, want %v", maxWaiting+1, err, errQueueFull)
		}
		cancel()
		synctest.Wait()
		c := b.classes[unknownNetwork]
		if b.waiting != 0 || len(c.order) != 0 || len(c.owners) != 0 {
			t.Errorf("after cancel %d requests of %d owners (%d in the map) wait, want none", b.waiting, len(c.order), len(c.owners))
		}
		b.serve(runtime.GOMAXPROCS(0))
		if b.running != 0 {
			t.Errorf("%d hashes are running, want 0", b.running)
		}
	})
}

// If a waiter is served at the moment its context ends, the next one is served
// in its place.
func TestHashQueueServesNextAfterCancel(t *testing.T) {
	// On one processor the first waiter is woken by its context and runs after
	// release.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		b := newBusyQueue(t)
		ctx, cancel := context.WithCancel(t.Context())
		b.enqueue(ctx, "one", request{})
		b.enqueue(t.Context(), "two", request{})
		cancel()
		b.release()
		synctest.Wait()
		wantServed(t, b.served, "one: context canceled", "two")
	})
}

func TestHashQueueUnderConcurrency(t *testing.T) {
	var q hashQueue
	var all sync.WaitGroup
	var mu sync.Mutex
	running, most := 0, 0
	for i := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%3 == 0 {
				go cancel() // perhaps at the moment it is served
			}
			defer cancel()
			if q.acquire(ctx, request{class: class(i % 2), owner: testNetwork(i % 7)}) != nil {
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
	if limit := runtime.GOMAXPROCS(0); most > limit {
		t.Errorf("%d hashes ran at once, want at most %d", most, limit)
	}
	if q.running != 0 || q.waiting != 0 {
		t.Errorf("at the end %d hashes run and %d wait, want none", q.running, q.waiting)
	}
}
