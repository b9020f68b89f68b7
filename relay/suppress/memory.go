package suppress

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// reload is how often the addresses of a tenant are read as a whole, so that
	// those that have left the Store are forgotten.
	reload = time.Hour

	// retryRead is how long after a failure they are read again.
	retryRead = time.Minute

	// overlap is by how much the clocks of nodes may differ, and a write may be
	// late, before a change by another node is noticed only with the next reload.
	overlap = time.Minute

	// pageSize is how many suppressions are read at once: about 3 MB.
	pageSize = 10_000

	// tenantCost is how many addresses a tenant without any counts for.
	tenantCost = 16
)

// A memory remembers of which addresses the Store has a suppression, as hashes. An
// address without a hash is not in the Store. One with a hash is looked up there, so that
// a removal needs no message to other nodes.
type memory struct {
	mu      sync.Mutex
	seed    maphash.Seed
	tenants lru.Cache[store.TenantID, *known] // Max is 0 before the first use
	size    int                               // addresses of all tenants, and tenantCost for each
}

// A known is what is remembered of one tenant.
type known struct {
	hashes map[uint64]struct{} // nil if they are not read yet, or too many
	added  map[uint64]struct{} // those added while all were read; nil if they are not
	read   time.Time           // when they were last read as a whole
	synced time.Time           // when the changes were last read
	busy   bool                // a goroutine reads
}

// A step is what to do before an answer.
type step int

const (
	answer step = iota
	readChanges
	readAll
)

// of returns what is remembered of a tenant. The caller must hold m.mu.
func (m *memory) of(tenant store.TenantID) *known {
	if m.tenants.Max == 0 {
		m.tenants.Max, m.seed = math.MaxInt, maphash.MakeSeed()
	}
	k, ok := m.tenants.Get(tenant)
	if !ok {
		k = new(known)
		m.tenants.Put(tenant, k)
		m.size += tenantCost
	}
	return k
}

// next returns what has to be read before the answer. While another goroutine reads,
// the answer is not delayed.
func (k *known) next(refresh time.Duration) step {
	switch {
	case k.busy:
		return answer
	case k.read.IsZero() || time.Since(k.read) >= reload:
		return readAll
	case k.hashes != nil && time.Since(k.synced) >= refresh:
		return readChanges
	}
	return answer
}

// mayHave reports whether the Store may have a suppression of the key. It reads the
// Store if what is remembered is older than Refresh.
func (l *List) mayHave(ctx context.Context, of key) (bool, error) {
	refresh := positive(l.Refresh, 5*time.Second)
	m := &l.memory
	m.mu.Lock()
	k := m.of(of.tenant)
	step := k.next(refresh)
	if step == answer {
		defer m.mu.Unlock()
		if k.hashes == nil || time.Since(k.synced) >= 2*refresh {
			return true, nil // not known
		}
		_, has := k.hashes[maphash.String(m.seed, of.address)]
		return has, nil
	}
	k.busy = true
	if step == readAll {
		k.added = make(map[uint64]struct{})
	}
	since := k.synced.Add(-overlap)
	m.mu.Unlock()

	start := time.Now()
	var list []uint64
	var err error
	if step == readAll {
		list, err = l.readAll(ctx, of.tenant)
	} else {
		list, err = l.readChanges(ctx, of.tenant, since)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k.busy = false
	if err != nil {
		k.added = nil
		if step == readAll { // it may take longer than a client waits; until then the Store is asked
			k.read = start.Add(retryRead - reload)
		}
		return false, err
	}
	m.keep(of.tenant, k, step, list, start)
	m.forget(positive(l.MaxMemory, 2_000_000), of.tenant)
	if k.hashes == nil {
		return true, nil
	}
	_, has := k.hashes[maphash.String(m.seed, of.address)]
	return has, nil
}

// mayRemember is mayHave without reading the Store: it returns true for a key of which too
// little is remembered.
func (l *List) mayRemember(of key) bool {
	m := &l.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.tenants.Get(of.tenant)
	if !ok || k.hashes == nil || time.Since(k.synced) >= 2*positive(l.Refresh, 5*time.Second) {
		return true
	}
	_, has := k.hashes[maphash.String(m.seed, of.address)]
	return has
}

// readAll returns the hashes of all addresses of a tenant, or nil if they are too many
// to be remembered.
func (l *List) readAll(ctx context.Context, tenant store.TenantID) ([]uint64, error) {
	hashes := make([]uint64, 0, 16)
	for page := (store.Page{Limit: pageSize}); ; {
		list, err := l.Store.ListSuppressions(ctx, tenant, store.SuppressionFilter{}, page)
		if err != nil {
			return nil, err
		}
		for _, su := range list {
			hashes = append(hashes, maphash.String(l.memory.seed, su.Address))
		}
		if len(hashes) > positive(l.MaxMemory, 2_000_000)/2 {
			return nil, nil
		}
		if len(list) < pageSize {
			return hashes, nil
		}
		page.After = list[len(list)-1].Address
	}
}

// readChanges returns the hashes of the addresses that were changed since a time, or nil
// if they are so many that all should be read.
func (l *List) readChanges(ctx context.Context, tenant store.TenantID, since time.Time) ([]uint64, error) {
	list, err := l.Store.SuppressionsSince(ctx, tenant, since.UTC().Truncate(time.Microsecond), batch)
	if err != nil || len(list) == batch {
		return nil, err
	}
	hashes := make([]uint64, len(list))
	for i, su := range list {
		hashes[i] = maphash.String(l.memory.seed, su.Address)
	}
	return hashes, nil
}

// keep remembers what was read. The caller must hold m.mu.
func (m *memory) keep(tenant store.TenantID, k *known, step step, list []uint64, start time.Time) {
	before, added := len(k.hashes), k.added
	switch {
	case step == readAll:
		k.hashes, k.added, k.read = nil, nil, start
		if list != nil {
			k.hashes = make(map[uint64]struct{}, len(list))
		}
	case list == nil:
		k.hashes, k.read = nil, time.Time{} // the next call reads all
	}
	k.synced = start
	if k.hashes != nil {
		for _, h := range list {
			k.hashes[h] = struct{}{}
		}
		for h := range added {
			k.hashes[h] = struct{}{}
		}
	}
	if is, _ := m.tenants.Get(tenant); is == k {
		m.size += len(k.hashes) - before
	}
}

// forget forgets the tenants that have been asked about least recently, but not the
// given one, until at most limit addresses are remembered. The caller must hold m.mu.
func (m *memory) forget(limit int, but store.TenantID) {
	for m.size > limit {
		tenant, k, ok := m.tenants.Oldest()
		if !ok || tenant == but {
			return
		}
		m.tenants.Delete(tenant)
		m.size -= len(k.hashes) + tenantCost
	}
}

// add remembers that the Store has a suppression of the key.
func (m *memory) add(of key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of(of.tenant)
	h := maphash.String(m.seed, of.address)
	if k.added != nil {
		k.added[h] = struct{}{}
	}
	if _, has := k.hashes[h]; k.hashes != nil && !has {
		k.hashes[h] = struct{}{}
		m.size++
	}
}
