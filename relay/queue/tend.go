package queue

import (
	"context"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// tend looks after what this node holds: it renews the leases, soon again if
// that fails, and gives up attempts that don't end.
func (q *Queue) tend(r *run) {
	timer := time.NewTimer(q.tendEvery())
	defer timer.Stop()
	for {
		select {
		case <-r.settles.Done():
			return
		case <-timer.C:
		}
		next := q.tendEvery()
		old, stuck := q.look()
		for jobs := range slices.Chunk(old, leaseBatch) {
			if q.renew(r, jobs) != nil {
				next = min(next, renewAgain)
			}
		}
		timer.Reset(next)
		for _, j := range stuck {
			q.logger().Error("queue: an attempt doesn't end, it is given up", "id", j.parcel.mail.ID, "destination", j.name)
			go q.finish(r, j, all(q.dueOf(j), errNoAnswer, nil))
		}
	}
}

// renewAgain is how soon a Renew that failed is tried again.
const renewAgain = time.Second

// look returns the jobs that have been held since it last looked (which doesn't
// depend on what the clock says), and claims those whose attempts go on although
// their time is up.
func (q *Queue) look() (old, stuck []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sweep()
	for _, jobs := range q.held {
		for _, j := range jobs {
			if j.tended {
				old = append(old, j)
			}
			j.tended = true
			if !j.started.IsZero() && !j.claimed && time.Since(j.started) > attemptTime+q.tendEvery() {
				j.claimed = true
				stuck = append(stuck, j)
				if d := j.dest; d.probe == j { // another message must find out
					d.note(j, errNoAnswer)
					q.offer(d)
					q.pump()
				}
			}
		}
	}
	return old, stuck
}

func (q *Queue) dueOf(j *job) []store.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(j.due)
}

// renew renews the leases of jobs. Deliveries that somebody else has leased
// meanwhile are theirs.
func (q *Queue) renew(r *run, jobs []*job) error {
	var due []store.Delivery
	q.mu.Lock()
	for _, j := range jobs {
		due = append(due, j.due...)
	}
	q.mu.Unlock()
	// A call that hangs must leave time for another.
	ctx, cancel := context.WithTimeout(r.settles, min(spoolTime, max(q.leaseFor()/6, time.Second)))
	defer cancel()
	until := q.now().Add(q.leaseFor())
	lost, err := q.Spool.Renew(ctx, due, until)
	if err != nil {
		q.logger().Error("queue: leases can't be renewed", "leases", len(due), "error", err)
		return err
	}
	for _, d := range q.renewed(jobs, until, lost) {
		q.logger().Warn("queue: lease lost", "id", d.Mail, "to", d.Recipient)
	}
	return nil
}

// renewed takes from jobs what was lost, and returns it. What is being attempted
// stays: the lease may be ours again by now, and Settle tells if it isn't.
func (q *Queue) renewed(jobs []*job, until time.Time, lost []store.Delivery) (gone []store.Delivery) {
	leases := make(map[recipientKey]int64, len(lost))
	for _, d := range lost {
		leases[recipientKey{d.Mail, d.N}] = d.Lease
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		j.until = until
		if len(lost) == 0 || !j.started.IsZero() {
			continue
		}
		j.due = slices.DeleteFunc(j.due, func(d store.Delivery) bool {
			lease, ok := leases[recipientKey{d.Mail, d.N}]
			ok = ok && lease == d.Lease
			if ok {
				gone = append(gone, d)
			}
			return ok
		})
	}
	return gone
}
