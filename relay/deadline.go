package relay

import "time"

// How long a conn may last, and who ends it: what conn.Read has to know of the
// session for that.

// arm sets the deadlines of the next read, or returns the reply with which to
// end instead. Both under mu, so that an interrupt can't fall in between.
func (c *conn) arm() (bye string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bye = c.goodbye(); bye != "" {
		return bye
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
	return ""
}

// armWrite sets the deadline of the next write, under mu, so that it can't undo
// that of end.
func (c *conn) armWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	timeout := writeTimeout
	if c.farewell != "" {
		timeout = byeTimeout
	}
	c.Conn.SetWriteDeadline(time.Now().Add(timeout))
}

// armHandshake sets the deadline of the TLS handshake, or reports that the
// connection is to end instead. Under mu, as arm.
func (c *conn) armHandshake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goodbye() != "" {
		return false
	}
	timeout := c.srv.loginTimeout()
	if c.refused {
		timeout = min(timeout, refusalTimeout)
	}
	c.Conn.SetDeadline(c.accepted.Add(timeout))
	return true
}

// expired is called when a read timed out: for good, because somebody
// interrupted it, or only to look whether the login still holds. To go needs no
// look: the store may be slow, and every session may have to go at once.
func (c *conn) expired() (bye string) {
	c.mu.Lock()
	bye = c.goodbye()
	deadline, what := c.deadline()
	check := c.check
	if c.body {
		check = nil
	}
	c.mu.Unlock()
	switch {
	case bye != "":
		return bye
	case !time.Now().Before(deadline):
		return "421 4.4.2 " + what + "\r\n"
	case check != nil:
		check()
	}
	return ""
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

// goodbye returns the reply with which the connection is to end now, if it is.
// The caller holds mu.
func (c *conn) goodbye() string {
	if c.farewell == "" && c.draining && c.tx == nil {
		return replyShutdown.line()
	}
	return c.farewell
}

// interrupt runs change under mu and wakes the reader, which then sees it.
func (c *conn) interrupt(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// end makes the reader say reply and hang up, once it has nothing to do. It
// doesn't wait long for a client that doesn't read.
func (c *conn) end(reply reply) {
	c.interrupt(func() {
		c.farewell = reply.line()
		c.Conn.SetWriteDeadline(time.Now().Add(byeTimeout))
	})
}

// isIdler reports whether the client has not logged in, and may stay so far.
func (c *conn) isIdler() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.check == nil && c.farewell == ""
}

// drain ends the connection as soon as no message is in progress.
func (c *conn) drain() {
	c.interrupt(func() { c.draining = true })
}

func (c *conn) loggedIn(check func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.check = check
}

func (c *conn) beginTransaction(tx *transaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tx, c.body = tx, false
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
	}
}
