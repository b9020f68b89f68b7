package queue

import (
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is about the jobs that a dispatcher holds, from the time when they are
// leased until they are settled or given back, and about how many more it wants.

// claim reports whether the caller is the one who settles the job.
func (d *dispatcher) claim(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	mine := !j.claimed
	j.claimed = true
	return mine
}

// forget ends jobs: this node has nothing leased for them any more.
func (d *dispatcher) forget(jobs ...*job) {
	for some := range slices.Chunk(jobs, jobsAtOnce) {
		d.mu.Lock()
		for _, j := range some {
			d.release(j)
			if s := d.sites[j.lane.Destination]; s != nil && s.probe == j {
				s.probe = nil
			}
			if j.trial {
				j.trial = false
				d.trials--
			}
			d.drop(j)
		}
		if d.solo && d.trials == 0 {
			d.endSolo()
		}
		d.mu.Unlock()
	}
}

// release undoes hold. The caller must hold d.mu.
func (d *dispatcher) release(j *job) {
	if _, held := d.held[j]; !held {
		return
	}
	delete(d.held, j)
	id := j.parcel.mail.ID
	if d.mails[id]--; d.mails[id] == 0 {
		delete(d.mails, id)
	}
}

// isKnown reports whether this node works on a mail, or has kept it lately. If a caller
// hands on such a mail again, the Spool says what is still to be done. The caller must hold
// d.mu.
func (d *dispatcher) isKnown(id string) bool {
	return d.recent.has(id) || d.mails[id] > 0
}

// remember makes a mail known that the Spool has kept.
func (d *dispatcher) remember(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent.add(id)
}

// jobsAtOnce is how many jobs are changed while the lock is held.
const jobsAtOnce = 1000

// handOver reports whether the outcome of an attempt may be recorded beside the
// next attempt. There is a limit, because all that isn't recorded is delivered
// again after a crash.
func (d *dispatcher) handOver() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.finishing >= d.limits.total {
		return false
	}
	d.finishing++
	return true
}

func (d *dispatcher) finished() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finishing--
}

// laneRoom is how many jobs of a lane are leased ahead.
func (d *dispatcher) laneRoom() int {
	if d.limits.perSite > 0 {
		return 4 * max(d.limits.perSite, 10)
	}
	return 2 * d.limits.total
}

// maxWaiting is how many leased jobs may wait in all.
const maxWaiting = 10_000

// demand returns how many deliveries are wanted from the spool, and of which lanes
// there are enough.
func (d *dispatcher) demand() (limit int, skip []store.Lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.paused || d.solo {
		return 0, nil
	}
	for l := range d.index.full {
		skip = append(skip, store.Lane{Destination: l.site.name, Tenant: l.tenant.id})
	}
	return min(leaseBatch, maxWaiting-d.waiting), skip
}

// stuck claims the jobs whose attempts have been under way for longer than limit.
func (d *dispatcher) stuck(limit time.Duration) (jobs []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for j := range d.held {
		if !j.started.IsZero() && !j.claimed && time.Since(j.started) > limit {
			j.claimed = true
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// pause stops attempts from beginning, or lets them begin again.
func (d *dispatcher) pause(paused bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused = paused
	d.pump()
}

// pauseIf stops attempts from beginning if stale, which it calls with the lock, returns
// true. So what made stale false before calls pause(false) afterwards.
func (d *dispatcher) pauseIf(stale func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused = d.paused || stale()
}

// close lets no more jobs begin, and claims those that wait.
func (d *dispatcher) close() []*job {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begin, d.hungry = nil, nil
	waiting := d.takeAll()
	for _, l := range d.lanes { // probes
		for _, j := range l.jobs {
			j.claimed = true
			waiting = append(waiting, j)
		}
		d.setJobs(l, nil)
	}
	for _, j := range d.alone {
		j.claimed = true
		waiting = append(waiting, j)
	}
	d.alone, d.solo, d.turns, d.waiting = nil, false, nil, 0
	for _, t := range d.tenants {
		t.ready, t.inTurn = nil, false
	}
	for _, l := range d.lanes {
		l.queued, l.busy = false, false
	}
	d.gates = nil
	for _, s := range d.sites {
		s.blocked = nil
	}
	d.wakeRoom()
	return waiting
}

// underWay claims the jobs that are still held.
func (d *dispatcher) underWay() (jobs []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for j := range d.held {
		if !j.claimed {
			j.claimed = true
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// count returns how many jobs are held, or about to be.
func (d *dispatcher) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held) + d.accepting
}
