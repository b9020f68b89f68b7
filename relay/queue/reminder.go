package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// remindAfter is how long after the first message a Queue without Run is logged.
const remindAfter = time.Minute

// A reminder logs once that Run was never called.
type reminder struct {
	ran  atomic.Bool // Run was called
	once sync.Once
}

// remind is called when a message was kept.
func (q *Queue) remind() {
	if q.reminder.ran.Load() {
		return
	}
	q.reminder.once.Do(func() {
		time.AfterFunc(remindAfter, func() {
			if !q.reminder.ran.Load() {
				q.logger().Warn("queue: Run was not called, so messages wait until another process delivers them", "since", remindAfter)
			}
		})
	})
}
