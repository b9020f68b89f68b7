package queue

import (
	"context"
	"slices"
	"time"
)

// roomTime is how long a message may wait for memory.
const roomTime = 100 * time.Millisecond

// maxJobs is how many destinations a message may have that is kept in memory.
const maxJobs = 1000

// reserve takes memory for a message that is about to be kept in the spool, and
// reports whether it can be delivered from memory. It waits a moment for memory: as
// long as deliveries go on, that is cheaper than reading the message back.
func (d *dispatcher) reserve(ctx context.Context, p *parcel, jobs []*job) bool {
	if len(jobs) > maxJobs {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isKnown(p.mail.ID) {
		return false
	}
	var timeout <-chan time.Time
	for d.begin != nil && !d.fits(p) {
		if d.stalled || p.charge > d.limits.memory {
			return false
		}
		if timeout == nil {
			t := time.NewTimer(roomTime)
			defer t.Stop()
			timeout = t.C
		}
		if !d.awaitRoom(ctx, timeout) {
			d.stalled = true
			return false
		}
	}
	if d.begin == nil || d.paused || d.solo || slices.ContainsFunc(jobs, d.isUnwanted) {
		return false
	}
	d.memory += p.charge
	d.tenant(p.mail.Tenant).memory += p.charge
	p.share = p.charge / int64(len(jobs))
	for _, j := range jobs {
		d.site(j.lane.Destination).memory += p.share
		d.hold(j)
	}
	d.accepting++
	return true
}

// fits reports whether there is memory for a message. A tenant has at most three
// quarters of what the others leave, so that a message of another tenant finds
// some. The caller must hold d.mu.
func (d *dispatcher) fits(p *parcel) bool {
	mine := d.tenant(p.mail.Tenant).memory
	others := d.memory - mine
	return d.memory+p.charge <= d.limits.memory && (mine == 0 || mine+p.charge <= (d.limits.memory-others)*3/4)
}

// isUnwanted reports whether a job can't be tried from memory now: its destination
// is down or has its share of the memory, which is a quarter, or its tenant is
// paused. The caller must hold d.mu.
func (d *dispatcher) isUnwanted(j *job) bool {
	if t := d.tenants[j.lane.Tenant]; t != nil && t.paused {
		return true
	}
	s := d.sites[j.lane.Destination]
	return s != nil && (s.down != nil || d.limits.perSite > 0 && s.memory > d.limits.memory/4)
}

// awaitRoom waits, with the lock released, until memory is freed. The caller must
// hold d.mu.
func (d *dispatcher) awaitRoom(ctx context.Context, timeout <-chan time.Time) bool {
	if d.room == nil {
		d.room = make(chan struct{})
	}
	room := d.room
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-room:
		return true
	case <-timeout:
	case <-ctx.Done():
	}
	return false
}

// abandon undoes reserve.
func (d *dispatcher) abandon(jobs []*job) {
	if jobs == nil {
		return
	}
	d.mu.Lock()
	d.accepting--
	d.mu.Unlock()
	d.forget(jobs...)
}

// accept takes over jobs whose deliveries are in the spool now. It returns those
// that can't be tried any more; the caller gives them back.
func (d *dispatcher) accept(jobs []*job) (refused []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepting--
	if d.begin == nil {
		for _, j := range jobs {
			j.claimed = true
		}
		return jobs
	}
	refused = d.add(jobs)
	d.pump()
	return refused
}

// drop frees the memory of a job. The caller must hold d.mu.
func (d *dispatcher) drop(j *job) {
	p := j.parcel
	if s := d.sites[j.lane.Destination]; s != nil {
		s.memory -= p.share
	}
	if p.jobs--; p.jobs > 0 {
		return
	}
	d.memory -= p.charge
	if t := d.tenants[j.lane.Tenant]; t != nil {
		t.memory -= p.charge
	}
	p.end()
	if d.memory < d.limits.memory/2 {
		d.stalled = false
	}
	d.wakeRoom()
}

// wakeRoom wakes the callers that wait for memory. The caller must hold d.mu.
func (d *dispatcher) wakeRoom() {
	if d.room != nil {
		close(d.room)
		d.room = nil
	}
}

// chargeLoaded takes memory for a parcel whose content is about to be read. A
// parcel with one job may have it in any case, because few are loaded at once.
func (d *dispatcher) chargeLoaded(p *parcel) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.charge > 0 {
		return true
	}
	if p.jobs > 1 && d.memory+p.mail.Size > d.limits.memory {
		return false
	}
	p.charge = p.mail.Size
	d.memory += p.charge
	d.tenant(p.mail.Tenant).memory += p.charge
	return true
}
