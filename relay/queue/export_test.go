package queue

import "time"

// SetClock lets a test say what time it is.
func (q *Queue) SetClock(clock func() time.Time) { q.clock = clock }

// Idle reports whether the queue remembers nothing and does nothing.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.held) == 0 && q.memory == 0 && q.working == 0 && q.accepting == 0 && q.leased == 0
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
