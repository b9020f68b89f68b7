package webhook

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

const (
	// An endpoint may ask for a pause between these. defaultPause is what 429
	// without Retry-After means.
	minPause     = time.Second
	maxPause     = time.Hour
	defaultPause = 10 * time.Second

	// longPause is the longest pause that events wait for in memory. During a longer
	// one they go back to the Spool.
	longPause = time.Minute
)

// A pause is how long an endpoint wants no requests.
type pause struct {
	until time.Time
	free  chan struct{} // closed at its end; nil if it is long
	cause error
}

// pause begins a pause, and returns the error for the event that was refused. A pause
// is of this process. Others learn of it when they send an event.
func (s *Sender) pause(name string, wait time.Duration, cause error) error {
	p := pause{until: time.Now().Add(wait), cause: cause}
	if wait <= longPause {
		p.free = make(chan struct{})
		time.AfterFunc(wait, func() { close(p.free) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pauses == nil {
		s.pauses = make(map[string]pause)
	}
	for other, o := range s.pauses {
		if !time.Now().Before(o.until) {
			delete(s.pauses, other)
		}
	}
	s.pauses[name] = p
	return p.busy(name)
}

// paused returns an error while an endpoint wants no requests.
func (s *Sender) paused(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pauses[name]
	if !ok || !time.Now().Before(p.until) {
		return nil
	}
	return p.busy(name)
}

// busy tells the queue to wait. No attempt is counted.
func (p pause) busy(name string) *relay.BusyError {
	b := &relay.BusyError{Site: name, Wait: time.Until(p.until), Err: p.cause}
	if p.free != nil {
		b.Free = p.free
	}
	return b
}

// retryAfter returns the pause that a Retry-After field asks for (RFC 9110 section
// 10.2.3), within bounds.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" {
		return defaultPause
	}
	wait := defaultPause
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		wait = time.Duration(min(max(seconds, 0), int64(maxPause/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, minPause), maxPause)
}
