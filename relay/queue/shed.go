package queue

import "time"

// This file is about a spool that is full of mail for a destination that can't
// take it as fast as the workers could send. It is given back to the spool for a
// while, so that what is behind it can be leased.

const (
	// giveBackTime is for how long at least, once it is known how fast the
	// destination is, and firstTime before that.
	giveBackTime = 30 * time.Second
	firstTime    = 10 * time.Second
	learnTime    = 5 * time.Second // how long it takes to know
)

// pace is how fast a destination takes mail.
type pace struct {
	served int       // attempts since
	given  int       // jobs given back since
	since  time.Time // by the monotonic clock
	rate   float64   // attempts a second; 0: not known yet
	idle   bool      // had nothing to do at times since
}

// measure brings the rate up to date.
func (p *pace) measure() {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	elapsed := time.Since(p.since)
	if elapsed >= learnTime {
		rate := max(float64(p.served)/elapsed.Seconds(), 1/giveBackTime.Seconds())
		if p.idle {
			rate = max(rate, p.rate) // it could have taken more
		}
		p.rate = rate
	}
	if elapsed >= giveBackTime {
		if p.idle {
			p.rate *= 1.5
		}
		p.served, p.given, p.idle, p.since = 0, 0, false, time.Now()
	}
}

// enough is how many waiting jobs keep the destination busy until others that
// were given back return.
func (p *pace) enough() int { return int(p.rate * 1.5 * giveBackTime.Seconds()) }

// giveBack is for how long to give back one more job: until the destination is
// half through with those before it, since it may turn out to be faster.
func (p *pace) giveBack() time.Duration {
	if p.rate == 0 {
		return firstTime
	}
	p.given++
	wait := time.Duration(float64(p.given) / p.rate / 2 * float64(time.Second))
	return min(max(wait, giveBackTime), 4*giveBackTime)
}

// canLease reports whether the workers need more than they have. What waits for
// a destination that is busy is given back if it stands in the way of others.
func (q *Queue) canLease(r *run) bool {
	q.mu.Lock()
	enough := q.leased >= q.workers()
	shed := enough && q.blocked()
	var excess []*job
	if shed {
		excess = q.excess()
	}
	q.mu.Unlock()
	if len(excess) > 0 {
		q.giveBack(r, excess)
	}
	return !enough || shed
}

// blocked reports whether workers have nothing to do although jobs wait.
func (q *Queue) blocked() bool { return q.working < q.workers() && len(q.ready) == 0 }

// excess takes from every destination what was leased and won't begin soon, and
// says until when it is given back.
func (q *Queue) excess() (jobs []*job) {
	now := q.now()
	for _, d := range q.dests {
		d.measure()
		kept, n := d.waiting[:0], max(4*q.perDestination(), d.enough())
		for _, j := range d.waiting {
			if n--; !j.leased || n >= 0 {
				kept = append(kept, j)
				continue
			}
			j.claimed = true
			next := now.Add(d.giveBack()).Truncate(time.Microsecond)
			for i := range j.due {
				j.due[i].Next = next
			}
			jobs = append(jobs, j)
		}
		clear(d.waiting[len(kept):])
		d.waiting = kept
	}
	q.leased -= len(jobs)
	return jobs
}

// giveBack returns jobs to the spool.
func (q *Queue) giveBack(r *run, jobs []*job) {
	defer q.forget(jobs...)
	outcomes := q.untouchedOf(jobs)
	if _, err := q.settle(r.settles, outcomes); err == nil {
		q.planned(outcomes...)
	}
}
