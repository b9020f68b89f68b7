package outbound

import (
	"errors"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
)

// window is how many bytes of commands are sent before their replies are read.
// It fits into what the systems on both sides buffer: with more, both sides
// could wait for the other to read (RFC 2920 section 3.1).
const window = 16 << 10

// A transaction is one envelope with its content on its way.
type transaction struct {
	c    *Conn
	m    *relay.Message
	to   []relay.Recipient
	b    []byte // commands not yet sent
	sent int    // recipients sent
	data bool   // DATA goes along with the last RCPT

	reached func() // called when MAIL is accepted; may be nil

	begun bool  // MAIL was sent
	lost  bool  // the connection can't be used any more
	err   error // MAIL or DATA was refused

	// Each recipient that was answered is in one of these.
	taken   []relay.Recipient
	refused []relay.RefusedRecipient
	surplus []relay.Recipient // refused because others came first: for another transaction

	full   int    // how many were taken before all others were surplus; 0 if not so
	answer string // to the content
}

// run sends the envelope and, if the server took what it has to take of it, the
// content. It returns errRefused if nothing else failed than recipients.
func (t *transaction) run() error {
	err := t.envelope()
	if err != nil {
		t.c.rejected += len(t.refused)
		if t.err != nil {
			t.c.rejected++
		}
		return err
	}
	t.answer, err = t.c.content(t.m)
	return err
}

// envelope sends MAIL, RCPT and DATA and judges the replies. With nil, the server
// waits for the content.
func (t *transaction) envelope() error {
	c := t.c
	t.b = c.appendMail(c.out[:0], t.m)
	// DATA may be pipelined only if it can't succeed when a recipient is refused:
	// after a 354 the client would have to close the connection.
	t.data = c.ext.pipelining && !c.ext.chunking && len(t.to) == 1
	for !t.done() {
		if err := t.next(); err != nil {
			return err
		}
	}
	c.out = t.b
	if err := t.refusal(); err != nil {
		if !t.lost {
			c.reset()
		}
		return err
	}
	if c.ext.chunking || t.data {
		return nil
	}
	err := c.command(Data, "DATA", 354)
	if err != nil && !isLost(err) {
		t.err = err
		c.reset()
	}
	return err
}

// reset ends a transaction of which no content was sent, so that the connection
// is good for another.
func (c *Conn) reset() { c.usable = c.command(Mail, "RSET", 250) == nil }

// done reports whether there is nothing more to send.
func (t *transaction) done() bool {
	return t.lost || t.err != nil || t.begun && t.sent == len(t.to)
}

// refusal returns why the content must not be sent; nil if it may.
func (t *transaction) refusal() error {
	switch {
	case t.err != nil:
		return t.err
	case t.m.Partial && len(t.taken) > 0:
		return nil
	case len(t.refused)+len(t.surplus) > 0:
		return errRefused
	}
	return nil
}

// next sends as many commands as may go at once and reads their replies. It
// fails only if the connection does. If a message is for all recipients or none, a
// refusal before that counts more.
func (t *transaction) next() error {
	first, step := t.sent, Rcpt
	if !t.begun {
		step = Mail
	}
	for t.sent < len(t.to) && t.room() {
		t.b = t.c.appendRcpt(t.b, &t.to[t.sent])
		t.sent++
	}
	if t.data {
		t.b = append(t.b, "DATA\r\n"...)
	}
	err := t.c.write(step, t.b)
	t.b = t.b[:0]
	if err == nil {
		err = t.replies(first)
	}
	if err != nil && t.refusal() != nil && (!t.m.Partial || len(t.to) == 1 || t.err != nil) {
		t.lost = true
		return nil
	}
	return err
}

// room reports whether another command may be sent before the replies are read.
func (t *transaction) room() bool {
	if t.c.ext.pipelining {
		return len(t.b) < window
	}
	return len(t.b) == 0
}

