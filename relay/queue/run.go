package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A run is one call of Run.
type run struct {
	attempts context.Context // of the calls of Next
	settles  context.Context // of what has to be recorded afterwards
	wake     chan struct{}   // wakes the poller
	left     atomic.Int64    // messages whose leases were neither settled nor released
}

// Run delivers what is in the Spool until ctx ends. It then begins nothing new,
// gives deliveries under way ten seconds to end by themselves and five more
// after their context is cancelled, and returns nil when every lease is settled
// or released. An error means that Run couldn't begin, or that some leases were
// left to run out. It may be called again after it has returned.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.check(); err != nil {
		return err
	}
	base := context.WithoutCancel(ctx)
	attempts, stopAttempts := context.WithCancel(base)
	defer stopAttempts()
	settles, stopSettles := context.WithCancel(base)
	defer stopSettles()
	r := &run{attempts: attempts, settles: settles, wake: make(chan struct{}, 1)}
	if err := q.open(r); err != nil {
		return err
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { q.poll(ctx, r) })
	helpers.Go(func() { q.tend(r) })
	<-ctx.Done()
	return q.drain(r, &helpers, stopAttempts, stopSettles)
}

func (q *Queue) open(r *run) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.run != nil {
		return errors.New("queue: Run is called already")
	}
	q.run = r
	q.stalled = false
	q.reminder.ran.Store(true)
	return nil
}

// How long the end of Run may take, step by step.
const (
	graceTime  = 10 * time.Second // for attempts to end by themselves
	cancelTime = 5 * time.Second  // for attempts to end once they are cancelled
	recordTime = 5 * time.Second  // to record what came of them
)

// drain ends the work.
func (q *Queue) drain(r *run, helpers *sync.WaitGroup, stopAttempts, stopSettles context.CancelFunc) error {
	waiting := q.close()
	var releasing sync.WaitGroup
	releasing.Go(func() { q.releaseIn(r, waiting) })
	if !q.settled(graceTime) {
		stopAttempts()
		if !q.settled(cancelTime) {
			stuck := q.abandoned()
			releasing.Go(func() { q.releaseIn(r, stuck) })
			q.settled(recordTime)
		}
	}
	stopAttempts()
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
	q.mu.Lock()
	defer q.mu.Unlock()
	if left := len(q.held) + q.accepting + int(r.left.Load()); left > 0 {
		return fmt.Errorf("queue: %d messages are left to their leases", left)
	}
	return nil
}

// close lets no more jobs begin, and returns those that wait.
func (q *Queue) close() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.run, q.ready, q.leased = nil, nil, 0
	var waiting []*job
	for _, d := range q.dests {
		waiting = append(waiting, d.waiting...)
		d.waiting, d.queued = nil, false
	}
	for _, j := range waiting {
		j.claimed = true
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return waiting
}

// settled waits until nothing is held any more.
func (q *Queue) settled(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		q.mu.Lock()
		left := len(q.held) + q.accepting
		q.mu.Unlock()
		if left == 0 {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
	}
}

// abandoned claims the jobs whose attempts don't end although they should.
func (q *Queue) abandoned() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var stuck []*job
	for _, jobs := range q.held {
		for _, j := range jobs {
			if !j.claimed {
				j.claimed = true
				stuck = append(stuck, j)
			}
		}
	}
	return stuck
}

// release gives back jobs that Forward has leased deliveries for, but that Run
// doesn't take any more.
func (q *Queue) release(jobs []*job) {
	ctx, cancel := context.WithTimeout(context.Background(), recordTime)
	defer cancel()
	defer q.abandon(jobs)
	if _, err := q.recordOnce(ctx, q.untouchedOf(jobs)); err != nil {
		q.logger().Warn("queue: a message is left to its lease", "id", jobs[0].parcel.mail.ID, "error", err)
	}
}

// releaseIn gives back jobs that are held.
func (q *Queue) releaseIn(r *run, jobs []*job) {
	defer q.forget(jobs...)
	if len(jobs) == 0 {
		return
	}
	if _, err := q.settle(r.settles, q.untouchedOf(jobs)); err != nil {
		r.left.Add(int64(len(jobs)))
		q.logger().Warn("queue: messages are left to their leases", "messages", len(jobs), "error", err)
	}
}

func (q *Queue) untouchedOf(jobs []*job) []store.Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	var outcomes []store.Outcome
	for _, j := range jobs {
		for i := range j.due {
			outcomes = append(outcomes, untouched(&j.due[i]))
		}
	}
	return outcomes
}
