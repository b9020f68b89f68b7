package queue

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A parcel is a mail that this node works on. Its jobs share it.
type parcel struct {
	mail store.Mail

	// Guarded by dispatcher.mu:
	charge int64 // what it counts for in dispatcher.memory
	share  int64 // what each job of it counts for in destination.memory
	jobs   int   // how many are not finished

	loading chan struct{}  // holds one token; who has it may look at what follows
	message *relay.Message // nil until it is loaded
	file    *os.File       // where its content is, if that is large
}

func newParcel(m *store.Mail) *parcel {
	p := &parcel{mail: *m, loading: make(chan struct{}, 1)}
	p.loading <- struct{}{}
	return p
}

// A job is the work of one delivery: the recipients of a mail that go to one
// destination. It is held, and its leases renewed, until it is settled.
type job struct {
	parcel *parcel
	name   string // of the destination
	dest   *destination
	leased bool // from the spool, not handed over by Forward

	// Guarded by dispatcher.mu:
	due     []store.Delivery // those whose lease this node holds
	until   time.Time        // when the leases end
	tended  bool             // has been held for a while
	started time.Time        // of the attempt; zero if there is none
	claimed bool             // somebody is about to settle it
	adopted bool             // has got new leases since it began

	// parked says why the job is not to be tried now.
	parked *closed
}

// A dispatcher decides which job is next. Destinations take turns.
type dispatcher struct {
	mu    sync.Mutex
	run   *run // nil if Run doesn't work
	dests map[string]*destination
	ready []*destination    // those with a job that may begin
	held  map[string][]*job // by mail

	working   int // goroutines that work on a job
	finishing int // goroutines that record what came of one, for a worker that went on
	leased    int // jobs that wait and came from the spool
	accepting int // calls of Forward with leases that are no job yet
	memory    int64
	stalled   bool          // memory is full, and waiting didn't help
	room      chan struct{} // closed when memory is freed; nil if nobody waits

	backlog bool      // the spool may have more that is due
	soonest time.Time // when the first of what was deferred since the last poll is due
	asleep  time.Time // until when the poller sleeps
}

// A destination is where jobs go that share a fate.
type destination struct {
	name    string
	waiting []*job
	running int
	memory  int64
	queued  bool // is in dispatcher.ready
	health
	pace
}

// reserve takes memory for a message that is about to be kept. It waits a moment
// for it: as long as deliveries flow, that is cheaper for everybody than reading
// the message back, and it keeps a queue from growing that needn't.
func (q *Queue) reserve(ctx context.Context, p *parcel, jobs []*job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	var timeout <-chan time.Time
	for q.run != nil && q.memory+p.charge > q.maxMemory() {
		if q.stalled || p.charge > q.maxMemory() {
			return false
		}
		if timeout == nil {
			t := time.NewTimer(roomTime)
			defer t.Stop()
			timeout = t.C
		}
		if !q.awaitRoom(ctx, timeout) {
			q.stalled = true
			return false
		}
	}
	if q.run == nil || q.crowded(jobs) {
		return false
	}
	q.memory += p.charge
	p.share = p.charge / int64(len(jobs))
	for _, j := range jobs {
		q.destination(j).memory += p.share
	}
	q.accepting++
	return true
}

// roomTime is how long a message may wait for memory.
const roomTime = 100 * time.Millisecond

// crowded reports whether a destination has its share of the memory, which is a
// quarter, so that a slow one leaves some to the others.
func (q *Queue) crowded(jobs []*job) bool {
	if q.Destination == nil {
		return false
	}
	return slices.ContainsFunc(jobs, func(j *job) bool { return q.destination(j).memory > q.maxMemory()/4 })
}

// awaitRoom waits, with the lock released, until memory is freed.
func (q *Queue) awaitRoom(ctx context.Context, timeout <-chan time.Time) bool {
	if q.room == nil {
		q.room = make(chan struct{})
	}
	room := q.room
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-room:
		return true
	case <-timeout:
	case <-ctx.Done():
	}
	return false
}

// abandon undoes reserve.
func (q *Queue) abandon(jobs []*job) {
	if jobs == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.accepting--
	for _, j := range jobs {
		q.drop(j)
	}
}

// accept takes over jobs whose deliveries are in the spool now. It reports false
// if Run has ended.
func (q *Queue) accept(jobs []*job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.run == nil {
		return false
	}
	q.accepting--
	for _, j := range jobs {
		q.add(j)
	}
	q.pump()
	return true
}

