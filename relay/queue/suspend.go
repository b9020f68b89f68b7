package queue

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is about destinations that can't be reached. Such a destination is
// suspended in the Spool, for all nodes. Its mail stays in the Spool, where it costs
// nothing, and one message at a time is sent as a probe.

// sweepTime is how often mail for suspended destinations is looked at for its age.
const sweepTime = 10 * time.Minute

// probesTime is how long a node may take at once to begin probes, and to look at
// mail for its age.
const probesTime = 250 * time.Millisecond

// forgetTime is how long a suspension is kept when no mail waits for its destination.
const forgetTime = time.Hour

// emptyTime is the longest pause before a node looks again whether mail is due to a
// suspended destination that had none. New mail may wait for so long.
const emptyTime = 15 * time.Second

// note records whether an attempt reached its destination.
func (q *Queue) note(r *run, j *job, err error) {
	switch {
	case errors.Is(err, errStopped), errors.Is(err, errNotTried):
		if j.probe {
			q.probeAgain(r, j.lane.Destination)
		}
	case unreachable(err):
		q.goesDown(r, j, err)
	case err == nil || j.probe || answered(err):
		if o := q.dispatcher.outage(j.lane.Destination); o != nil && !o.person {
			q.comesUp(r, j.lane.Destination)
		}
	}
}

// onReached returns what is called when the server of a job has accepted MAIL. If the job
// is a probe, other messages need not wait until the server has taken the content. If the
// job had to wait for a slot, it has one now. It returns nil for other jobs.
func (q *Queue) onReached(r *run, j *job) func() {
	gated := q.dispatcher.isGated(j)
	if !j.probe && !gated {
		return nil
	}
	return func() {
		if gated {
			q.dispatcher.begun(j)
		}
		if j.probe && q.dispatcher.probed(j) {
			q.comesUp(r, j.lane.Destination)
		}
	}
}

// goesDown suspends the destination of a job, or prolongs its suspension if the job
// was a probe.
func (q *Queue) goesDown(r *run, j *job, cause error) {
	destination := j.lane.Destination
	waiting, isNew := q.dispatcher.setDown(destination, &outage{cause: cause, since: time.Now()})
	q.park(r, waiting, q.suspendedReason)
	if !isNew && !j.probe {
		return
	}
	if isNew {
		q.emit(&Suspended{Destination: destination, Reason: reasonOf(cause)})
	}
	q.changeSuspension(r.settles, destination, func(s *store.Suspension) bool {
		if s.Version != 0 && (s.By != "" || !j.probe) {
			return false
		}
		now := q.now()
		if s.Version == 0 {
			s.Since = now
		}
		s.Failures++
		s.Tried, s.Until = now, now.Add(probeAfter(s.Failures)).Truncate(time.Microsecond)
		s.Reason = reasonOf(cause)
		return true
	})
	q.planned(store.Outcome{Next: q.now().Add(time.Second)})
}

// probeAgain lets another probe follow soon after one that found out nothing. It would
// wait for as long as the probe was claimed for otherwise.
func (q *Queue) probeAgain(r *run, destination string) {
	q.changeSuspension(r.settles, destination, func(s *store.Suspension) bool {
		if s.Version == 0 || s.By != "" {
			return false
		}
		s.Until = q.now().Add(time.Second).Truncate(time.Microsecond)
		return true
	})
	q.planned(store.Outcome{Next: q.now().Add(time.Second)})
}

// comesUp ends a suspension.
func (q *Queue) comesUp(r *run, destination string) {
	q.changeSuspension(r.settles, destination, func(s *store.Suspension) bool {
		if s.By == "" && s.Version != 0 {
			if err := q.Spool.Resume(r.settles, *s); err != nil && !errors.Is(err, store.ErrConflict) {
				q.logger().Error("queue: a suspension can't be ended, trying again", "destination", destination, "error", err)
			}
		}
		return false
	})
	if q.dispatcher.setUp(destination) {
		q.emit(&Resumed{Destination: destination})
	}
	q.noticed()
}

