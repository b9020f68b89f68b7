package queue

import (
	"math/rand/v2"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// retryAfter is how long to wait after the attempt of this number.
func (q *Queue) retryAfter(attempt int) time.Duration {
	if q.Retry == nil {
		return retrySchedule(attempt)
	}
	wait := time.Minute // if it panics
	func() {
		defer q.recovered("Retry")
		wait = q.Retry(attempt)
	}()
	if wait <= 0 {
		return time.Second
	}
	return wait
}

// retrySchedule is the default of Queue.Retry. Chance spreads out what failed
// together.
func retrySchedule(attempt int) time.Duration {
	wait := min(time.Minute<<min(max(attempt, 1)-1, 8), 3*time.Hour)
	return wait*4/5 + rand.N(wait*2/5+1)
}

// nextTry is when a deferred delivery is due: after wait, or sooner if the mail
// expires before, or if the sender is to be told of the delay before.
func (q *Queue) nextTry(m *store.Mail, d *store.Delivery, now time.Time, wait time.Duration) time.Time {
	next := now.Add(wait)
	for _, age := range []time.Duration{delayTime, q.expire()} {
		if t := m.Received.Add(age + d.Idle); t.After(now) && t.Before(next) {
			next = t
		}
	}
	return next.UTC().Truncate(time.Microsecond)
}
