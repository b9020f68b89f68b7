package outbound

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Limits bound the use of a site. Zero means the Pool's default for
// Conns and Messages, and no limit for Rate.
type Limits struct {
	Conns    int     // connections at the same time
	Messages int     // messages over one connection
	Rate     float64 // messages a second
}

const (
	// raiseEvery is how often a limit of connections that was learned is raised
	// by one.
	raiseEvery = time.Minute

	// learnTime is how long a limit of recipients that was learned counts.
	learnTime = 10 * time.Minute

	// maxSites is how many sites are remembered.
	maxSites = 10_000

	// maxPause is the longest pause after a site has asked to slow down.
	maxPause = 30 * time.Minute

	// rateSlack is how long an unused slot of Limits.Rate may be used later.
	rateSlack = 100 * time.Millisecond

	// longPause is the longest pause that has a channel for its end. During a longer
	// one a caller need not keep the message in memory.
	longPause = time.Minute
)

// health is what a Pool knows of a site, with or without connections to it. Pool.mu
// guards it.
type health struct {
	limits Limits

	limit     int       // of connections, learned; 0: none was
	limitedAt time.Time // when limit was learned, or raised
	maxRcpt   int       // recipients in a transaction, learned
	rcptAt    time.Time // when maxRcpt was learned
	noBDAT    bool      // CHUNKING is offered and doesn't work

	tallies map[string]*tally // by key

	nextSlot time.Time // when Limits.Rate allows the next message

	slowdowns int       // pauses in a row
	pausedAt  time.Time // when the last pause began
	until     time.Time // when it ends
	cause     *Error    // what the site said, to any message; only for operators
	probing   bool      // the first message after a pause is under way
}

// maxConns returns how many connections to a site may be open. The caller must
// hold p.mu.
func (p *Pool) maxConns(s *site) int {
	h := s.health
	conns := h.limits.Conns
	if h.limit == 0 {
		return conns
	}
	if n := int(time.Since(h.limitedAt) / raiseEvery); n > 0 {
		h.limit += n
		h.limitedAt = h.limitedAt.Add(time.Duration(n) * raiseEvery)
	}
	if h.limit >= conns {
		h.limit = 0
		return conns
	}
	return h.limit
}

// reason returns why no message may go to the site, for any message. An answer to a
// message is not for the senders of others: it may name its recipient, or its sender. An
// answer before the first message is about the connection.
func (h *health) reason() error {
	if h.cause.Unreachable() {
		return h.cause
	}
	return pausedError{h.cause.Host}
}

// A pausedError says that a site has asked for a pause, in answer to another message.
type pausedError struct{ host string }

func (e pausedError) Error() string { return e.host + " wants less mail for now" }

// admit decides whether a message may go to a site now. It returns how long to
// wait for the rate limit, or an error if the site has asked to slow down. The
// caller must hold p.mu.
func (s *site) admit(now time.Time, noWait bool) (wait time.Duration, err error) {
	h := s.health
	if pause := h.until.Sub(now); pause > 0 {
		switch {
		case !noWait || h.cause.Unreachable():
			return 0, h.reason()
		case pause > longPause:
			return 0, &relay.BusyError{Site: s.name, Wait: pause, Err: h.reason()}
		}
		return 0, s.busyFor(pause, h.reason())
	}
	if h.slowdowns > 0 && h.probing {
		if noWait {
			return 0, s.busy(h.reason())
		}
		return 0, h.reason()
	}
	if h.limits.Rate > 0 {
		wait = h.nextSlot.Sub(now)
		if wait > 0 && noWait {
			return 0, s.busyFor(wait, nil)
		}
		// Slots that were missed a moment ago are made up for.
		if earliest := now.Add(-rateSlack); h.nextSlot.Before(earliest) {
			h.nextSlot = earliest
		}
		h.nextSlot = h.nextSlot.Add(time.Duration(float64(time.Second) / h.limits.Rate))
	}
	h.probing = h.slowdowns > 0
	return max(wait, 0), nil
}

// busy returns the error that no slot is free. The caller must hold p.mu.
func (s *site) busy(cause error) *relay.BusyError {
	if s.free == nil {
		s.free = make(chan struct{})
	}
	return &relay.BusyError{Site: s.name, Free: s.free, Err: cause}
}

// busyFor returns the error that no slot is free for some time.
func (s *site) busyFor(wait time.Duration, cause error) *relay.BusyError {
	free := make(chan struct{})
	time.AfterFunc(wait, func() { close(free) })
	return &relay.BusyError{Site: s.name, Free: free, Wait: wait, Err: cause}
}

// judge learns from how a message to a site ended that began at a time, and
// returns the error for the caller.
func (p *Pool) judge(name string, began time.Time, err error, noWait bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.site(name)
	defer p.forget(s)
	h := s.health
	if h.probing && !began.Before(h.until) {
		h.probing = false
		defer p.tidy(s) // for those that wait for the probe's end
	}
	cause := slowdown(err)
	switch {
	case errors.As(err, new(*relay.BusyError)):
		return err
	case cause == nil:
		if began.After(h.pausedAt) && reached(err) {
			h.slowdowns = 0
		}
		return err
	case !time.Now().Before(h.until): // otherwise another message has begun the pause
		wait := min(time.Second<<min(h.slowdowns, 20), maxPause)
		wait -= rand.N(wait/5 + 1)
		h.slowdowns++
		h.pausedAt = time.Now()
		h.until, h.cause = h.pausedAt.Add(wait), cause
	}
	pause := time.Until(h.until)
	if cause.Unreachable() || !noWait || pause > longPause {
		return err
	}
	return replaced(err, s.busyFor(pause, cause))
}