// replies reads the replies to what next has sent.
func (t *transaction) replies(first int) error {
	if !t.begun {
		t.begun = true
		switch err := t.c.accepted(Mail); {
		case isLost(err):
			return err
		case err != nil:
			t.err = err
		default:
			t.welcome()
		}
	}
	for i := first; i < t.sent; i++ {
		err := t.c.accepted(Rcpt)
		if isLost(err) {
			return err
		}
		if t.err == nil { // otherwise the reply says no more than that to MAIL
			t.recipient(&t.to[i], err)
		}
	}
	if !t.data {
		return nil
	}
	rp, err := t.c.read(Data)
	switch {
	case err != nil:
		return err
	case t.refusal() != nil:
		t.lost = rp.code == 354 // the server waits for content, but no recipient was taken
	case rp.code != 354:
		t.err = t.c.refuse(Data, rp)
		t.lost = isLost(t.err)
	}
	return nil
}

// welcome tells the Pool and the caller that the server has accepted MAIL. EHLO and a
// login are not enough: a server may answer them and refuse all mail (530).
func (t *transaction) welcome() {
	if t.reached != nil {
		t.reached()
	}
	if t.m.OnReached != nil {
		t.m.OnReached()
	}
}

// recipient notes the reply to a RCPT command.
func (t *transaction) recipient(r *relay.Recipient, err error) {
	switch {
	case err == nil:
		t.taken = append(t.taken, *r)
		t.full = 0
	case len(t.taken) > 0 && tooMany(err):
		if t.full == 0 {
			t.full = len(t.taken)
		}
		t.surplus = append(t.surplus, *r)
	default:
		t.refused = append(t.refused, refusedRecipient(r.Address, err))
	}
}

// unanswered returns the recipients that the server has said nothing final about:
// those after the last reply, and those it had no room for.
func (t *transaction) unanswered() []relay.Recipient {
	n := len(t.taken) + len(t.refused) + len(t.surplus)
	return append(t.surplus, t.to[n:]...)
}

// refuseSurplus returns refusals of the recipients that were too many.
func (t *transaction) refuseSurplus() []relay.RefusedRecipient {
	var refused []relay.RefusedRecipient
	for i := range t.surplus {
		err := &relay.ReplyError{Code: 452, Enhanced: "4.5.3", Text: "too many recipients", Host: t.c.host}
		refused = append(refused, relay.RefusedRecipient{Address: t.surplus[i].Address, Err: err})
	}
	return refused
}

// crowded reports whether a server that found too many recipients in the envelope
// refused the envelope for it, rather than taking those that it has room for.
func (t *transaction) crowded() bool {
	return t.m.Partial && t.err != nil && !isLost(t.err) && len(t.taken) > 0 && len(t.surplus) > 0
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

// refusedRecipient takes the server's reply out of an error. A reply that speaks
// of the number of recipients is not about this one, so it is not final (RFC 5321
// section 4.5.3.1.10).
func refusedRecipient(addr string, err error) relay.RefusedRecipient {
	var re *relay.ReplyError
	if errors.As(err, &re) {
		err = re
		if re.Code/100 == 5 && tooMany(re) {
			re.Code, re.Enhanced = 452, "4.5.3"
		}
	}
	return relay.RefusedRecipient{Address: addr, Err: err}
}

// tooMany reports whether a reply to RCPT may mean that the envelope has too many
// recipients: 452, or 552 of servers from before RFC 5321, or any reply whose
// enhanced code says so (RFC 3463 section 3.6). Without an enhanced code the reply
// may mean a full disk instead; the server then refuses the next transaction too.
func tooMany(err error) bool {
	var re *relay.ReplyError
	if !errors.As(err, &re) {
		return false
	}
	if re.Enhanced == "" {
		return re.Code == 452 || re.Code == 552
	}
	return strings.HasSuffix(re.Enhanced, ".5.3")
}
