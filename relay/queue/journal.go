package queue

import (
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is about what Queue.Record keeps: an event for each recipient that is
// accepted, in the step of Put, and one for what becomes of it, in the step of Settle.

// records reports whether events about a mail are recorded. A mail without a user and a
// sender is a report that came back, passed on by [bounces.Receiver]: it is not mail of
// the tenant, and must not count as such.
func (q *Queue) records(m *store.Mail) bool {
	return q.Record && !m.Notice && (m.Username != "" || m.From != "")
}

// accepted returns the events of a message that is put. A recipient whose destination
// is suspended waits from the start.
func (q *Queue) accepted(m *store.Mail, ds []store.Delivery, msg *relay.Message) []store.Event {
	if !q.records(m) {
		return nil
	}
	events := make([]store.Event, 0, len(ds))
	for i := range ds {
		e := q.eventOf(store.EventAccepted, m, &ds[i])
		e.Author, e.MessageID = mailtext.Clip(msg.Author, maxField), mailtext.Clip(msg.MessageID, maxField)
		if !q.NoSubjects {
			e.Subject = mailtext.Clip(msg.Subject, maxSubject)
		}
		e.Attempt, e.Grants = 0, msg.Grants
		events = append(events, e)
		if o := q.dispatcher.outage(ds[i].Destination); o != nil {
			events = append(events, q.waiting(m, &ds[i], reasonOf(o.cause)))
		}
	}
	return events
}

// The most bytes of fields that a sender has written. A Spool may refuse more.
const (
	maxField   = 1024
	maxSubject = 255
)

// journaled returns what is recorded of an event about a delivery, as it was before
// the outcome. It returns the zero Event if nothing is.
func (q *Queue) journaled(m *store.Mail, d *store.Delivery, e Event) (kept store.Event) {
	if !q.records(m) {
		return store.Event{}
	}
	switch e := e.(type) {
	case *Delivered:
		kept = q.eventOf(store.EventDelivered, m, d)
		kept.Reply = e.Reply
	case *Deferred:
		return q.deferred(m, d, e)
	case *Bounced:
		kept = q.eventOf(store.EventHardBounced, m, d)
		explain(&kept, e.Reason, e.Reply)
	case *Expired:
		kept = q.eventOf(store.EventSoftBounced, m, d)
		kept.Attempt = e.Attempt
		explain(&kept, e.Reason, e.Reply)
	case *Held:
		return q.waiting(m, d, e.Reason)
	case *Released:
		return q.waiting(m, d, "released")
	case *Retried:
		return q.waiting(m, d, "to be tried at once")
	case *Canceled:
		kept = q.eventOf(store.EventCanceled, m, d)
		kept.Reason = e.Reason
	}
	return kept
}

// deferred is journaled for a Deferred. If the attempt does not count, the delivery waits as
// before. That may happen every second without end, so it is recorded once for each reason,
// and as a kind of event whose number package history limits.
func (q *Queue) deferred(m *store.Mail, d *store.Delivery, e *Deferred) store.Event {
	if e.uncounted && e.Reason == d.Reason {
		return store.Event{}
	}
	if e.uncounted {
		return q.waiting(m, d, e.Reason)
	}
	kept := q.eventOf(store.EventDeferred, m, d)
	kept.Attempt, kept.NextAttempt = e.Attempt, e.Next
	explain(&kept, e.Reason, e.Reply)
	return kept
}

// explain sets why, as the tenant may read it: of a failure of the operator's own server
// neither the reply nor what went wrong, because both show the operator's settings.
func explain(e *store.Event, reason string, reply store.Reply) {
	e.Reason = store.PublicReason(reason)
	if !store.IsInternal(reason) {
		e.Reply = reply
	}
}

// waiting returns the event of a delivery that waits without an attempt. An attempt
// that was counted when the delivery was leased was not made.
func (q *Queue) waiting(m *store.Mail, d *store.Delivery, reason string) store.Event {
	if !q.records(m) {
		return store.Event{}
	}
	e := q.eventOf(store.EventWaiting, m, d)
	explain(&e, reason, store.Reply{})
	if d.Node != "" {
		e.Attempt = max(0, d.Attempts-1)
	}
	return e
}

// eventOf returns an event with what is known of a delivery.
func (q *Queue) eventOf(kind store.EventKind, m *store.Mail, d *store.Delivery) store.Event {
	return store.Event{
		Kind: kind, Time: q.now().UTC().Truncate(time.Microsecond), Received: m.Received, Tenant: m.Tenant, Domain: m.Domain, Username: m.Username,
		Mail: d.Mail, N: d.N, From: m.From, Recipient: d.Recipient, Remote: m.Remote, Size: m.Size, Attempt: d.Attempts,
	}
}