// destination returns the job's destination.
func (q *Queue) destination(j *job) *destination {
	if j.dest != nil {
		return j.dest
	}
	d := q.dests[j.name]
	if d == nil {
		if q.dests == nil {
			q.dests = make(map[string]*destination)
		}
		d = &destination{name: j.name}
		q.dests[j.name] = d
	}
	j.dest = d
	return d
}

// add makes a job wait for its turn.
func (q *Queue) add(j *job) {
	if q.held == nil {
		q.held = make(map[string][]*job)
	}
	q.held[j.parcel.mail.ID] = append(q.held[j.parcel.mail.ID], j)
	d := q.destination(j)
	d.waiting = append(d.waiting, j)
	if j.leased {
		q.leased++
	}
	q.offer(d)
}

// offer puts a destination in line if one of its jobs may begin.
func (q *Queue) offer(d *destination) {
	if !d.queued && q.mayBegin(d) {
		d.queued = true
		q.ready = append(q.ready, d)
	}
}

func (q *Queue) mayBegin(d *destination) bool {
	switch {
	case len(d.waiting) == 0:
		return false
	case d.isClosed():
		return true // to be parked
	case d.isDown():
		return d.probe == nil
	}
	return d.running < q.perDestination()
}

// pump starts as many jobs as may begin.
func (q *Queue) pump() {
	for q.run != nil && q.working < q.workers() {
		j := q.pick()
		if j == nil {
			return
		}
		q.working++
		go q.work(q.run, j)
	}
}

// work works on a job, and on others after it as long as there are any.
func (q *Queue) work(r *run, j *job) {
	for j != nil {
		q.deliver(r, j)
		j = q.next(r)
	}
}

// next returns another job for a goroutine that has done its own. Nil means
// that it must end.
func (q *Queue) next(r *run) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.run == r {
		if j := q.pick(); j != nil {
			return j
		}
	}
	q.working--
	return nil
}

// pick takes the next job from the destination whose turn it is.
func (q *Queue) pick() *job {
	for len(q.ready) > 0 {
		d := q.ready[0]
		q.ready = q.ready[1:]
		d.queued = false
		if !q.mayBegin(d) {
			continue
		}
		j := d.waiting[0]
		d.waiting[0] = nil
		d.waiting = d.waiting[1:]
		if j.leased {
			q.leased--
		}
		if d.isClosed() {
			j.parked = d.closed()
		} else {
			d.running++
			if d.isDown() {
				d.probe = j
			}
		}
		q.offer(d)
		q.hungry()
		return j
	}
	q.hungry()
	return nil
}

// leave makes a place free at the job's destination. err is how the attempt
// ended as a whole.
func (q *Queue) leave(j *job, err error) {
	q.mu.Lock() // nothing below panics: try has had a look at err
	d := j.dest
	d.running--
	d.served++
	d.idle = d.idle || len(d.waiting) == 0
	before := d.isDown()
	d.note(j, err)
	after := d.isDown()
	q.offer(d)
	q.pump()
	q.mu.Unlock()
	switch {
	case before && !after:
		q.logger().Info("queue: destination is back", "destination", d.name)
	case after && !before:
		q.logger().Warn("queue: destination can't be reached", "destination", d.name, "error", err)
	}
}

// claim says that the caller will settle the job; false, that another does.
func (q *Queue) claim(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	mine := !j.claimed
	j.claimed = true
	return mine
}

// forget ends a job: nothing is leased for it any more.
func (q *Queue) forget(jobs ...*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		id := j.parcel.mail.ID
		list := slices.DeleteFunc(q.held[id], func(o *job) bool { return o == j })
		if len(list) == 0 {
			delete(q.held, id)
		} else {
			q.held[id] = list
		}
		q.drop(j)
	}
}

// drop frees what a job takes.
func (q *Queue) drop(j *job) {
	p := j.parcel
	q.destination(j).memory -= p.share
	if p.jobs--; p.jobs > 0 {
		return
	}
	q.memory -= p.charge
	p.end()
	if q.memory < q.maxMemory()/2 {
		q.stalled = false
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// sweep forgets destinations that nothing is known of.
func (q *Queue) sweep() {
	for name, d := range q.dests {
		if len(d.waiting) == 0 && d.running == 0 && d.memory == 0 && d.isForgettable() {
			delete(q.dests, name)
		}
	}
}
