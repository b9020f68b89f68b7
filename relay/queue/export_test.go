package queue

import "time"

// SetClock lets a test say what time this machine's clock shows.
func (q *Queue) SetClock(clock func() time.Time) { q.wallClock = clock }

// Idle reports whether the queue remembers nothing and does nothing.
func (q *Queue) Idle() bool {
	d := &q.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held) == 0 && len(d.mails) == 0 && d.memory == 0 && d.working == 0 && d.accepting == 0 && d.waiting == 0 && d.trials == 0
}

// Times of the queue that tests rely on.
const (
	LeaseTime   = leaseTime
	AttemptTime = attemptTime
	GraceTime   = graceTime
	CancelTime  = cancelTime
)

// RetrySchedule is the default schedule.
var RetrySchedule = retrySchedule

// AwaitLock returns how long it took to get the dispatcher's lock.
func (q *Queue) AwaitLock() time.Duration {
	began := time.Now()
	q.dispatcher.mu.Lock()
	defer q.dispatcher.mu.Unlock()
	return time.Since(began)
}

// Count counts an event.
func (q *Queue) Count(e Event) { q.counters.count(e, q.now()) }
