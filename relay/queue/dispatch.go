package queue

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A dispatcher decides which job begins next. Tenants take turns, and so do the
// destinations of a tenant. It has a lock of its own, and knows neither the Spool
// nor Next nor the log. If a method needs the lock, its comment says so; all others
// must be called without it.
type dispatcher struct {
	mu     sync.Mutex
	limits limits
	begin  func(*job) // starts an attempt; nil while none may begin. It must not block.
	paused bool       // no attempt may begin for now, because the node may have lost its leases

	sites    map[string]*site
	tenants  map[store.TenantID]*tenant
	turns    []*tenant // tenants with a lane that may begin, in the order of served
	served   uint64    // counts the attempts that began
	lanes    map[store.Lane]*lane
	held     map[*job]struct{} // all jobs
	gates    map[string]*gate  // by the name of a site of Next
	lastTurn uint64            // at any gate
	index    index

	working   int // attempts under way
	finishing int // attempts that ended, and are being recorded beside the next one
	waiting   int // leased jobs that have not begun
	accepting int // calls of Forward that have leased deliveries and no job yet

	mails  map[string]int // how many jobs each mail has
	recent recentSet      // the mails that were kept last

	memory  int64
	stalled bool          // memory is full, and waiting for room didn't help
	room    chan struct{} // closed when memory is freed; nil if no caller waits

	trials int    // jobs that a node died with
	alone  []*job // those of them that have to be tried alone, and have not begun
	solo   bool   // only such jobs may begin

	hungry func() // called, with the lock, when a lane has little left to do
}

// limits are what a dispatcher has to keep to.
type limits struct {
	total   int   // attempts at once
	perSite int   // attempts at once to one destination; 0: no limit of its own
	memory  int64 // bytes of messages
}

// add makes jobs wait for their turn. It returns those that can't be tried, because
// their destination is down or their tenant is paused. The caller must hold d.mu.
func (d *dispatcher) add(jobs []*job) (refused []*job) {
	for _, j := range jobs {
		d.hold(j)
		if j.trial {
			d.trials++
		}
		l := d.lane(j.lane)
		if l.tenant.paused || l.site.down != nil && !j.probe {
			j.claimed = true
			refused = append(refused, j)
			continue
		}
		if j.leased {
			d.waiting++
		}
		if j.alone {
			d.alone = append(d.alone, j)
			d.solo = true
			continue
		}
		if j.probe {
			d.setJobs(l, slices.Insert(l.jobs, 0, j))
		} else {
			d.setJobs(l, append(l.jobs, j))
		}
		d.offer(l)
	}
	return refused
}

// hold registers a job. The caller must hold d.mu.
func (d *dispatcher) hold(j *job) {
	if d.held == nil {
		d.held, d.mails = make(map[*job]struct{}), make(map[string]int)
	}
	if _, held := d.held[j]; !held {
		d.mails[j.parcel.mail.ID]++
	}
	d.held[j] = struct{}{}
	if j.probe {
		d.site(j.lane.Destination).probe = j
	}
}

// offer makes a lane ready if one of its jobs may begin. The caller must hold d.mu.
func (d *dispatcher) offer(l *lane) {
	if l.queued || !l.mayBegin() {
		return
	}
	l.queued = true
	if d.isFull(l.site) {
		l.site.blocked = append(l.site.blocked, l)
		return
	}
	d.ready(l)
}

// ready puts a lane in its tenant's turn. The caller must hold d.mu.
func (d *dispatcher) ready(l *lane) {
	t := l.tenant
	// After those with the same number: the first of lanes that were never served is next.
	at, _ := slices.BinarySearchFunc(t.ready, l.served+1, func(o *lane, served uint64) int { return cmp.Compare(o.served, served) })
	t.ready = slices.Insert(t.ready, at, l)
	if !t.inTurn {
		t.inTurn = true
		at, _ := slices.BinarySearchFunc(d.turns, t.served+1, func(o *tenant, served uint64) int { return cmp.Compare(o.served, served) })
		d.turns = slices.Insert(d.turns, at, t)
	}
}

func (d *dispatcher) isFull(s *site) bool { return d.isFullWith(s, s.running) }

// isFullWith reports whether a site takes no more attempts if so many are under way.
func (d *dispatcher) isFullWith(s *site, running int) bool {
	return d.limits.perSite > 0 && running >= d.limits.perSite || s.slots > 0 && running >= s.slots
}

// raiseTime is the minimum time before a site gets one attempt more at once.
const raiseTime = time.Second

// raise lets a site have one attempt more, now and then.
func (s *site) raise() {
	if s.slots > 0 && time.Since(s.raised) >= raiseTime {
		s.slots++
		s.raised = time.Now()
	}
}

// pump begins as many jobs as may begin. The caller must hold d.mu.
func (d *dispatcher) pump() {
	for d.begin != nil && !d.paused {
		j := d.pick()
		if j == nil {
			return
		}
		d.begin(j)
	}
}

