package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// A Step is a part of the conversation with a server.
type Step int

// The steps, in their order.
const (
	Connect Step = iota
	Handshake
	Greeting
	Hello
	StartTLS
	Auth
	Mail
	Rcpt
	Data
	Content
	End // the final dot or the last chunk, and the answer to it
)

var stepNames = [...]string{
	"connecting", "TLS handshake", "greeting", "EHLO", "STARTTLS", "AUTH",
	"MAIL", "RCPT", "DATA", "content", "end of data",
}

// String returns what the step is called in errors.
func (s Step) String() string { return stepNames[s] }

// An Error says which server failed, and at which step.
type Error struct {
	Host string
	Step Step

	// Err is the cause: a *relay.ReplyError if the server refused the
	// message. A reply about this client or about the connection (before the
	// first message, a 421, a 530) is only text in Err, because it must not
	// become an answer to the message's sender.
	Err error

	// Reply is what the server said, if it said anything, also where Err is
	// only text.
	Reply *relay.ReplyError

	// Lost means that the connection failed, not that the server said no.
	Lost bool

	// Closing means that the server said 421 (RFC 5321 section 3.8).
	Closing bool

	// Unknown means that the server may have taken the message.
	Unknown bool

	challenge bool // the reply is 334 (RFC 4954 section 4)
}

// ErrNoTLS is the cause if the server does not offer STARTTLS and TLS is required.
var ErrNoTLS = errors.New("the server doesn't offer it")

// Error names the server, the step and the cause.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s: %s", e.Host, e.Step, causeText(e.Err))
	if e.Unknown {
		text += " (whether the message was taken is unknown)"
	}
	return text
}

// causeText is the text of a cause, without repeating the host.
func causeText(err error) string {
	var re *relay.ReplyError
	if !errors.As(err, &re) {
		return err.Error()
	}
	text := fmt.Sprintf("the server replied %d", re.Code)
	if re.Enhanced != "" {
		text += " " + re.Enhanced
	}
	if re.Text != "" {
		text += " " + re.Text
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ServerReply returns what the server said, or nil. In contrast to a
// *relay.ReplyError in the chain of errors it may be about the connection.
func (e *Error) ServerReply() *relay.ReplyError { return e.Reply }

// Temporary reports whether the message is worth another try: it is, unless the
// server refused it for good. The Temporary methods of other causes don't count: a
// refused TCP connection calls itself permanent.
func (e *Error) Temporary() bool {
	var re *relay.ReplyError
	return e.Lost || !errors.As(e.Err, &re) || re.Temporary()
}

// Unreachable reports whether the server was not reached, so that every message
// for it would fail: at connecting, the greeting, EHLO, TLS or the login. A later
// failure is about the message. If the server is gone, the next message can't
// connect.
func (e *Error) Unreachable() bool { return e.Step < Mail }

// Silent reports whether the server did not answer in time.
func (e *Error) Silent() bool {
	var t interface{ Timeout() bool }
	return e.Lost && errors.As(e.Err, &t) && t.Timeout() &&
		!errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled)
}

// Throttled reports whether err says that the site wants less mail, or fewer
// connections, from us.
func Throttled(err error) bool { return slowdown(err) != nil }

// resendable reports whether err means that a connection failed before the
// server could have taken the message.
func resendable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Lost && e.Step < End
}

// final returns a refusal of our own making.
func final(code int, enhanced, text string) error {
	return &relay.ReplyError{Code: code, Enhanced: enhanced, Text: text}
}

// fail makes an Error of the error that a step of the connection ended with. The
// connection is not used again.
func (c *Conn) fail(step Step, err error) error {
	c.usable = false
	switch ctxErr := c.contextErr(); {
	case ctxErr != nil:
		err = ctxErr
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = timeoutError(c.times.of(step))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		err = errHungUp
	}
	return &Error{Host: c.host, Step: step, Err: err, Lost: true, Unknown: step == End}
}

// errHungUp is the cause when the server closes or resets a connection.
var errHungUp = errors.New("the server closed the connection")

// A timeoutError says how long the client waited.
type timeoutError time.Duration

func (e timeoutError) Error() string { return fmt.Sprintf("no answer within %v", time.Duration(e)) }
func (e timeoutError) Timeout() bool { return true }

// refuse makes an Error of a reply that the step did not expect.
func (c *Conn) refuse(step Step, rp reply) error {
	re := rp.asError(c.host)
	if re == nil {
		c.usable = false
		err := fmt.Errorf("unexpected reply %d %q", rp.code, safeText(rp.text))
		return &Error{Host: c.host, Step: step, Err: err, Lost: true, Unknown: step == End, challenge: rp.code == 334}
	}
	lost := rp.code == 421 // RFC 5321 section 3.8: the server closes the channel
	if lost {
		c.usable = false
	}
	if rp.code == 530 { // RFC 4954 section 6: the server requires a login
		if step >= Mail && strings.Contains(re.Text, "@") { // it names an address, and all tenants read it
			re.Text = ""
		}
		step = Auth
	}
	if step < Mail || lost {
		return &Error{Host: c.host, Step: step, Err: errors.New(causeText(re)), Reply: re, Lost: lost, Closing: lost}
	}
	return &Error{Host: c.host, Step: step, Err: re, Reply: re}
}

// contextErr returns why the context of the current call ended; nil if it
// hasn't.
func (c *Conn) contextErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		return nil
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.expired() {
		return context.DeadlineExceeded // ctx itself ends within moments
	}
	return nil
}
