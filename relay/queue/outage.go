package queue

import "github.com/gatepost-mail/gatepost/store"

// This file is about destinations that are down and tenants that are paused. Nothing
// of them begins, and what waits for them here goes back to the Spool.

// setDown says that a destination can't be reached, and takes the jobs that wait for
// it. It reports whether that is new.
func (d *dispatcher) setDown(destination string, o *outage) (taken []*job, changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.site(destination)
	changed = s.down == nil
	d.setOutage(s, o)
	return d.take(s.lanes), changed
}

// setUp says that a destination can be reached, and reports whether that is new.
func (d *dispatcher) setUp(destination string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[destination]
	if s == nil || s.down == nil {
		return false
	}
	d.setOutage(s, nil)
	for l := range s.lanes {
		d.offer(l)
	}
	d.pump()
	return true
}

// outage returns why a destination is down; nil if it isn't.
func (d *dispatcher) outage(destination string) *outage {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sites[destination]; s != nil {
		return s.down
	}
	return nil
}

// downs returns the destinations that are down.
func (d *dispatcher) downs() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.index.down {
		names = append(names, s.name)
	}
	return names
}

// pauseTenants pauses these tenants and no others. It takes the jobs of paused tenants,
// and those that began to wait for a destination after it went down.
func (d *dispatcher) pauseTenants(ids map[store.TenantID]bool) (taken []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for t := range d.index.paused {
		if !ids[t.id] {
			t.paused = false
			delete(d.index.paused, t)
		}
	}
	for id := range ids {
		t := d.tenant(id)
		t.paused = true
		add(&d.index.paused, t)
		taken = append(taken, d.take(t.lanes)...)
	}
	for s := range d.index.down {
		taken = append(taken, d.take(s.lanes)...)
	}
	return taken
}
