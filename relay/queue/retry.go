package queue

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
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

// parkFor is how long what wasn't tried waits, because its destination is down:
// until the destination has been probed, and longer the older the mail, so that
// what has piled up doesn't go through the spool with each probe.
func parkFor(c *closed, age time.Duration) time.Duration {
	wait := max(time.Until(c.until), min(age/16, 15*time.Minute), time.Second)
	return wait + rand.N(wait/4)
}

// nextTry is when a deferred delivery is due: after wait, or sooner if the mail
// expires before, or if the sender is to be told of the delay before.
func (q *Queue) nextTry(m *store.Mail, now time.Time, wait time.Duration) time.Time {
	next := now.Add(wait)
	for _, age := range []time.Duration{delayTime, q.expire()} {
		if t := m.Received.Add(age); t.After(now) && t.Before(next) {
			next = t
		}
	}
	return next.UTC().Truncate(time.Microsecond)
}

// health is what is known of a destination. It lives in memory: another node, or
// this one after a restart, finds out by itself.
type health struct {
	fails int       // probes in a row that failed; 0: it is well
	until time.Time // no probe before; by the monotonic clock
	cause error     // of the last failure
	probe *job      // the probe under way
}

// closed says why a destination isn't tried now, and until when.
type closed struct {
	cause error
	until time.Time
}

func (h *health) closed() *closed { return &closed{h.cause, h.until} }
func (h *health) isDown() bool    { return h.fails > 0 }
func (h *health) isClosed() bool  { return h.fails > 0 && time.Now().Before(h.until) }
func (h *health) isForgettable() bool {
	return h.fails == 0 || h.probe == nil && time.Since(h.until) > time.Hour
}

// note takes down how an attempt ended. One that found nobody there closes the
// destination, one that was answered opens it again, and of a closed
// destination only a probe tells more.
func (h *health) note(j *job, err error) {
	wasProbe := h.probe == j
	if wasProbe {
		h.probe = nil
	}
	switch {
	case errors.Is(err, errStopped), errors.Is(err, errNotTried):
	case unreachable(err):
		if h.fails == 0 || wasProbe {
			h.fails++
			h.until = time.Now().Add(probeAfter(h.fails))
			h.cause = err
		}
	case err == nil || wasProbe || answered(err):
		h.fails, h.cause = 0, nil
	}
}

// probeAfter is how long a destination is left alone after so many failures:
// from a second to two minutes.
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
