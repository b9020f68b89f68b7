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
	s.down = o
	return d.take(func(l *lane) bool { return l.site == s }), changed
}

// setUp says that a destination can be reached, and reports whether that is new.
func (d *dispatcher) setUp(destination string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[destination]
	if s == nil || s.down == nil {
		return false
	}
	s.down = nil
	for _, l := range d.lanes {
		if l.site == s {
			d.offer(l)
		}
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
	for name, s := range d.sites {
		if s.down != nil {
			names = append(names, name)
		}
	}
	return names
}

// pauseTenants pauses these tenants and no others. It takes the jobs of paused tenants,
// and those that began to wait for a destination after it went down.
func (d *dispatcher) pauseTenants(ids map[store.TenantID]bool) (taken []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range ids {
		d.tenant(id)
	}
	for id, t := range d.tenants {
		t.paused = ids[id]
	}
	return d.take(func(l *lane) bool { return l.tenant.paused || l.site.down != nil })
}

// take claims the jobs that wait in lanes, except probes. The caller must hold d.mu.
func (d *dispatcher) take(of func(*lane) bool) (taken []*job) {
	for _, l := range d.lanes {
		if !of(l) {
			continue
		}
		var kept []*job
		for _, j := range l.jobs {
			if j.probe {
				kept = append(kept, j)
				continue
			}
			j.claimed = true
			if j.leased {
				d.waiting--
			}
			taken = append(taken, j)
		}
		l.jobs = kept
	}
	return taken
}
