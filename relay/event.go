package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"

	"github.com/gatepost-mail/gatepost/credentials"
)

// An Event is something an embedder may want to count, show or act on. It is
// one of [*LoggedIn], [*LoginRefused], [*MessageAccepted], [*MessageRefused] and
// [*SessionCutOff]. None holds a secret. Later versions may add others.
type Event interface {
	event() (level slog.Level, what string)
	attrs() []slog.Attr
}

// LoggedIn says that an SMTP user logged in.
type LoggedIn struct {
	Identity  credentials.Identity
	Remote    netip.Addr // the client's address
	Mechanism string     // "PLAIN" or "LOGIN"
	TLS       string     // such as "TLS 1.3"; empty without TLS
}

// LoginRefused says that a login failed, and why. The client is not told.
type LoginRefused struct {
	Username  string // what the client called itself, if it looks like a username
	Remote    netip.Addr
	Mechanism string
	Reason    string // for people; its words may change
}

// MessageAccepted says that the Forwarder took a message and the client is
// answered 250.
type MessageAccepted struct {
	ID         string
	Identity   credentials.Identity
	Remote     netip.Addr
	From       string // the envelope sender
	Recipients int
	Size       int64 // bytes, as forwarded
}

// MessageRefused says that a message, or one recipient of it, was refused. An
// address that is malformed is made printable, and cut if it is too long.
type MessageRefused struct {
	ID       string // empty before the data
	Identity credentials.Identity
	Remote   netip.Addr
	From     string // the envelope sender
	To       string // the recipient, if it was that; of several, the one in Reason

	// Field is what was refused: "MAIL FROM", "RCPT TO", "From", "Sender" or
	// "data".
	Field  string
	Code   int    // the SMTP reply code
	Reason string // the reply's text
}

// SessionCutOff says that a session was ended because its login no longer holds.
type SessionCutOff struct {
	Identity credentials.Identity
	Remote   netip.Addr
	Reason   string // for people; its words may change
}

func (*LoggedIn) event() (slog.Level, string)        { return slog.LevelInfo, "logged in" }
func (*LoginRefused) event() (slog.Level, string)    { return slog.LevelWarn, "login refused" }
func (*MessageAccepted) event() (slog.Level, string) { return slog.LevelInfo, "message accepted" }
func (*MessageRefused) event() (slog.Level, string)  { return slog.LevelWarn, "message refused" }
func (*SessionCutOff) event() (slog.Level, string)   { return slog.LevelWarn, "session cut off" }

func (e *LoggedIn) attrs() []slog.Attr {
	return append(who(e.Identity, e.Remote), slog.String("mechanism", e.Mechanism), slog.String("tls", e.TLS))
}

func (e *LoginRefused) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("username", e.Username), slog.String("remote", e.Remote.String()),
		slog.String("mechanism", e.Mechanism), slog.String("reason", e.Reason),
	}
}

func (e *MessageAccepted) attrs() []slog.Attr {
	return append(who(e.Identity, e.Remote), slog.String("id", e.ID),
		slog.String("from", e.From), slog.Int("recipients", e.Recipients), slog.Int64("size", e.Size))
}

func (e *MessageRefused) attrs() []slog.Attr {
	return append(who(e.Identity, e.Remote), slog.String("id", e.ID), slog.String("from", e.From),
		slog.String("to", e.To), slog.String("field", e.Field), slog.Int("code", e.Code), slog.String("reason", e.Reason))
}

func (e *SessionCutOff) attrs() []slog.Attr {
	return append(who(e.Identity, e.Remote), slog.String("reason", e.Reason))
}

func who(id credentials.Identity, remote netip.Addr) []slog.Attr {
	return append(make([]slog.Attr, 0, 12), slog.String("tenant", string(id.Tenant)),
		slog.String("username", id.Username), slog.String("remote", remote.String()))
}

// emit logs an event and tells the embedder.
func (s *Server) emit(e Event) {
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

func (s *Server) logPanic(where string, p any) {
	s.logger().LogAttrs(context.Background(), slog.LevelError, "relay: panic in "+where,
		slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
}

// printableUsername keeps out of the log what is no username: people do paste
// their password there.
func printableUsername(s string) string {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') || len(s) > 64 {
			return "(no username)"
		}
	}
	return s
}
