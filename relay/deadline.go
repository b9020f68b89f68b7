package relay

import "time"

// How long a conn may last, and who ends it: what conn.Read has to know of the
// session for that.

// arm sets the deadlines of the next read, or returns the reply with which to
// end instead. Both under mu, so that an interrupt can't fall in between.
func (c *conn) arm() (final reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if final = c.finalReply(); final != (reply{}) {
		return final
	}
	deadline, _ := c.deadline()
	if c.check != nil && !c.body {
		if t := time.Now().Add(recheckEvery); t.Before(deadline) {
			deadline = t
		}
	}
	c.Conn.SetReadDeadline(deadline)
	// TLS may have to write while it reads: the answer to a KeyUpdate (RFC 8446
	// section 4.6.3). That of the last flush may be long past.
	c.Conn.SetWriteDeadline(deadline.Add(writeTimeout))
	return reply{}
}

// armWrite sets the deadline of the next write, under mu, so that it can't undo
// that of end.
func (c *conn) armWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	timeout := writeTimeout
	if c.final != (reply{}) || c.refused {
		timeout = finalTimeout
	}
	c.Conn.SetWriteDeadline(time.Now().Add(timeout))
}

// armHandshake sets the deadline of the TLS handshake, or reports that the
// connection is to end instead. Under mu, as arm.
func (c *conn) armHandshake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finalReply() != (reply{}) {
		return false
	}
	timeout := c.srv.loginTimeout()
	if c.refused {
		timeout = min(timeout, refusedTimeout)
	}
	c.Conn.SetDeadline(c.accepted.Add(timeout))
	return true
}

// expired is called when a read timed out: for good, because somebody
// interrupted it, or only to look whether the login still holds. To go needs no
// look: the store may be slow, and every session may have to go at once.
func (c *conn) expired() (final reply) {
	c.mu.Lock()
	final = c.finalReply()
	deadline, what := c.deadline()
	check := c.check
	if c.body {
		check = nil
	}
	c.mu.Unlock()
	switch {
	case final != (reply{}):
		return final
	case !time.Now().Before(deadline):
		return replyTooSlow(what)
	case check != nil:
		check()
	}
	return reply{}
}

// deadline returns until when the client has to send something more, and what
// to tell it if it doesn't. The caller holds mu.
func (c *conn) deadline() (t time.Time, what string) {
	s := c.srv
	t, what = c.waiting.Add(s.idleTimeout()), "idle for too long"
	earlier := func(u time.Time, w string) {
		if u.Before(t) {
			t, what = u, w
		}
	}
	if c.check == nil {
		earlier(c.accepted.Add(s.loginTimeout()), "no login in time")
	}
	if c.tx != nil {
		earlier(c.tx.started.Add(s.messageTimeout()), "the message took too long")
	}
	if c.body {
		floor := time.Duration(float64(c.received) / float64(s.minBodyRate()) * float64(time.Second))
		earlier(c.tx.bodyStarted.Add(s.idleTimeout()+floor), "the message came in too slowly")
	}
	return t, what
}

// finalReply returns the reply with which the connection is to end now, if it
// is. The caller must hold mu.
func (c *conn) finalReply() reply {
	if c.final == (reply{}) && c.draining && c.tx == nil {
		return replyShutdown
	}
	return c.final
}

// ending is finalReply for callers that do not hold mu.
func (c *conn) ending() reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finalReply()
}

// interrupt runs change under mu and wakes the reader, which then sees it. If the
// connection is to end, a login in progress ends too.
func (c *conn) interrupt(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.cancel != nil && c.finalReply() != (reply{}) {
		c.cancel()
	}
	c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// end makes the reader send a final reply and hang up, once it has nothing to
// do. The first call decides which reply. A client that does not read has
// finalTimeout.
func (c *conn) end(final reply) {
	c.interrupt(func() {
		if c.final == (reply{}) {
			c.final = final
		}
		c.Conn.SetWriteDeadline(time.Now().Add(finalTimeout))
	})
}

// A connState says what a connection is doing, in the order in which connections
// are evicted if nothing else tells them apart.
type connState int

const (
	finishing      connState = iota // its final reply is due
	beforeLogin                     // the client has not begun to log in
	loggedIn                        // no data is being received
	authenticating                  // its login is being decided
	receiving                       // the data of a message, or its Forwarder's answer
)

// conduct is what decides whether a connection is evicted.
type conduct struct {
	state   connState
	overdue bool      // it should have ended, or begun to log in
	since   time.Time // how long it has been idle
}

func (c *conn) conduct(now time.Time) conduct {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.body:
		return conduct{state: receiving}
	case c.finalReply() != (reply{}):
		return conduct{state: finishing, overdue: true}
	case c.authing:
		return conduct{state: authenticating, since: c.accepted}
	case c.check == nil:
		return conduct{state: beforeLogin, overdue: now.Sub(c.accepted) >= loginGrace, since: c.accepted}
	}
	return conduct{state: loggedIn, since: c.active}
}

// drain ends the connection as soon as no message is in progress.
func (c *conn) drain() {
	c.interrupt(func() { c.draining = true })
}

// beginLogin and endLogin surround the decision on a login. check is set if it was
// successful.
func (c *conn) beginLogin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authing = true
}

func (c *conn) endLogin(check func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authing = false
	c.check, c.active = check, time.Now()
}

func (c *conn) beginTransaction(tx *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tx, c.body = tx, false
	if tx != nil {
		c.active = tx.started
	}
}

func (c *conn) beginBody(tx *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tx == tx {
		tx.bodyStarted = time.Now()
		c.body, c.received = true, 0
	}
}

func (c *conn) endBody(tx *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tx == tx {
		c.body = false
		c.active = time.Now()
	}
}
