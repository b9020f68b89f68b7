package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// An Event is what became of one recipient of a message. It is one of
// [*Queued], [*Delivered], [*Deferred], [*Bounced], [*Expired], [*Held], [*Released],
// [*Retried], [*Canceled], [*Suspended] and [*Resumed].
// Events are sent after the Spool has recorded what they say. If Settle failed and
// was retried, another node may have taken the delivery in between; both nodes then
// send an event. Later versions may add others.
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
	Size      int64     // bytes of content
	Received  time.Time // when the message was accepted

	// NoticeOf is the ID of the message that this one reports to its sender;
	// empty if this is not a notice of the Queue's own.
	NoticeOf string
}

// Queued says that a message was accepted for a recipient, and is durable.
type Queued struct{ Subject }

// Delivered says that the next server has taken a message for a recipient. If the
// server's answer is not known, Reply has the Code 0.
type Delivered struct {
	Subject
	Reply store.Reply
}

// Deferred says that a recipient has to wait for the next attempt. If its sender was
// told of the delay while its destination is suspended, Attempt doesn't grow, and
// Reason is why the destination is suspended. If [store.IsInternal] is true of the Reason,
// it and the Reply are for the operator: tenants may read [store.PublicReason] of it.
type Deferred struct {
	Subject
	Reason  string // why, in one line
	Reply   store.Reply
	Next    time.Time // when it is tried again
	Attempt int       // how often it was tried so far

	untried   bool // its destination is suspended
	uncounted bool // the attempt does not count
}

// Bounced says that a recipient was given up because it was refused for good:
// a hard bounce.
type Bounced struct {
	Subject
	Reason string // why, in one line
	Reply  store.Reply
}

// Expired says that a recipient was given up after temporary failures, because
// the message has become too old: a soft bounce.
type Expired struct {
	Subject
	Reason  string // of the last failure, in one line
	Reply   store.Reply
	Attempt int // how often it was tried
}

// Held says that a delivery stays in the Spool until a person releases or cancels it:
// a person wants that, or it can't be worked on, for instance because its content is
// missing or the process died each time it was tried.
type Held struct {
	Subject
	Reason string
	By     string // the person; "" if the Queue found that it can't be worked on
}

func (e *Queued) event() (slog.Level, string)    { return slog.LevelDebug, "queued" }
func (e *Delivered) event() (slog.Level, string) { return slog.LevelInfo, "delivered" }
func (e *Deferred) event() (slog.Level, string) {
	if e.untried { // one line says that its destination is suspended
		return slog.LevelDebug, "deferred"
	}
	return slog.LevelInfo, "deferred"
}
func (e *Bounced) event() (slog.Level, string) { return slog.LevelWarn, "bounced" }
func (e *Expired) event() (slog.Level, string) { return slog.LevelWarn, "expired" }

func (e *Held) event() (slog.Level, string) {
	if e.By != "" {
		return slog.LevelInfo, "held"
	}
	return slog.LevelError, "held"
}

func (s *Subject) attrs() []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 10), slog.String("id", s.ID), slog.String("tenant", string(s.Tenant)),
		slog.String("username", s.Username), slog.String("from", s.From), slog.String("to", s.Recipient))
	if s.NoticeOf != "" {
		attrs = append(attrs, slog.String("notice_of", s.NoticeOf))
	}
	return attrs
}

func (e *Delivered) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("host", e.Reply.Host), slog.String("reply", e.Reply.String()))
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

func (e *Held) attrs() []slog.Attr {
	attrs := append(e.Subject.attrs(), slog.String("reason", e.Reason))
	if e.By != "" {
		attrs = append(attrs, slog.String("by", e.By))
	}
	return attrs
}

func subject(m *store.Mail, recipient string) Subject {
	return Subject{
		ID: m.ID, Tenant: m.Tenant, Domain: m.Domain, Username: m.Username, From: m.From, Recipient: recipient,
		Size: m.Size, Received: m.Received, NoticeOf: noticeOf(m),
	}
}

// emit counts an event, logs it and tells the embedder.
func (q *Queue) emit(e Event) {
	q.counters.count(e, q.now())
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
