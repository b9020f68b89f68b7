package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// An Event is what became of one recipient of a message. It is one of
// [*Queued], [*Delivered], [*Deferred], [*Bounced], [*Expired] and [*SetAside].
// Events are sent once the Spool has recorded what they say. When it has failed and
// was asked again, it may be that another node had the recipient meanwhile; then both
// send one. Later versions may add others.
type Event interface {
	event() (level slog.Level, what string)
	attrs() []slog.Attr
}

// A Subject is the recipient an [Event] is about, and its message.
type Subject struct {
	ID        string // of the message
	Tenant    store.TenantID
	Domain    string
	Username  string // the SMTP user that sent it
	From      string // the envelope sender; empty for a bounce
	Recipient string
}

// Queued says that a message was accepted for a recipient, and is durable.
type Queued struct{ Subject }

// Delivered says that the next server has taken a message for a recipient.
type Delivered struct {
	Subject
	Host  string // the server that took it, if it is known
	Reply string // what it said
}

// Deferred says that a recipient has to wait for the next attempt. While its
// destination is closed that comes with each time it would have been tried:
// Attempt doesn't grow then, and Reason is why the destination is closed.
type Deferred struct {
	Subject
	Reason  string
	Next    time.Time // when it is tried again
	Attempt int       // how often it was tried so far

	untried bool
}

// Bounced says that a recipient was given up because it was refused for good:
// a hard bounce.
type Bounced struct {
	Subject
	Reason string
}

// Expired says that a recipient was given up after temporary failures, because
// the message has become too old: a soft bounce.
type Expired struct {
	Subject
	Reason  string // of the last failure
	Attempt int    // how often it was tried
}

// SetAside says that the Spool has a delivery that can't be worked on, as when
// its content is missing. It stays there, held, until somebody looks at it.
type SetAside struct {
	Subject
	Reason string
}

func (e *Queued) event() (slog.Level, string)    { return slog.LevelDebug, "queued" }
func (e *Delivered) event() (slog.Level, string) { return slog.LevelInfo, "delivered" }
func (e *Deferred) event() (slog.Level, string) {
	if e.untried { // one line says that its destination is closed
		return slog.LevelDebug, "deferred"
	}
	return slog.LevelInfo, "deferred"
}
func (e *Bounced) event() (slog.Level, string)  { return slog.LevelWarn, "bounced" }
func (e *Expired) event() (slog.Level, string)  { return slog.LevelWarn, "expired" }
func (e *SetAside) event() (slog.Level, string) { return slog.LevelError, "set aside" }

func (s *Subject) attrs() []slog.Attr {
	return append(make([]slog.Attr, 0, 8), slog.String("id", s.ID), slog.String("tenant", string(s.Tenant)),
		slog.String("username", s.Username), slog.String("from", s.From), slog.String("to", s.Recipient))
}

func (e *Delivered) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("host", e.Host), slog.String("reply", e.Reply))
}

func (e *Deferred) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("reason", e.Reason), slog.Time("next", e.Next), slog.Int("attempt", e.Attempt))
}

func (e *Bounced) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("reason", e.Reason))
}

func (e *Expired) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("reason", e.Reason), slog.Int("attempt", e.Attempt))
}

func (e *SetAside) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("reason", e.Reason))
}

func subject(m *store.Mail, recipient string) Subject {
	return Subject{ID: m.ID, Tenant: m.Tenant, Domain: m.Domain, Username: m.Username, From: m.From, Recipient: recipient}
}

// emit logs an event and tells the embedder.
func (q *Queue) emit(e Event) {
	level, what := e.event()
	if l := q.logger(); l.Enabled(context.Background(), level) {
		l.LogAttrs(context.Background(), level, "queue: "+what, e.attrs()...)
	}
	if q.OnEvent == nil {
		return
	}
	defer q.recovered("OnEvent")
	q.OnEvent(e)
}
