package queue

import (
	"context"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// tend looks after what this node holds: it renews the leases, and gives up
// attempts that don't end.
func (q *Queue) tend(r *run) {
	ticker := time.NewTicker(q.tendEvery())
	defer ticker.Stop()
	for {
		select {
		case <-r.settles.Done():
			return
		case <-ticker.C:
		}
		old, stuck := q.look()
		for jobs := range slices.Chunk(old, leaseBatch) {
			q.renew(r, jobs)
		}
		for _, j := range stuck {
			q.logger().Error("queue: an attempt doesn't end, it is given up", "id", j.parcel.mail.ID, "destination", j.name)
			go q.finish(r, j, all(q.dueOf(j), errNoAnswer, nil))
		}
	}
}

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
	ctx, cancel := context.WithTimeout(r.settles, spoolTime)
	defer cancel()
	until := q.now().Add(q.leaseFor())
	lost, err := q.Spool.Renew(ctx, due, until)
	if err != nil {
		q.logger().Error("queue: leases can't be renewed", "leases", len(due), "error", err)
		return err
	}
	gone := make(map[recipientKey]int64, len(lost))
	for _, d := range lost {
		gone[recipientKey{d.Mail, d.N}] = d.Lease
		q.logger().Warn("queue: lease lost", "id", d.Mail, "to", d.Recipient)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		j.until = until
		if len(gone) > 0 {
			j.due = slices.DeleteFunc(j.due, func(d store.Delivery) bool {
				lease, ok := gone[recipientKey{d.Mail, d.N}]
				return ok && lease == d.Lease
			})
		}
	}
	return nil
}