// changeSuspension applies change to the suspension of a destination, which has the
// Version 0 if there is none. change returns false if nothing is to be changed.
func (q *Queue) changeSuspension(ctx context.Context, destination string, change func(*store.Suspension) bool) {
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	for range 3 {
		list, err := q.Spool.Suspensions(ctx)
		s := store.Suspension{Destination: destination}
		for _, other := range list {
			if other.Tenant == "" && other.Destination == destination {
				s = other
			}
		}
		if err == nil {
			if !change(&s) {
				return
			}
			err = q.Spool.Suspend(ctx, s)
		}
		switch {
		case err == nil:
			return
		case !errors.Is(err, store.ErrConflict):
			q.logger().Error("queue: a suspension can't be recorded", "destination", destination, "error", err)
			return
		}
	}
}

// refresh reads the suspensions, gives back what waits here and is suspended, and
// sends the probes that are due.
func (q *Queue) refresh(ctx context.Context, r *run) error {
	late := false
	q.polling(func(p *poller) {
		if late = time.Since(p.looked) >= suspensionTime; late {
			p.looked = time.Now()
		}
	})
	if !late {
		return nil
	}
	list, err := q.Spool.Suspensions(ctx)
	if err != nil {
		return err
	}
	q.dispatcher.sweep()
	q.adopt(r, list)
	if q.isSkewed() {
		return nil
	}
	if err := q.probeSome(ctx, r, list); err != nil {
		return err
	}
	return q.age(ctx, r, list)
}

// adopt makes the suspensions of the Spool those of this process, and gives back what
// waits here and is suspended.
func (q *Queue) adopt(r *run, list []store.Suspension) {
	down := make(map[string]bool)
	paused, reasons := make(map[store.TenantID]bool), make(map[store.TenantID]string)
	for _, s := range list {
		if s.Tenant != "" {
			paused[s.Tenant], reasons[s.Tenant] = true, cmp.Or(safe(s.Reason), "all mail of the tenant is suspended")
			continue
		}
		down[s.Destination] = true
		if o := q.dispatcher.outage(s.Destination); o == nil || o.person != (s.By != "") {
			waiting, _ := q.dispatcher.setDown(s.Destination, &outage{cause: suspendedError(s), since: time.Now(), person: s.By != ""})
			q.park(r, waiting, q.suspendedReason)
		}
	}
	q.park(r, q.dispatcher.pauseTenants(paused), func(j *job) string {
		if reason, ok := reasons[j.lane.Tenant]; ok {
			return reason
		}
		return q.suspendedReason(j)
	})
	for _, name := range q.dispatcher.downs() {
		if o := q.dispatcher.outage(name); o != nil && !down[name] && time.Since(o.since) > suspensionTime {
			q.dispatcher.setUp(name)
			q.noticed()
		}
	}
}

// probeSome sends probes that are due, in random order, for at most probesTime: many
// destinations may be down, and other mail must not wait for their probes.
func (q *Queue) probeSome(ctx context.Context, r *run, list []store.Suspension) error {
	began := time.Now()
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, s := range list {
		if time.Since(began) > probesTime {
			break
		}
		if err := q.probe(ctx, r, s); err != nil {
			return err
		}
	}
	return nil
}

// suspendedReason is why the destination of a job is suspended; "" if it isn't.
func (q *Queue) suspendedReason(j *job) string {
	if o := q.dispatcher.outage(j.lane.Destination); o != nil {
		return reasonOf(o.cause)
	}
	return ""
}

// probe sends one message to a suspended destination, if it is time and no other
// node does.
func (q *Queue) probe(ctx context.Context, r *run, s store.Suspension) error {
	now := q.now()
	if s.Tenant != "" || s.By != "" || s.Until.IsZero() {
		return nil
	}
	if q.dispatcher.probes(s.Destination) { // for longer than the probe was claimed for
		if s.Until.Before(now.Add(q.leaseFor() / 2)) {
			s.Until = now.Add(q.leaseFor()).Truncate(time.Microsecond)
			return ignoreConflict(q.Spool.Suspend(ctx, s))
		}
		return nil
	}
	if s.Until.After(now) {
		return nil
	}
	claimed := s
	claimed.Until = now.Add(q.leaseFor()).Truncate(time.Microsecond)
	if err := q.Spool.Suspend(ctx, claimed); err != nil {
		return ignoreConflict(err)
	}
	claimed.Version++
	request := store.LeaseRequest{Now: now, Limit: 1, Probe: true, Destination: s.Destination}
	n, err := q.leaseJobs(ctx, r, request, func(j *job) { j.probe = true })
	if err != nil || n > 0 {
		return err
	}
	if now.Sub(s.Tried) > forgetTime {
		return ignoreConflict(q.Spool.Resume(ctx, claimed))
	}
	// Nothing is due there. Looking again costs writes, so the pause grows.
	pause := min(max(now.Sub(s.Tried)/8, time.Second), emptyTime)
	claimed.Until = now.Add(pause).Truncate(time.Microsecond)
	return ignoreConflict(q.Spool.Suspend(ctx, claimed))
}

