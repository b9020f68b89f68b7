package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// A Forwarder takes responsibility for a message, or refuses it. It is the one
// extension point of the relay: queues, signers and upstreams are all
// Forwarders, and those that do one thing before another wrap the next.
//
// Forward returns nil when it took the message for every recipient, durably
// enough for the sender to forget it. Any error means that it took the message
// for none of them, with one exception, the first of these:
//
//   - a [*RefusedError] names recipients and why each was refused. If its Partial
//     is set, the Forwarder took the message for all the other recipients; that is
//     allowed only if [Message].Partial is set.
//   - a [*BusyError] means that the Forwarder has no slot for the message now;
//     that is allowed only if [Message].NoWait is set.
//   - a [*TakenError] means that the Forwarder took the same message before; that is
//     allowed only if [Message].Key is set. The client is answered as it was then.
//   - a [*ReplyError] says with which SMTP reply the client is answered;
//   - an error with a method Temporary() bool that returns false is final;
//   - an error for which [Unreachable] is true is about the next server and not
//     about this message, so that a queue can suspend the destination;
//   - an error for which [Internal] is true is about a server of the operator's own, so
//     that a queue keeps its text from tenants;
//   - every other error is worth a retry.
//
// A Forwarder may have a method Check() error, see [CheckForwarder].
//
// The message and its content are only valid until Forward returns. ctx ends
// when the server is closed, and after nine minutes: the client waits for ten
// (RFC 5321 section 4.5.3.2.6). Forward is called
// from many goroutines at once.
type Forwarder interface {
	Forward(ctx context.Context, m *Message) error
}

// CheckForwarder returns what is wrong with the fields of f, if f has a method Check()
// error. Such a method looks at fields only: it reads no file, and asks neither a database
// nor the network. A [Server] calls CheckForwarder before it serves, and a queue before it
// runs, so that a mistake is not found by the first message. A Forwarder that wraps another
// calls it for the other.
func CheckForwarder(f Forwarder) error {
	if c, ok := f.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
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

// A RefusedError names the recipients that a message was refused for.
type RefusedError struct {
	Recipients []RefusedRecipient // at least one

	// Partial means that the Forwarder took the message for every recipient
	// that Recipients does not name. Without it the Forwarder took the message
	// for none. Only an answer to a [Message] with Partial may have it.
	Partial bool
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

// Unreachable returns false: a server that refuses recipients was reached.
func (e *RefusedError) Unreachable() bool { return false }

// A BusyError says that a [Forwarder] has no slot for a message: all connections
// that it may have to the site are in use, the rate limit is reached, or the site
// asked for a pause. The message was not tried. A caller that gets it, such as a
// queue, should hand on no more messages for that site until Free is closed.
type BusyError struct {
	// Site names the group of servers that is busy. A Forwarder that delivers
	// to several sites gives each a name of its own.
	Site string

	// Free is closed when a slot may be free. Several callers may wait for it;
	// those that then find no slot get another BusyError. Nil means that the
	// message can be tried again after Wait, and need not be kept in memory.
	Free <-chan struct{}

	// Wait is how long it takes at least until Free is closed. Zero means that
	// this is not known, because it depends on other messages.
	Wait time.Duration

	// Err is why the site wants a pause: a [*ReplyError] to this message, or an
	// error without the reply if that was to another message, because tenants
	// read Err. Nil means that the limits of the Forwarder are the reason.
	Err error
}

// Error names the site and the reason.
func (e *BusyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("relay: %s is busy: %v", e.Site, e.Err)
	}
	return fmt.Sprintf("relay: %s is busy", e.Site)
}

// Unwrap returns Err.
func (e *BusyError) Unwrap() error { return e.Err }

// Temporary returns true.
func (e *BusyError) Temporary() bool { return true }

// Unreachable returns false: the site was reached, or was not tried.
func (e *BusyError) Unreachable() bool { return false }

// Temporary reports whether what failed with err is worth a retry. It is,
// unless err (or an error it wraps) says otherwise by a method
// Temporary() bool: when in doubt, mail is kept rather than given up. The Temporary
// methods of package net don't count: there a refused connection is permanent.
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
// says so by a method Unreachable() bool. Without that method, a temporary error of
// package net counts, but no reply does: a server that replies was reached.
func Unreachable(err error) bool {
	var u interface{ Unreachable() bool }
	if errors.As(err, &u) {
		return u.Unreachable()
	}
	var ne net.Error
	return errors.As(err, &ne) && Temporary(err)
}

// Internal reports whether err is about a server of the operator's own, such as a
// smarthost that refuses the login, and not about the message or the recipient's
// server. An error, or an error it wraps, says so by a method Internal() bool. The
// text of such an error has hosts and settings, so tenants must not read it.
func Internal(err error) bool {
	var i interface{ Internal() bool }
	return errors.As(err, &i) && i.Internal()
}
