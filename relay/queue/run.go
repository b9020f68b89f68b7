package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A run is one call of Run.
type run struct {
	attempts context.Context // of the calls of Next
	settles  context.Context // of recording outcomes
	wake     chan struct{}   // wakes the poller
	polled   chan struct{}   // closed when the poller has ended
	left     atomic.Int64    // messages that were neither settled nor released
}

// Run delivers what is in the Spool until ctx ends. It then begins nothing new,
// gives deliveries under way ten seconds to end by themselves and five more
// after their context is cancelled, and returns nil when every delivery is settled
// or released. An error means that Run couldn't begin, that some deliveries were not
// released, or that another process has started under the same Node name. Run may be
// called again after it has returned.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.Check(); err != nil {
		return err
	}
	base := context.WithoutCancel(ctx)
	attempts, stopAttempts := context.WithCancel(base)
	defer stopAttempts()
	settles, stopSettles := context.WithCancel(base)
	defer stopSettles()
	r := &run{attempts: attempts, settles: settles, wake: make(chan struct{}, 1), polled: make(chan struct{})}
	if err := q.open(r); err != nil {
		return err
	}
	var helpers sync.WaitGroup
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	nodes, stopNode := context.WithCancel(base)
	defer stopNode()
	helpers.Go(func() {
		defer close(r.polled)
		q.poll(ctx, r)
	})
	helpers.Go(func() { q.endStuck(r) })
	helpers.Go(func() { q.warnOfUnapplied(ctx) })
	helpers.Go(func() {
		if err := q.keepNode(nodes, r); err != nil {
			stop(err)
		}
	})
	<-ctx.Done()
	err := q.drain(r, &helpers, stopAttempts, stopSettles, stopNode)
	if cause := context.Cause(ctx); errors.Is(cause, errReplaced) {
		return cause
	}
	return err
}

func (q *Queue) open(r *run) error {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	if q.current != nil {
		return errors.New("queue: Run is being called already")
	}
	q.current = r
	d := &q.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limits = limits{total: q.workers(), perSite: q.perDestination(), memory: q.maxMemory()}
	d.begin = func(j *job) { go q.work(r, j) }
	d.hungry = func() {
		if q.backlog.Load() {
			r.wakeUp()
		}
	}
	d.paused, d.stalled = true, false // until the node has joined
	q.reminder.ran.Store(true)
	return nil
}

// running returns the call of Run that works; nil if none does.
func (q *Queue) running() *run {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	return q.current
}

// How long the end of Run may take, step by step.
const (
	graceTime  = 10 * time.Second // for attempts to end by themselves
	cancelTime = 5 * time.Second  // for attempts to end once they are cancelled
	recordTime = 5 * time.Second  // to record their outcomes
)

// drain ends the work.
func (q *Queue) drain(r *run, helpers *sync.WaitGroup, stopAttempts, stopSettles, stopNode context.CancelFunc) error {
	q.runMu.Lock()
	q.current = nil
	q.runMu.Unlock()
	waiting := q.dispatcher.close()
	var releasing sync.WaitGroup
	releasing.Go(func() { q.giveBack(r, waiting) })
	if !q.settled(graceTime) {
		stopAttempts()
		if !q.settled(cancelTime) {
			stuck := q.dispatcher.underWay()
			releasing.Go(func() { q.giveBack(r, stuck) })
			q.settled(recordTime)
		}
	}
	stopAttempts()
	select {
	case <-r.polled: // what its last Lease returned is released
	case <-time.After(recordTime):
	}
	stopNode()
	q.leave(r.settles)
	stopSettles()
	ended := make(chan struct{})
	go func() {
		releasing.Wait()
		helpers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(recordTime):
	}
	if left := q.dispatcher.count() + int(r.left.Load()); left > 0 {
		return fmt.Errorf("queue: %d messages were not released, another node takes them over", left)
	}
	return nil
}

// settled waits until no job is held any more.
func (q *Queue) settled(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if q.dispatcher.count() == 0 {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
	}
}

// endStuck gives up attempts that don't end.
func (q *Queue) endStuck(r *run) {
	const every = time.Minute
	timer := time.NewTicker(every)
	defer timer.Stop()
	for {
		select {
		case <-r.settles.Done():
			return
		case <-timer.C:
		}
		for _, j := range q.dispatcher.stuck(attemptTime + every/2) {
			q.logger().Error("queue: an attempt doesn't end, it is given up", "id", j.parcel.mail.ID, "destination", j.lane.Destination)
			q.note(r, j, errNoAnswer)
			go q.finish(r, j, all(j.due, errNoAnswer))
		}
	}
}

// release gives back jobs for which Forward has leased deliveries, although they
// can't be tried now.
func (q *Queue) release(jobs []*job) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	defer q.dispatcher.forget(jobs...)
	if _, err := q.recordOnce(ctx, q.untouchedOf(jobs, q.suspendedReason)); err != nil {
		q.unsure()
		q.logger().Warn("queue: a message can't be released", "id", jobs[0].parcel.mail.ID, "error", err)
		return
	}
	q.noticed()
}

// giveBack returns claimed jobs to the spool.
func (q *Queue) giveBack(r *run, jobs []*job) {
	q.park(r, jobs, func(*job) string { return "" })
}

// park returns claimed jobs to the spool, and records why they wait there if that is
// not "".
func (q *Queue) park(r *run, jobs []*job, why func(*job) string) {
	for some := range slices.Chunk(jobs, jobsAtOnce) {
		if _, err := q.settle(r.settles, q.untouchedOf(some, why)); err != nil {
			r.left.Add(int64(len(some)))
			q.logger().Warn("queue: messages can't be released", "messages", len(some), "error", err)
		}
		q.dispatcher.forget(some...)
	}
}

func (q *Queue) untouchedOf(jobs []*job, why func(*job) string) (outcomes []store.Outcome) {
	for _, j := range jobs {
		reason := why(j)
		for i := range j.due {
			o := untouched(&j.due[i])
			if reason != "" {
				o.Event = q.waiting(&j.parcel.mail, &j.due[i], reason)
			}
			outcomes = append(outcomes, o)
		}
	}
	return outcomes
}