func ignoreConflict(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// age gives up mail for destinations that could not be reached when it was too old
// already, and tells senders of the delay. A failed probe counts as an attempt of
// everything that waits behind it, if it failed since this node has joined.
func (q *Queue) age(ctx context.Context, r *run, list []store.Suspension) error {
	var rest []store.Suspension
	q.polling(func(p *poller) {
		if time.Since(p.swept) >= sweepTime {
			p.swept, p.aging = time.Now(), list
		}
		rest = p.aging
	})
	defer func() { q.polling(func(p *poller) { p.aging = rest }) }()
	for began := time.Now(); len(rest) > 0 && time.Since(began) < probesTime; {
		s := rest[0]
		o := q.dispatcher.outage(s.Destination)
		if s.Tenant != "" || s.By != "" || o == nil || s.Tried.Before(q.joined()) {
			rest = rest[1:]
			continue
		}
		more := false
		for _, request := range []store.LeaseRequest{
			{Received: s.Tried.Add(-q.expire())},
			{Received: q.now().Add(-delayTime), Undelayed: true},
		} {
			request.Node, request.Now, request.Limit = q.nodeID(), q.now(), leaseBatch
			request.Probe, request.Destination = true, s.Destination
			n, err := q.giveUp(ctx, r, request, o.cause)
			if err != nil {
				return err
			}
			more = more || n == request.Limit
		}
		if !more {
			rest = rest[1:]
		}
	}
	return nil
}

// finishAtOnce is how many messages are given up at once. Their outcomes share calls of
// Settle.
const finishAtOnce = 64

// giveUp settles what the request leases as if an attempt had failed with cause. It
// returns how many deliveries were leased.
func (q *Queue) giveUp(ctx context.Context, r *run, request store.LeaseRequest, cause error) (n int, err error) {
	jobs, n, err := q.leaseOwn(ctx, r, request)
	if err != nil {
		return 0, err
	}
	q.dispatcher.holdClaimed(jobs)
	var finishing sync.WaitGroup
	slots := make(chan struct{}, finishAtOnce)
	for _, j := range jobs {
		slots <- struct{}{}
		finishing.Go(func() {
			defer func() { <-slots }()
			results := all(j.due, cause)
			for i := range results {
				results[i].untried = true
			}
			q.finish(r, j, results)
		})
	}
	finishing.Wait()
	return n, nil
}

// holdClaimed registers jobs that the caller settles at once.
func (d *dispatcher) holdClaimed(jobs []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range jobs {
		d.hold(j)
		j.claimed = true
	}
}

// probes reports whether a probe to the destination waits or is under way.
func (d *dispatcher) probes(destination string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[destination]
	return s != nil && s.probe != nil
}

// probed ends a probe, because its destination was reached. It reports whether the
// destination was suspended for that probe.
func (d *dispatcher) probed(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.site(j.lane.Destination)
	if s.probe != j {
		return false
	}
	s.probe = nil
	return s.down != nil && !s.down.person
}

// probeAfter is how long a destination is left alone after so many failures: from a
// second to two minutes.
func probeAfter(fails int) time.Duration {
	wait := min(time.Second<<min(fails-1, 10), 2*time.Minute)
	return wait + rand.N(wait/5)
}

// unreachable reports whether err is about the way to the destination, and so
// about every message for it.
func unreachable(err error) bool {
	return relay.Unreachable(err) || errors.Is(err, errNoAnswer)
}

// answered reports whether err is what a server said.
func answered(err error) bool {
	var reply *relay.ReplyError
	return errors.As(err, &reply)
}
