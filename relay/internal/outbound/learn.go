package outbound

import (
	"errors"
	"math"
	"syscall"
	"time"
)

// raiseEvery is how often a limit that was learned is raised by one connection.
const raiseEvery = time.Minute

// maxConns returns how many connections to a site may be open. The caller must
// hold p.mu.
func (p *Pool) maxConns(s *site) int {
	if s.limit == 0 {
		return p.MaxConns
	}
	if n := int(time.Since(s.limitedAt) / raiseEvery); n > 0 {
		s.limit += n
		s.limitedAt = s.limitedAt.Add(time.Duration(n) * raiseEvery)
	}
	if s.limit >= p.MaxConns {
		s.limit = 0
		return p.MaxConns
	}
	return s.limit
}

// turnedAway reports whether a server didn't let a connection in. If others are
// open, that is about their number.
func turnedAway(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Step >= Mail {
		return false
	}
	if e.Step == Connect {
		return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
	}
	return e.Closing || errors.Is(err, errHungUp) || e.Step == Greeting && e.Reply != nil && e.Reply.Temporary()
}

// failed gives back the place of a connection that failed with err. If the server
// turned it away while others are open, as many as are open become the site's
// limit, and the caller gets a waiter for one of them. Otherwise, and with noWait,
// it gets an error.
func (p *Pool) failed(name string, err error, noWait bool) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	s.open--
	if s.open == 0 || p.closed || !turnedAway(err) {
		p.tidy(s)
		return nil, err
	}
	s.limit, s.limitedAt = s.open, time.Now()
	if noWait {
		return nil, s.busy()
	}
	w := &waiter{ready: make(chan struct{})}
	s.waiters = append([]*waiter{w}, s.waiters...)
	return w, nil
}

// learnTime is how long a limit of recipients is remembered.
const learnTime = 10 * time.Minute

// learn keeps what a connection has found out about its site.
func (p *Pool) learn(name string, c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	if c.lowered {
		s.maxRcpt, s.rcptAt, c.lowered = c.maxRcpt, time.Now(), false
	}
	s.noBDAT = s.noBDAT || c.badChunking
}

// learned returns what new connections to a site must heed.
func (p *Pool) learned(name string) (maxRcpt int, noBDAT bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	if s.maxRcpt == 0 || time.Since(s.rcptAt) > learnTime {
		return math.MaxInt, s.noBDAT
	}
	return s.maxRcpt, s.noBDAT
}
