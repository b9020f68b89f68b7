package queue

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is about deliveries that a node had leased when it died. Most had
// nothing to do with it. Smaller and smaller groups are tried, and at last one
// delivery alone. If a node dies again and again, that finds the delivery that kills
// it, and blames no other.

// groups is how many deliveries with so many Deaths are tried together. A delivery
// with more Deaths is held.
var groups = [...]int{1: leaseBatch, 2: 64, 3: 8, 4: 1}

const (
	// waitFrom is the number of deaths from which on a group begins only when the
	// one before has ended. After one death all goes on as usual.
	waitFrom = 2

	// aloneFrom is the number of deaths from which on nothing else is tried beside a
	// group.
	aloneFrom = 3

	// trialTime is the longest time that other mail waits for a group. A delivery that
	// has been tried for that long does not kill the process.
	trialTime = 10 * time.Second
)

// trials says that the spool may have deliveries that nodes died with.
func (q *Queue) trials(r *run) {
	q.polling(func(p *poller) { p.onTrial = true })
	r.wakeUp()
}

// tryGroup leases the next group of deliveries that nodes died with. It reports
// whether nothing else may be leased for now.
func (q *Queue) tryGroup(ctx context.Context, r *run) (busy bool, err error) {
	var onTrial bool
	var since time.Time
	q.polling(func(p *poller) { onTrial, since = p.onTrial, p.since })
	if !onTrial {
		return false, nil
	}
	if q.dispatcher.onTrial(time.Since(since) < trialTime) {
		return q.dispatcher.isSolo(), nil
	}
	if limit, _ := q.dispatcher.demand(); limit <= 0 || q.isSkewed() {
		return false, nil
	}
	if err := q.holdKillers(ctx, r); err != nil {
		return false, err
	}
	for deaths := len(groups) - 1; deaths > 0; deaths-- {
		request := store.LeaseRequest{Now: q.now(), Limit: groups[deaths], Deaths: deaths}
		n, err := q.leaseJobs(ctx, r, request, func(j *job) {
			j.trial, j.alone = deaths >= waitFrom, deaths >= aloneFrom
			j.unsent = j.parcel.mail.Notice && j.due[0].Attempts == 1
		})
		if err != nil {
			return false, err
		}
		switch {
		case n == 0:
			continue
		case n == groups[deaths] && deaths < waitFrom:
			q.noticed() // there may be more
		}
		q.polling(func(p *poller) { p.since = time.Now() })
		return deaths >= aloneFrom, nil
	}
	q.polling(func(p *poller) { p.onTrial = false })
	return false, nil
}

// holdKillers holds the deliveries with which a node died when nothing else was
// tried.
func (q *Queue) holdKillers(ctx context.Context, r *run) error {
	id := q.nodeID()
	for deaths := len(groups); deaths < len(groups)+4; deaths++ {
		leased, err := q.Spool.Lease(ctx, store.LeaseRequest{Node: id, Now: q.now(), Limit: leaseBatch, Deaths: deaths})
		if err != nil {
			q.unsure()
			return err
		}
		var outcomes []store.Outcome
		var events []Event
		for i := range leased {
			l := &leased[i]
			o := q.hold(untouched(&l.Delivery), "the process died each time this was tried")
			e := &Held{Subject: subject(&l.Mail, l.Delivery.Recipient), Reason: o.Reason}
			o.Event = q.journaled(&l.Mail, &l.Delivery, e)
			outcomes, events = append(outcomes, o), append(events, e)
		}
		if len(outcomes) == 0 {
			continue
		}
		lost, err := q.settle(r.settles, outcomes)
		if err != nil {
			return err
		}
		for i, o := range outcomes {
			if _, gone := lost[recipientKey{o.Mail, o.N}]; !gone {
				q.emit(events[i])
			}
		}
	}
	return nil
}

// onTrial reports whether jobs that a node died with are under way. If they have
// had their time, all jobs may begin again.
func (d *dispatcher) onTrial(inTime bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trials > 0 && inTime {
		return true
	}
	if d.solo {
		d.endSolo()
	}
	return false
}

func (d *dispatcher) isSolo() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.solo
}

// endSolo lets all jobs begin again. The caller must hold d.mu.
func (d *dispatcher) endSolo() {
	d.solo = false
	for _, j := range d.alone {
		l := d.lane(j.lane)
		d.setJobs(l, append(l.jobs, j))
		d.offer(l)
	}
	d.alone = nil
	d.pump()
}
