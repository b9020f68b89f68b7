package queue

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// poll leases what is due in the spool: what was there at the start, what is to
// be tried again, what didn't fit into memory, and what other nodes left.
func (q *Queue) poll(ctx context.Context, r *run) {
	for ctx.Err() == nil {
		if q.canLease(r) {
			more, err := q.lease(ctx, r)
			if err != nil {
				q.logger().Error("queue: the spool can't be read, trying again", "error", err)
			} else if more {
				continue
			}
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

// lease leases a batch and makes jobs of it. It reports whether there may be
// more.
func (q *Queue) lease(ctx context.Context, r *run) (more bool, err error) {
	now := q.now()
	q.mu.Lock()
	q.backlog = false
	if !q.soonest.After(now) {
		q.soonest = time.Time{}
	}
	q.mu.Unlock()
	// A call that is cut short might leave leases that nobody knows of.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), spoolTime)
	defer cancel()
	until := now.Add(q.leaseFor())
	leased, err := q.Spool.Lease(ctx, now, until, leaseBatch)
	if err != nil {
		return false, err
	}
	jobs := q.jobsOf(leased, until)
	more, ok := q.admit(r, jobs, len(leased) == leaseBatch)
	if !ok {
		q.release(jobs)
	}
	return more, nil
}

// admit takes over leased jobs; false if Run has ended and there are any.
func (q *Queue) admit(r *run, jobs []*job, full bool) (more, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.run != r && len(jobs) > 0 {
		q.accepting++ // release takes it off
		return false, false
	}
	for _, j := range jobs {
		q.add(j)
	}
	q.backlog = q.backlog || full
	q.pump()
	return q.backlog, true
}

// jobsOf makes jobs of what was leased, one for each mail and destination.
func (q *Queue) jobsOf(leased []store.Leased, until time.Time) (jobs []*job) {
	var ids []string
	mails := make(map[string]*store.Mail)
	due := make(map[string][]store.Delivery)
	for i := range leased {
		d := leased[i].Delivery
		if q.adopt(&d) {
			continue
		}
		if mails[d.Mail] == nil {
			mails[d.Mail] = &leased[i].Mail
			ids = append(ids, d.Mail)
		}
		due[d.Mail] = append(due[d.Mail], d)
	}
	for _, id := range ids {
		p := newParcel(mails[id])
		p.mail.ID = id
		jobs = append(jobs, q.group(p, due[id])...)
	}
	for _, j := range jobs {
		j.leased, j.until = true, until
	}
	return jobs
}

// adopt gives a lease to the job that works on the delivery already. This
// happens when the clock jumps: to the spool, this node's own leases have ended.
// Those of the job's other deliveries may be somebody else's now, so its own time
// isn't extended.
func (q *Queue) adopt(d *store.Delivery) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.held[d.Mail] {
		for i := range j.due {
			if j.due[i].N == d.N {
				j.due[i].Lease, j.due[i].LeasedUntil = d.Lease, d.LeasedUntil
				j.adopted = true
				return true
			}
		}
	}
	return false
}

// pause is how long the poller may sleep.
func (q *Queue) pause() time.Duration {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := pollTime
	switch due := q.soonest; {
	case due.IsZero():
	case due.After(now):
		wait = min(max(due.Sub(now), time.Millisecond), pollTime)
	case q.leased < q.workers(): // it became due during the last Lease
		wait = time.Millisecond
	default: // it couldn't be leased: hungry wakes us when it can
		q.soonest, q.backlog = time.Time{}, true
	}
	q.asleep = now.Add(wait)
	return wait
}

// planned remembers when deferred deliveries are due.
func (q *Queue) planned(outcomes ...store.Outcome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range outcomes {
		o := &outcomes[i]
		if o.Done || o.Held || !q.soonest.IsZero() && !o.Next.Before(q.soonest) {
			continue
		}
		q.soonest = o.Next
		if o.Next.Before(q.asleep) {
			q.wake()
		}
	}
}

// noticed says that the spool has something that is due.
func (q *Queue) noticed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.backlog = true
	q.hungry()
}

// hungry wakes the poller if there is something for it to do.
func (q *Queue) hungry() {
	enough := q.leased >= q.workers()
	if q.backlog && (!enough || q.blocked()) {
		q.wake()
	}
}

func (q *Queue) wake() {
	if q.run == nil {
		return
	}
	select {
	case q.run.wake <- struct{}{}:
	default:
	}
}