// pick takes the next job, or returns nil. The caller must hold d.mu.
func (d *dispatcher) pick() *job {
	if d.solo {
		return d.pickAlone()
	}
	for i := 0; i < len(d.turns); {
		t := d.turns[i]
		if !d.mayBegin(t) {
			i++
			continue
		}
		d.turns = slices.Delete(d.turns, i, i+1)
		t.inTurn = false
		l := d.nextLane(t)
		if l == nil {
			i = 0 // other lanes may have become ready
			continue
		}
		j := l.jobs[0]
		l.jobs[0] = nil
		d.setJobs(l, l.jobs[1:])
		l.queued = false
		d.start(j, l)
		d.offer(l)
		if len(t.ready) > 0 && !t.inTurn {
			t.inTurn = true
			d.turns = append(d.turns, t) // it was served last
		}
		return j
	}
	return nil
}

// pickAlone takes a job that has to be tried alone, once all others have ended.
func (d *dispatcher) pickAlone() *job {
	if len(d.alone) == 0 || d.working > 0 {
		return nil
	}
	j := d.alone[0]
	d.alone = d.alone[1:]
	d.start(j, d.lane(j.lane))
	return j
}

// start counts an attempt. The caller must hold d.mu.
func (d *dispatcher) start(j *job, l *lane) {
	d.working++
	d.served++
	l.served, l.tenant.served = d.served, d.served
	l.running++
	l.site.running++
	l.tenant.running++
	j.started = time.Now()
	if j.leased {
		d.waiting--
	}
	if len(l.jobs) <= d.laneRoom()/2 && d.hungry != nil {
		d.hungry()
	}
}

// mayBegin reports whether a tenant may begin another attempt. The spare attempts
// beyond the limit are for tenants that have few under way, so that the slow
// attempts of one tenant don't stop others. The caller must hold d.mu.
func (d *dispatcher) mayBegin(t *tenant) bool {
	total := d.limits.total
	spare := max(1, total/2)
	return d.working < total || d.working < total+spare && t.running < max(1, total/8)
}

// nextLane takes the first lane of a tenant that may begin. Lanes whose site is
// full wait there. The caller must hold d.mu.
func (d *dispatcher) nextLane(t *tenant) *lane {
	for len(t.ready) > 0 {
		l := t.ready[0]
		t.ready[0] = nil
		t.ready = t.ready[1:]
		switch {
		case !l.mayBegin():
			l.queued = false
			d.unblock(l.site) // another lane has its place
		case d.isFull(l.site):
			l.site.blocked = append(l.site.blocked, l)
		default:
			return l
		}
	}
	return nil
}

// leave ends an attempt, so that another may begin.
func (d *dispatcher) leave(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left(j)
	d.released(d.lane(j.lane))
	d.pump()
}

// left ends an attempt. The caller must hold d.mu.
func (d *dispatcher) left(j *job) {
	l := d.lane(j.lane)
	d.working--
	l.running--
	l.tenant.running--
	l.site.running--
	l.site.raise()
	d.unblock(l.site)
}

// unblock makes as many lanes ready as their site has room for. Lanes whose jobs were
// taken meanwhile don't count. The caller must hold d.mu.
func (d *dispatcher) unblock(s *site) {
	for n := s.running; len(s.blocked) > 0 && !d.isFullWith(s, n); {
		l := s.blocked[0]
		s.blocked[0] = nil
		s.blocked = s.blocked[1:]
		if !l.mayBegin() {
			l.queued = false
			continue
		}
		d.ready(l)
		n++
	}
}

// A slotLimit is what a job that was not tried says about the attempts at once.
type slotLimit int

const (
	anySlots   slotLimit = iota // nothing
	busySlots                   // Next has slots for no more than are under way
	timedSlots                  // Next takes one more, after a time
)

// postpone puts a job back that was not tried, or that the server wants later. Its lane
// waits at the gate, and limit says how many attempts its destination gets at once until
// then. If watch is true, the caller must call free. Without a gate the caller must call
// resume. ok is false if the job can't wait, because Run ends or another goroutine settles
// the job.
func (d *dispatcher) postpone(j *job, tried bool, limit slotLimit, gate string) (watch, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left(j)
	if d.begin == nil || j.claimed {
		d.released(d.lane(j.lane))
		d.pump()
		return false, false
	}
	j.started = time.Time{}
	l := d.lane(j.lane)
	switch limit {
	case busySlots:
		l.site.slots, l.site.raised, l.site.timed = max(1, l.site.running), time.Now(), false
	case timedSlots:
		l.site.slots, l.site.raised, l.site.timed = l.site.running+1, time.Now(), true
	}
	if j.leased {
		d.waiting++
	}
	d.setJobs(l, slices.Insert(l.jobs, 0, j))
	l.busy = true
	if gate != "" {
		watch = d.enter(l, gate, tried, limit == timedSlots)
	}
	d.pump()
	return watch, true
}

// resume offers a lane again that was postponed.
func (d *dispatcher) resume(name store.Lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(name)
	l.busy = false
	d.offer(l)
	d.pump()
}
