package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A poller decides when to look into the Spool.
type poller struct {
	soonest time.Time          // when the first of what was deferred since the last look is due
	asleep  time.Time          // until when the poller sleeps
	unsure  bool               // the spool may have leased deliveries to this node that it doesn't know of
	recheck time.Time          // when to look for those once more; zero: not
	onTrial bool               // the spool may have deliveries that nodes died with
	since   time.Time          // when the last group of those began
	looked  time.Time          // when the suspensions were read last
	aging   []store.Suspension // those whose mail is still to be looked at for its age
	swept   time.Time          // when mail for suspended destinations was last looked at for its age
}

// Times of the poller.
const (
	// backlogTime is how long the poller sleeps while lanes are full and the spool
	// has more: mail of other tenants may be due there.
	backlogTime = 500 * time.Millisecond

	// suspensionTime is how old the list of suspensions may be.
	suspensionTime = time.Second
)

// poll leases what is due in the spool: what was there at the start, what is to
// be tried again, what didn't fit into memory, and what other nodes left.
func (q *Queue) poll(ctx context.Context, r *run) {
	for ctx.Err() == nil {
		more := false
		if q.nodeID() != "" {
			var err error
			if more, err = q.look(ctx, r); err != nil {
				q.logger().Error("queue: the spool can't be read, trying again", "error", err)
				more = false
			}
		}
		if more {
			continue
		}
		timer := time.NewTimer(q.pause())
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look does everything for which the Spool is asked. It reports whether there may be
// more to lease at once.
func (q *Queue) look(ctx context.Context, r *run) (more bool, err error) {
	// A call that is cut short might leave leases that this node doesn't know of.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spoolTime)
	defer cancel()
	if err := q.reconcile(ctx, r); err != nil {
		return false, err
	}
	if err := q.refresh(ctx, r); err != nil {
		return false, err
	}
	if busy, err := q.tryGroup(ctx, r); busy || err != nil {
		return false, err
	}
	return q.lease(ctx, r)
}

// lease leases a batch and makes jobs of it. It reports whether there may be more
// that this node has room for.
func (q *Queue) lease(ctx context.Context, r *run) (more bool, err error) {
	limit, skip := q.dispatcher.demand()
	if limit <= 0 || q.isSkewed() {
		return false, nil
	}
	now := q.now()
	q.backlog.Store(false)
	q.polling(func(p *poller) {
		if !p.soonest.After(now) {
			p.soonest = time.Time{}
		}
	})
	n, err := q.leaseJobs(ctx, r, store.LeaseRequest{Now: now, Limit: limit, Skip: skip}, nil)
	if err != nil {
		return false, err
	}
	if n == limit || len(skip) > 0 {
		q.backlog.Store(true)
	}
	return n == limit, nil
}

// leaseJobs leases what the request asks for, and hands the jobs to the dispatcher
// after change was called for each. It returns how many deliveries were leased.
func (q *Queue) leaseJobs(ctx context.Context, r *run, request store.LeaseRequest, change func(*job)) (n int, err error) {
	request.Node = q.nodeID()
	if request.Node == "" {
		return 0, nil
	}
	jobs, n, err := q.leaseOwn(ctx, r, request)
	if err != nil {
		return 0, err
	}
	if change != nil {
		for _, j := range jobs {
			change(j)
		}
	}
	jobs = slices.DeleteFunc(jobs, func(j *job) bool {
		if j.unsent {
			q.sendLater(r, j)
		}
		return j.unsent
	})
	q.giveBack(r, q.dispatcher.admit(jobs))
	return n, nil
}

// sendLater gives back a notice that a node had not released when it died. The outcome
// that it reports may not be recorded yet. Then another attempt leads to the same
// notice, and this one must still be in the spool.
func (q *Queue) sendLater(r *run, j *job) {
	j.trial = false
	q.putBack(r, []*job{j}, 2*q.leaseFor())
}

// putBack gives back jobs that were leased just now, and makes them due after a time.
func (q *Queue) putBack(r *run, jobs []*job, after time.Duration) {
	next := q.now().Add(after).Truncate(time.Microsecond)
	for _, j := range jobs {
		for i := range j.due {
			j.due[i].Next = next
		}
	}
	q.dispatcher.holdClaimed(jobs)
	q.giveBack(r, jobs)
}

// recheckTime is how long after a call of the Spool failed the Spool may still commit
// it, at most.
const recheckTime = 2 * time.Minute

// unsure says that a call of the Spool failed that may have leased deliveries to this
// node. They are looked for soon, and again when the call can't be committed any more.
func (q *Queue) unsure() {
	q.polling(func(p *poller) { p.unsure, p.recheck = true, time.Now().Add(recheckTime) })
}

// reconcile gives back what the spool has leased to this node although it doesn't
// know of it: the answer to the call that leased it was lost.
func (q *Queue) reconcile(ctx context.Context, r *run) error {
	unsure := false
	q.polling(func(p *poller) {
		unsure, p.unsure = p.unsure, false
		if !p.recheck.IsZero() && !time.Now().Before(p.recheck) {
			unsure, p.recheck = true, time.Time{}
		}
	})
	id := q.nodeID()
	if !unsure || id == "" {
		return nil
	}
	outcomes, err := q.leasedTo(ctx, id)
	if err != nil {
		q.polling(func(p *poller) { p.unsure = true })
		return err
	}
	known := q.dispatcher.knows() // after the Spool was read: all that it had leased before is known by now
	outcomes = slices.DeleteFunc(outcomes, func(o store.Outcome) bool { return known[recipientKey{o.Mail, o.N}] })
	for some := range slices.Chunk(outcomes, jobsAtOnce) {
		if _, err := q.settle(r.settles, some); err != nil {
			return err
		}
		q.noticed()
	}
	return nil
}

// leasedTo returns the outcomes that give back all that the spool has leased to a node.
func (q *Queue) leasedTo(ctx context.Context, id string) (outcomes []store.Outcome, err error) {
	page := store.Page{Limit: leaseBatch}
	for {
		list, err := q.Spool.Deliveries(ctx, store.Filter{Node: id}, page)
		if err != nil {
			return nil, err
		}
		for i := range list {
			outcomes = append(outcomes, untouched(&list[i].Delivery))
		}
		if len(list) < page.Limit {
			return outcomes, nil
		}
		page.After = list[len(list)-1].Delivery.Key()
	}
}

// polling calls f with the state of the poller locked.
func (q *Queue) polling(f func(*poller)) {
	q.pollMu.Lock()
	defer q.pollMu.Unlock()
	f(&q.poller)
}

// pause is how long the poller may sleep.
func (q *Queue) pause() (wait time.Duration) {
	now := q.now()
	q.polling(func(p *poller) {
		wait = pollTime
		if q.backlog.Load() || p.onTrial {
			wait = backlogTime
		}
		if !p.soonest.IsZero() {
			wait = min(wait, max(p.soonest.Sub(now), time.Millisecond))
			if !p.soonest.After(now) { // it became due during the last Lease, or nothing could be leased
				wait = min(wait, backlogTime)
				p.soonest = time.Time{}
				q.backlog.Store(true)
			}
		}
		p.asleep = now.Add(wait)
	})
	return wait
}

// planned remembers when deferred deliveries are due.
func (q *Queue) planned(outcomes ...store.Outcome) {
	wake := false
	q.polling(func(p *poller) {
		for i := range outcomes {
			o := &outcomes[i]
			if o.Done || o.Held || !p.soonest.IsZero() && !o.Next.Before(p.soonest) {
				continue
			}
			p.soonest = o.Next
			wake = wake || o.Next.Before(p.asleep)
		}
	})
	if wake {
		q.wake()
	}
}

// noticed says that the spool has something that is due.
func (q *Queue) noticed() {
	q.backlog.Store(true)
	q.wake()
}

// wake wakes the poller.
func (q *Queue) wake() {
	if r := q.running(); r != nil {
		r.wakeUp()
	}
}

func (r *run) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// admit hands over leased jobs, and returns those that can't be tried now.
func (d *dispatcher) admit(jobs []*job) (refused []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begin == nil {
		for _, j := range jobs {
			d.hold(j)
			j.claimed, j.trial = true, false
		}
		return jobs
	}
	refused = d.add(jobs)
	d.pump()
	return refused
}

// knows returns the deliveries of all jobs.
func (d *dispatcher) knows() map[recipientKey]bool {
	keys := make(map[recipientKey]bool)
	for _, j := range d.allHeld() {
		for i := range j.due {
			keys[recipientKey{j.due[i].Mail, j.due[i].N}] = true
		}
	}
	return keys
}

func (d *dispatcher) allHeld() []*job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.held))
}

// waitingJobs claims the jobs that have not begun.
func (d *dispatcher) waitingJobs() []*job {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.takeAll()
}
