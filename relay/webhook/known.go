package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	// knownFor is how long the endpoints of a tenant are remembered. A change by
	// another process counts after that time at the latest.
	knownFor = 5 * time.Second

	// readAtOnce is how many tenants are read again at once. So a process that works
	// for 1,000 tenants reads once in knownFor, and not 1,000 times.
	readAtOnce = 1000

	// sweepEach is how often all tenants that are known are gone through.
	sweepEach = 100 * time.Millisecond
)

// A known remembers the endpoints of tenants.
type known struct {
	mu      sync.Mutex
	tenants map[store.TenantID]*knownTenant
	changes int       // how often forget was called
	swept   time.Time // when all tenants were last gone through
}

type knownTenant struct {
	list []Endpoint
	read time.Time
	used bool // since then
}

// forget forgets a tenant, whose endpoints this process has changed.
func (k *known) forget(tenant store.TenantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.tenants, tenant)
	k.changes++
}

// get returns the endpoints of a tenant. If they have to be read, it returns the
// tenants to read, of which the given one is the first.
func (k *known) get(tenant store.TenantID) (list []Endpoint, read []store.TenantID, changes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if t := k.tenants[tenant]; t != nil && now.Sub(t.read) < knownFor {
		t.used = true
		return t.list, nil, 0
	}
	read = []store.TenantID{tenant}
	if now.Sub(k.swept) < sweepEach {
		return nil, read, k.changes
	}
	k.swept = now
	for other, t := range k.tenants {
		switch {
		case other == tenant || now.Sub(t.read) < knownFor:
		case !t.used:
			delete(k.tenants, other)
		case len(read) < readAtOnce:
			read = append(read, other)
		}
	}
	return nil, read, k.changes
}

// put remembers what was read of tenants, unless this process has changed an endpoint
// meanwhile.
func (k *known) put(tenants []store.TenantID, lists map[store.TenantID][]Endpoint, began time.Time, changes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changes != changes {
		return
	}
	if k.tenants == nil {
		k.tenants = make(map[store.TenantID]*knownTenant)
	}
	for i, tenant := range tenants {
		k.tenants[tenant] = &knownTenant{list: lists[tenant], read: began, used: i == 0}
	}
}

// Endpoints returns the endpoints of a tenant that get events, with their secrets. It is
// for [Sender].Endpoints. What it returns is remembered for 5 seconds; a change by this
// process counts at once. The caller must not change the list.
//
// An endpoint that was sealed with another Secret is returned without a URL: its events
// wait in the queue. An empty tenant has none, without an error: that would stop the
// events of all tenants.
func (m *Manager) Endpoints(ctx context.Context, tenant store.TenantID) ([]Endpoint, error) {
	if err := m.ready(); err != nil || tenant == "" {
		return nil, err
	}
	list, tenants, changes := m.known.get(tenant)
	if tenants == nil {
		return list, nil
	}
	began := time.Now()
	all, err := m.Store.ListEndpoints(ctx, tenants)
	if err != nil {
		return nil, err
	}
	lists := make(map[store.TenantID][]Endpoint)
	for i := range all {
		e := &all[i]
		if e.Off != "" {
			continue
		}
		k, err := m.open(e)
		if err != nil {
			m.logger().Error("webhook: an endpoint cannot be opened, its events wait", "tenant", e.Tenant, "endpoint", e.ID, "error", err)
		}
		lists[e.Tenant] = append(lists[e.Tenant], Endpoint{ID: e.ID, URL: k.URL, Secrets: k.secrets(began), Types: typesOf(e)})
	}
	m.known.put(tenants, lists, began, changes)
	return lists[tenant], nil
}