// reached reports whether a message with this result was answered by a server.
func reached(err error) bool {
	var e *Error
	return err == nil || errors.As(err, new(*relay.RefusedError)) || errors.As(err, &e) && e.Step >= Mail && e.Reply != nil
}

// replaced puts the BusyError in the place of every refusal that asks to slow down:
// of the whole error, or of those recipients. Each recipient keeps its own reply.
func replaced(err error, busy *relay.BusyError) error {
	var refused *relay.RefusedError
	if !errors.As(err, &refused) {
		return busy
	}
	c := *refused
	c.Recipients = slices.Clone(c.Recipients)
	for i, r := range c.Recipients {
		if cause := slowdown(r.Err); cause != nil {
			own := *busy
			own.Err = cause
			c.Recipients[i].Err = &own
		}
	}
	return &c
}

// slowdown returns the part of an error that says that the site wants less mail,
// or connections, from us: a 421 or 4yz at the greeting, or a 421 or 4yz at any step
// that speaks of a rate. Nil means that there is none.
func slowdown(err error) *Error {
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			if e := slowdown(r.Err); e != nil {
				return e
			}
		}
		return nil
	}
	var e *Error
	var re *relay.ReplyError
	switch {
	case errors.As(err, &e) && e.Reply != nil:
		if e.Reply.Temporary() && (e.Step == Greeting || speaksOfRate(e.Reply)) {
			return e
		}
	case errors.As(err, &re) && re.Host != "" && re.Temporary() && speaksOfRate(re):
		return &Error{Host: re.Host, Step: Rcpt, Err: re, Reply: re}
	}
	return nil
}

// speaksOfRate reports whether a reply is about how much we send. A mailbox that gets
// too much (X.2.x) is not.
func speaksOfRate(re *relay.ReplyError) bool {
	if len(re.Enhanced) > 2 && strings.HasPrefix(re.Enhanced[1:], ".2.") {
		return false
	}
	text := strings.ToLower(re.Text)
	for _, words := range []string{
		"rate limit", "ratelimit", "rate-limit", "rate of", "sending rate", "message rate", "connection rate", "sender rate", "too much mail",
		"too many messages", "too many recipients from", "too many connections", "too many concurrent", "too fast", "slow down",
		"throttl", "unexpected volume", "unusual volume", "limit exceeded", "exceeded the limit", "quota exceeded",
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
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

// A tally counts the connections to one server of a site.
type tally struct {
	begun int // those that are open or being made
	ready int // those that are open
}

// count counts a connection that is about to be made to the server of a key. The
// caller calls ready when it is made, and ended when it failed or is closed.
func (p *Pool) count(name, key string) (ready, ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[name].health
	if h.tallies == nil {
		h.tallies = make(map[string]*tally)
	}
	t := h.tallies[key]
	if t == nil {
		t = new(tally)
		h.tallies[key] = t
	}
	t.begun++
	made := 0
	ready = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		made = 1
		t.ready++
	}
	ended = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		t.begun--
		t.ready -= made
		if t.begun == 0 {
			delete(h.tallies, key)
		}
	}
	return ready, ended
}

// limits reports whether a server that turned a connection away with err did so for
// the number of connections: others are open, or about to be. A server that refuses
// TCP connections refuses those too, and a site with connections to another server
// needs none to this one.
func (s *site) limits(key string, err error) bool {
	t := s.health.tallies[key]
	var e *Error
	if t == nil || !turnedAway(err) || !errors.As(err, &e) {
		return false
	}
	alone := len(s.health.tallies) == 1 // the site has connections to this server only
	return t.ready > 0 || e.Step > Connect && alone
}

// failed gives back the place of a connection that failed with err. If the server
// has turned it away for the number of connections, the number that is open becomes
// the site's limit, and the caller gets a waiter for one of them. Otherwise, and with
// noWait, the caller gets an error.
func (p *Pool) failed(name, key string, err error, noWait bool) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	s.open--
	if s.open == 0 || p.closed || !s.limits(key, err) {
		p.tidy(s)
		return nil, err
	}
	s.health.limit, s.health.limitedAt = s.open, time.Now()
	if noWait {
		return nil, s.busy(nil)
	}
	w := &waiter{ready: make(chan struct{})}
	s.waiters = append([]*waiter{w}, s.waiters...)
	return w, nil
}

// learn keeps what a connection has found out about its site.
func (p *Pool) learn(name string, c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.sites[name].health
	if c.lowered {
		h.maxRcpt, h.rcptAt, c.lowered = c.maxRcpt, time.Now(), false
	}
	h.noBDAT = h.noBDAT || c.badChunking
}

// learned returns what new connections to a site must heed.
func (p *Pool) learned(name string) (maxMessages, maxRcpt int, noBDAT bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	maxRcpt = math.MaxInt
	if h := s.health; h.maxRcpt > 0 && time.Since(h.rcptAt) < learnTime {
		maxRcpt = h.maxRcpt
	}
	return s.health.limits.Messages, maxRcpt, s.health.noBDAT
}

// pause waits for the rate limit.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
