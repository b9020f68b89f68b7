package queue

import (
	"sync"
	"time"
)

// A clock tells the Spool's time. Between two readings of it, it goes on with the
// monotonic clock of this process, so a jump of this machine's clock changes
// nothing. It follows a jump of the Spool's clock slowly, so that no mail expires
// because of one.
type clock struct {
	mu    sync.Mutex
	at    time.Time // a moment of this process; zero if the Spool's clock was not read yet
	spool time.Time // the Spool's time at that moment
}

// slew limits how fast the clock follows the Spool's: it gains or loses at most one
// second in slew seconds.
const slew = 10

// now returns the Spool's time, or this machine's if the Spool's is not known.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tell(time.Now())
}

// tell returns the time at a moment. The caller must hold c.mu.
func (c *clock) tell(moment time.Time) time.Time {
	if !c.at.IsZero() {
		moment = c.spool.Add(moment.Sub(c.at)) // Sub uses the monotonic clock
	}
	return moment.UTC().Truncate(time.Microsecond)
}

// read takes over the Spool's time, which was read between asked and now.
func (c *clock) read(asked, spool time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	moment := asked.Add(time.Since(asked) / 2)
	if !c.at.IsZero() {
		most := moment.Sub(c.at) / slew
		told := c.tell(moment)
		spool = told.Add(min(max(spool.Sub(told), -most), most))
	}
	c.at, c.spool = moment, spool
}
