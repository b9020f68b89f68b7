package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// An Event is something an embedder may want to count, show or act on. It is
// one of [*LoggedIn], [*LoginRefused], [*MessageAccepted], [*MessageRefused],
// [*CommandRefused], [*SessionCutOff], [*SessionEnded], [*ConnRefused] and
// [*HandshakeFailed]. Later versions may add others.
//
// Every reply of the 4yz or 5yz class to a client makes an event. A connection
// that was accepted ends with exactly one of SessionEnded and ConnRefused. No
// event holds a password. The reader must not change what an event holds.
type Event interface {
	event() (level slog.Level, what string)
	attrs() []slog.Attr
}

// A Client is the connection that an [Event] or a [PolicyRequest] is about.
type Client struct {
	// Session is the ID of the connection: 26 letters and digits. It is in every
	// event and every log line about the connection, and no two connections of
	// any node share it. A call of Server.Submit has an ID of its own, too.
	Session string

	// Remote is the client's address. It is the zero Addr if the connection is
	// not a TCP connection. For Server.Submit it is Submission.Remote.
	Remote netip.Addr

	// Identity is the SMTP user that is logged in; the zero Identity before
	// login. See LoginRefused for its meaning there.
	Identity credentials.Identity
}

// LoggedIn says that an SMTP user logged in.
type LoggedIn struct {
	Client
	Mechanism string // "PLAIN" or "LOGIN"
	TLS       string // such as "TLS 1.3"; empty without TLS
}

// LoginRefused says that a client was refused to log in. Identity is the user whose
// username the client sent: the client has not proved to be that user. It is the
// zero Identity if there is no such user, or if no user was looked up: before TLS that
// is done once a connection, if the client sends its username along with AUTH. The
// client learns neither Identity nor Cause from the reply.
type LoginRefused struct {
	Client

	// Username is what the client sent as its username. It is empty if the client
	// sent none, and "(no username)" if it does not look like a username: people
	// paste passwords there.
	Username  string
	Mechanism string // "PLAIN", "LOGIN", or empty for another
	Cause     LoginCause
	Code      int    // the SMTP reply code
	Enhanced  string // the enhanced status code (RFC 3463), such as "5.7.8"
	Reason    string // the text of the reply
}

// A LoginCause says why a login was refused. Later versions may add causes.
type LoginCause int

// The causes.
const (
	CauseUnknownUser     LoginCause = iota + 1 // there is no such user, or no longer
	CauseWrongPassword                         // the user exists; the password is wrong
	CauseNotAllowed                            // the password is right; AllowLogin refused
	CauseForeignIdentity                       // the authorization identity is not the username
	CauseNoTLS                                 // AUTH before TLS; if a password was sent, it should be reset
	CauseBusy                                  // too many logins at once, or too many wrong passwords; the password was not checked
	CauseUnavailable                           // the store or AllowLogin failed, or the connection is closing
	CauseTooManyTries                          // MaxAuthTries
	CauseTooManyConns                          // the password is right; the user has MaxConnsPerUser connections
	CauseProtocol                              // a malformed response, an unknown mechanism, AUTH out of order, or canceled
	CauseNetwork                               // the password is right, the user may not log in from there: credentials.Tenant.SetNetworks
)

// String returns the cause in words.
func (c LoginCause) String() string {
	switch c {
	case CauseUnknownUser:
		return "unknown user"
	case CauseWrongPassword:
		return "wrong password"
	case CauseNotAllowed:
		return "not allowed"
	case CauseForeignIdentity:
		return "the authorization identity is not the username"
	case CauseNoTLS:
		return "no TLS"
	case CauseBusy:
		return "too many logins at once"
	case CauseUnavailable:
		return "unavailable"
	case CauseTooManyTries:
		return "too many failed logins"
	case CauseTooManyConns:
		return "too many connections of the user"
	case CauseProtocol:
		return "protocol error"
	case CauseNetwork:
		return "network not allowed"
	}
	return fmt.Sprintf("LoginCause(%d)", int(c))
}

