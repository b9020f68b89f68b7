package relay

import "time"

// This file holds the deadlines of a conn and the ways to end it.

// arm sets the deadlines of the next read. If the connection is to end, it returns
// the final reply instead. It holds mu for both, so that no interrupt is lost.
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
	// TLS may write while it reads, to answer a KeyUpdate (RFC 8446 section
	// 4.6.3). The write deadline of the last flush may have passed.
	c.Conn.SetWriteDeadline(deadline.Add(writeTimeout))
	return reply{}
}

// armWrite sets the deadline of the next write. It holds mu, so that it does not
// replace the shorter deadline of end.
func (c *conn) armWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	timeout := writeTimeout
	if c.final != (reply{}) || c.refused {
		timeout = finalTimeout
	}
	c.Conn.SetWriteDeadline(time.Now().Add(timeout))
}

// armHandshake sets the deadline of the TLS handshake. It returns false if the
// connection is to end instead.
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

// expired is called when a read has timed out. It returns the final reply if a
// deadline has passed or the connection was interrupted. Otherwise it checks the
// login and returns the zero reply. A connection that is to end skips the check:
// the store may be slow, and Shutdown ends all connections at once.
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

// deadline returns the time until which the client has to send more, and the
// reason to give it if it does not. The caller must hold mu.
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
		floor := time.Duration(min(float64(c.received)/float64(s.minBodyRate())*float64(time.Second), noLimit))
		earlier(c.tx.bodyStarted.Add(s.idleTimeout()+floor), "the message came in too slowly")
	}
	return t, what
}

// finalReply returns the reply with which the connection is to end now, or the
// zero reply. The caller must hold mu.
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

// interrupt runs change with mu held and makes a blocked Read return, which then
// sees the change. If the connection is to end, it also cancels a login.
func (c *conn) interrupt(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.cancel != nil && c.finalReply() != (reply{}) {
		c.cancel()
	}
	c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// end makes Read send a final reply and close the connection, as soon as the
// command in progress is done. The reply of the first call is sent. If the client
// does not read, the connection is closed after finalTimeout.
func (c *conn) end(final reply) {
	c.interrupt(func() {
		if c.final == (reply{}) {
			c.final = final
		}
		c.Conn.SetWriteDeadline(time.Now().Add(finalTimeout))
	})
}

// drain ends the connection as soon as no message is in progress.
func (c *conn) drain() {
	c.interrupt(func() { c.draining = true })
}

// beginLogin is called before a login is decided, and endLogin after it. If the
// login succeeded, check is the function that checks whether it is still valid.
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
