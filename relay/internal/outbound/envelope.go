package outbound

import (
	"errors"

	"github.com/gatepost-mail/gatepost/relay"
)

// window is how many bytes of commands are sent before their replies are read.
// It fits into what the systems on both sides buffer: with more, both sides
// could wait for the other to read (RFC 2920 section 3.1).
const window = 16 << 10

// envelope sends MAIL, RCPT and DATA and judges the replies. With nil, the server
// waits for the content.
func (c *Conn) envelope(m *relay.Message) error {
	f := flight{c: c, m: m, b: c.appendMail(c.out[:0], m)}
	// DATA may go along only if it can't succeed when a recipient is refused:
	// after a 354 for some of them there is no way back but to hang up.
	f.data = c.ext.pipelining && !c.ext.chunking && len(m.To) == 1
	for !f.done() {
		if err := f.next(); err != nil {
			return err
		}
	}
	c.out = f.b
	if err := f.refusal(); err != nil {
		if !f.lost {
			c.reset()
		}
		return err
	}
	if c.ext.chunking || f.data {
		return nil
	}
	err := c.command(Data, "DATA", 354)
	if err != nil && !isLost(err) {
		c.reset()
	}
	return err
}

// reset ends a transaction of which nothing was sent, so that the connection is
// good for another.
func (c *Conn) reset() { c.usable = c.command(Mail, "RSET", 250) == nil }

// A flight is an envelope on its way.
type flight struct {
	c    *Conn
	m    *relay.Message
	b    []byte // commands not yet sent
	sent int    // recipients sent
	data bool   // DATA goes along

	begun   bool  // MAIL was sent
	lost    bool  // the connection is of no more use
	err     error // MAIL or DATA was refused
	refused []relay.RefusedRecipient
}

// done reports whether there is nothing more to send.
func (f *flight) done() bool { return f.lost || f.err != nil || f.begun && f.sent == len(f.m.To) }

// refusal returns what the server refused; nil if nothing.
func (f *flight) refusal() error {
	if f.err == nil && f.refused != nil {
		return &relay.RefusedError{Recipients: f.refused}
	}
	return f.err
}

// next sends as many commands as may go at once and reads their replies. It
// fails only if the connection does, and nothing was refused before.
func (f *flight) next() error {
	first, step := f.sent, Rcpt
	if !f.begun {
		step = Mail
	}
	for f.sent < len(f.m.To) && f.room() {
		f.b = f.c.appendRcpt(f.b, &f.m.To[f.sent])
		f.sent++
	}
	if f.data {
		f.b = append(f.b, "DATA\r\n"...)
	}
	err := f.c.write(step, f.b)
	f.b = f.b[:0]
	if err == nil {
		err = f.replies(first)
	}
	if err != nil && f.refusal() != nil {
		f.lost = true // it refused something and hung up: the refusal is what counts
		return nil
	}
	return err
}

// room reports whether another command may be sent before the replies are read.
func (f *flight) room() bool {
	if f.c.ext.pipelining {
		return len(f.b) < window
	}
	return len(f.b) == 0
}

// replies reads the replies to what next has sent.
func (f *flight) replies(first int) error {
	if !f.begun {
		f.begun = true
		if err := f.c.accepted(Mail); isLost(err) {
			return err
		} else if err != nil {
			f.err = err
		}
	}
	for i := first; i < f.sent; i++ {
		err := f.c.accepted(Rcpt)
		if isLost(err) {
			return err
		}
		if err != nil {
			f.refused = append(f.refused, refusedRecipient(f.m.To[i].Address, err))
		}
	}
	if !f.data {
		return nil
	}
	rp, err := f.c.read(Data)
	switch {
	case err != nil:
		return err
	case f.refusal() != nil:
		f.lost = rp.code == 354 // it wants content for nobody; we have none
	case rp.code != 354:
		f.err = f.c.refuse(Data, rp)
	}
	return nil
}

// accepted reads a reply that is 2yz if all is well.
func (c *Conn) accepted(step Step) error {
	rp, err := c.read(step)
	if err == nil && rp.code/100 != 2 {
		err = c.refuse(step, rp)
	}
	return err
}

// isLost reports whether err is the end of the connection.
func isLost(err error) bool {
	if err == nil {
		return false
	}
	var e *Error
	return errors.As(err, &e) && e.Lost
}

// refusedRecipient takes the server's reply out of an error. A 552 that doesn't
// speak of the mailbox means too many recipients, and that is not for good (RFC
// 5321 section 4.5.3.1.10).
func refusedRecipient(addr string, err error) relay.RefusedRecipient {
	var re *relay.ReplyError
	if errors.As(err, &re) {
		err = re
		if re.Code == 552 && (re.Enhanced == "" || re.Enhanced == "5.5.3") {
			re.Code, re.Enhanced = 452, "4.5.3"
		}
	}
	return relay.RefusedRecipient{Address: addr, Err: err}
}