// MessageAccepted says that the Forwarder took a message, and that the client is
// answered 250 or Submit returns the ID.
type MessageAccepted struct {
	Client
	ID   string      // of the message
	From string      // the envelope sender
	To   []Recipient // the envelope recipients
	Size int64       // bytes, as forwarded

	// Took is how long the Forwarder took. The client waited for it.
	Took time.Duration

	Author, Subject, MessageID string // as in Message

	// LongLines is the number of lines over 998 bytes (RFC 5322 section 2.1.1).
	// Receivers may refuse such a message, or break the lines, which also breaks
	// its DKIM signatures. Package relay/reencode wraps them.
	LongLines int
}

// MessageRefused says that a message, or one recipient of it, was refused. An
// address that is malformed is made printable, and cut if it is too long.
type MessageRefused struct {
	Client
	ID   string // of the message; empty before the data
	From string // the envelope sender

	// To holds the recipients that were refused. It is empty at MAIL. At RCPT it
	// holds the one. After the data it holds those that the Forwarder named in a
	// RefusedError, otherwise all recipients of the message.
	To []string

	Field    Field  // what was refused
	Code     int    // the SMTP reply code
	Enhanced string // the enhanced status code (RFC 3463), such as "5.7.1"
	Reason   string // the text of the reply
	Size     int64  // bytes: as declared at MAIL, 0 if not; after the data as received

	// Author, Subject and MessageID are as in Message. They are empty before the
	// data and if the header cannot be parsed.
	Author, Subject, MessageID string
}

// CommandRefused says that a command other than those for logins and messages was
// refused.
type CommandRefused struct {
	Client
	Command  string // such as "STARTTLS"; empty for one the server does not know
	Code     int    // the SMTP reply code
	Enhanced string // the enhanced status code (RFC 3463), such as "5.5.1"
	Reason   string // the text of the reply, without what the client sent
}

// SessionCutOff says that a session is being ended because its login no longer
// holds. SessionEnded follows.
type SessionCutOff struct {
	Client
	Reason string // for people; its words may change
}

// SessionEnded says that a connection was closed, with what it was used for. It is
// the last event of the connection. After Server.Close it may come a moment later.
type SessionEnded struct {
	Client
	TLS string // such as "TLS 1.3"; empty without TLS

	// Code is 221 if the client said QUIT, 421 if the server ended the session,
	// and 0 if the connection ended without a reply. Reason is the text of the
	// reply, otherwise a few words.
	Code   int
	Reason string

	Duration      time.Duration // since the client connected
	Commands      int           // commands received
	Received      int64         // bytes received, without those of TLS
	LoginsRefused int           // LoginRefused events
	Accepted      int           // MessageAccepted events
	Refused       int           // MessageRefused events
}

// ConnRefused says that a client is not served, because of MaxConns or
// MaxConnsPerAddr, or because the server is shutting down.
type ConnRefused struct {
	Client
	Code   int    // the SMTP reply code: 421
	Reason string // the text of the reply
}

// HandshakeFailed says that a TLS handshake failed. SessionEnded or ConnRefused
// follows.
type HandshakeFailed struct {
	Client
	Reason string // the error, for people
}

func (*LoggedIn) event() (slog.Level, string)        { return slog.LevelInfo, "logged in" }
func (*LoginRefused) event() (slog.Level, string)    { return slog.LevelWarn, "login refused" }
func (*MessageAccepted) event() (slog.Level, string) { return slog.LevelInfo, "message accepted" }
func (e *MessageRefused) event() (slog.Level, string) {
	return e.level(slog.LevelWarn), "message refused"
}
func (e *CommandRefused) event() (slog.Level, string) {
	return e.level(slog.LevelInfo), "command refused"
}
func (*SessionCutOff) event() (slog.Level, string)   { return slog.LevelWarn, "session cut off" }
func (e *SessionEnded) event() (slog.Level, string)  { return e.level(slog.LevelInfo), "session ended" }
func (*ConnRefused) event() (slog.Level, string)     { return slog.LevelDebug, "connection refused" }
func (*HandshakeFailed) event() (slog.Level, string) { return slog.LevelDebug, "TLS handshake failed" }

