package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// A Forwarder takes responsibility for a message, or refuses it. It is the one
// extension point of the relay: queues, signers and upstreams are all
// Forwarders, and those that do one thing before another wrap the next.
//
// Forward returns nil when it took the message for every recipient, durably
// enough for the sender to forget it. Any error means that it took the message
// for none of them, never for some:
//
//   - a [*RefusedError] names the recipients to blame, so that a queue can
//     settle those and try again with the rest;
//   - a [*ReplyError] says with which SMTP reply the client is answered;
//   - an error with a method Temporary() bool that returns false is final;
//   - an error for which [Unreachable] is true is about the next server and not
//     about this message, so that a queue can suspend the destination;
//   - every other error is worth a retry.
//
// The message and its content are only valid until Forward returns. ctx ends
// when the server is closed, and after nine minutes: the client waits for ten
// (RFC 5321 section 4.5.3.2.6). Forward is called
// from many goroutines at once.
type Forwarder interface {
	Forward(ctx context.Context, m *Message) error
}

// ForwarderFunc lets an ordinary function be a [Forwarder].
type ForwarderFunc func(ctx context.Context, m *Message) error

// Forward calls f(ctx, m).
func (f ForwarderFunc) Forward(ctx context.Context, m *Message) error { return f(ctx, m) }

// A ReplyError is an error that carries an SMTP reply (RFC 5321 section 4.2,
// RFC 3463). From a [Forwarder] or a policy function it is what the client is
// answered; from an outbound connection it is what the other server said, and
// Host is its name. Text is made safe before it is sent on: printable, one
// line, of bounded length. One with another Code than 400 to 599 counts as an
// error without a reply: the client is answered 451 4.3.0.
type ReplyError struct {
	Code     int    // 400 to 599
	Enhanced string // such as "5.1.1"; "", or one that isn't of the code's class, means X.0.0, X being the code's class
	Text     string // may be empty: then the client gets the codes only
	Host     string // the server that gave the reply; "" means this one
}

// Error returns the reply as one line, with the host in front if there is one.
func (e *ReplyError) Error() string {
	var b strings.Builder
	b.WriteString("relay: ")
	if e.Host != "" {
		b.WriteString(e.Host + " replied ")
	}
	fmt.Fprintf(&b, "%d", e.Code)
	if e.Enhanced != "" {
		b.WriteString(" " + e.Enhanced)
	}
	if e.Text != "" {
		b.WriteString(" " + e.Text)
	}
	return b.String()
}

// Temporary reports whether the same may work later: whether the reply is of
// another class than 5yz (RFC 5321 section 4.2.1).
func (e *ReplyError) Temporary() bool { return e.Code/100 != 5 }

// A RefusedError says that a message was not taken because of some of its
// recipients. Those it doesn't name were not refused, and nothing was sent to
// them either.
type RefusedError struct {
	Recipients []RefusedRecipient // at least one
}

// A RefusedRecipient is a recipient and why it was refused.
type RefusedRecipient struct {
	Address string // as in Message.To
	Err     error  // usually a *ReplyError
}

// Error names the recipients and the reasons.
func (e *RefusedError) Error() string {
	var b strings.Builder
	b.WriteString("relay: refused")
	for i, r := range e.Recipients {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %q: %v", r.Address, r.Err)
	}
	return b.String()
}

// Unwrap returns the reasons, for errors.Is and errors.As.
func (e *RefusedError) Unwrap() []error {
	errs := make([]error, len(e.Recipients))
	for i, r := range e.Recipients {
		errs[i] = r.Err
	}
	return errs
}

// Temporary reports whether any of the refusals is worth a retry.
func (e *RefusedError) Temporary() bool {
	for _, r := range e.Recipients {
		if Temporary(r.Err) {
			return true
		}
	}
	return false
}

// Temporary reports whether what failed with err is worth a retry. It is,
// unless err (or an error it wraps) says otherwise by a method
// Temporary() bool: when in doubt, mail is kept rather than given up. What
// package net says about its errors doesn't count: for it a refused connection
// is permanent.
func Temporary(err error) bool {
	var t interface{ Temporary() bool }
	if errors.As(err, &t) {
		_, network := t.(net.Error)
		return network || t.Temporary()
	}
	return true
}

// Unreachable reports whether err means that the next server was not reached, so
// that other messages for it would fail as well. An error, or an error it wraps,
// says so by a method Unreachable() bool. Without that method, a reply of 421
// (RFC 5321 section 3.8) and a temporary error of package net count.
func Unreachable(err error) bool {
	var u interface{ Unreachable() bool }
	if errors.As(err, &u) {
		return u.Unreachable()
	}
	var reply *ReplyError
	if errors.As(err, &reply) {
		return reply.Code == 421
	}
	var ne net.Error
	return errors.As(err, &ne) && Temporary(err)
}