// level returns the given level for a client that is logged in. Other clients get
// the debug level, so that they cannot fill the log.
func (c *Client) level(loggedIn slog.Level) slog.Level {
	if c.Identity == (credentials.Identity{}) {
		return slog.LevelDebug
	}
	return loggedIn
}

func (e *LoggedIn) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.String("mechanism", e.Mechanism), slog.String("tls", e.TLS))
}

func (e *LoginRefused) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("session", e.Session), slog.String("tenant", string(e.Identity.Tenant)),
		slog.String("username", e.Username), slog.String("remote", addrText(e.Remote)), slog.String("mechanism", e.Mechanism),
		slog.String("cause", e.Cause.String()), slog.Int("code", e.Code), slog.String("reason", e.Reason),
	}
}

func (e *MessageAccepted) attrs() []slog.Attr {
	attrs := append(e.Client.attrs(), slog.String("id", e.ID),
		slog.String("from", e.From), slog.Int("recipients", len(e.To)), slog.Int64("size", e.Size), slog.Duration("took", e.Took))
	if e.LongLines > 0 {
		attrs = append(attrs, slog.Int("long_lines", e.LongLines))
	}
	return attrs
}

func (e *MessageRefused) attrs() []slog.Attr {
	to := ""
	if len(e.To) > 0 {
		to = e.To[0]
	}
	return append(e.Client.attrs(), slog.String("id", e.ID), slog.String("from", e.From), slog.String("to", to),
		slog.Int("recipients", len(e.To)), slog.String("field", string(e.Field)), slog.Int("code", e.Code), slog.String("reason", e.Reason))
}

func (e *CommandRefused) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.String("command", e.Command), slog.Int("code", e.Code), slog.String("reason", e.Reason))
}

func (e *SessionCutOff) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.String("reason", e.Reason))
}

func (e *SessionEnded) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.String("tls", e.TLS), slog.Int("code", e.Code), slog.String("reason", e.Reason),
		slog.Duration("duration", e.Duration), slog.Int("commands", e.Commands), slog.Int64("received", e.Received),
		slog.Int("logins_refused", e.LoginsRefused), slog.Int("accepted", e.Accepted), slog.Int("refused", e.Refused))
}

func (e *ConnRefused) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.Int("code", e.Code), slog.String("reason", e.Reason))
}

func (e *HandshakeFailed) attrs() []slog.Attr {
	return append(e.Client.attrs(), slog.String("reason", e.Reason))
}

func (c *Client) attrs() []slog.Attr {
	return append(make([]slog.Attr, 0, 13), slog.String("session", c.Session), slog.String("tenant", string(c.Identity.Tenant)),
		slog.String("username", c.Identity.Username), slog.String("remote", addrText(c.Remote)))
}

// addrText returns an address for the log, or "" if there is none: mail of Submit comes
// over no connection.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// emit counts an event, logs it and calls OnEvent.
func (s *Server) emit(e Event) {
	s.counters.count(e)
	level, what := e.event()
	if l := s.logger(); l.Enabled(s.ctx, level) {
		l.LogAttrs(s.ctx, level, "relay: "+what, e.attrs()...)
	}
	if s.OnEvent == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("OnEvent", p)
		}
	}()
	s.OnEvent(e)
}

func (s *Server) logPanic(where string, p any, attrs ...slog.Attr) {
	s.logger().LogAttrs(context.Background(), slog.LevelError, "relay: panic in "+where,
		append(attrs, slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))...)
}

// printableUsername replaces what cannot be a username: people paste their
// password there.
func printableUsername(s string) string {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') || len(s) > 64 {
			return "(no username)"
		}
	}
	return s
}
