package history

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// A life makes the events of one recipient.
type life struct {
	base   store.Event
	events []store.Event
}

func newLife(mail string, n int) *life {
	return &life{base: store.Event{
		Received: noon, Tenant: "acme", Domain: "acme.example", Username: "u1", Mail: mail, N: n,
		From: "shop@acme.example", Author: "shop@acme.example", Recipient: fmt.Sprintf("bob%d@example.com", n),
		Subject: "Your order", MessageID: "<1@acme.example>", Size: 100,
	}}
}

// then adds an event, so many milliseconds after the message was accepted.
func (l *life) then(kind store.EventKind, ms int) *life {
	e := l.base
	e.Kind, e.Time = kind, noon.Add(time.Duration(ms)*time.Millisecond)
	e.Attempt = len(l.events)
	e.Reply = store.Reply{Code: 200 + int(kind), Text: fmt.Sprintf("reply to %d at %d", kind, ms), Host: "mx.example.com"}
	e.Reason = fmt.Sprintf("reason of %d at %d", kind, ms)
	if kind == store.EventDeferred {
		e.NextAttempt = e.Time.Add(time.Duration(e.Attempt) * time.Minute)
	}
	l.events = append(l.events, e)
	return l
}

// someLife makes the events of a recipient that may have happened, on nodes whose
// clocks differ. No two happen in the same microsecond: TestSameTime is about those.
func someLife(r *rand.Rand, mail string, n int) []store.Event {
	events := someEvents(r, mail, n)
	for i := range events {
		events[i].Time = events[i].Time.Add(time.Duration(i) * time.Microsecond)
	}
	return events
}

// someEvents makes the events of someLife, each at a full millisecond.
func someEvents(r *rand.Rand, mail string, n int) []store.Event {
	l := newLife(mail, n)
	l.base.Tenant = []store.TenantID{"acme", "globex"}[r.IntN(2)]
	l.base.Username = []string{"u1", "u2"}[r.IntN(2)]
	l.base.Received = noon.Add(time.Duration(r.IntN(3)) * 40 * time.Minute)
	l.then(store.EventAccepted, r.IntN(1000))
	for range r.IntN(4) {
		l.then([]store.EventKind{store.EventWaiting, store.EventDeferred}[r.IntN(2)], 1000*len(l.events)+r.IntN(3000))
	}
	ends := []store.EventKind{store.EventDelivered, store.EventDelivered, store.EventDelivered, store.EventSoftBounced, store.EventHardBounced, store.EventCanceled}
	if r.IntN(5) == 0 {
		return l.events
	}
	l.then(ends[r.IntN(len(ends))], 3000+r.IntN(9000))
	for range r.IntN(3) {
		l.then([]store.EventKind{store.EventLateSoftBounced, store.EventLateHardBounced, store.EventReported}[r.IntN(3)], 5000+r.IntN(90000))
	}
	return l.events
}

// someRefusals makes refusals, some of which are the same.
func someRefusals(r *rand.Rand) (events []store.Event) {
	for i := range r.IntN(8) {
		e := newLife("", r.IntN(2)).base
		e.Kind, e.Mail, e.N = []store.EventKind{store.EventRefused, store.EventLoginRefused}[r.IntN(2)], "", 0
		e.Field = []string{"RCPT TO", "AUTH", fieldOmitted}[r.IntN(3)]
		e.Reply.Code, e.Reason = 550+r.IntN(2), "no"
		e.Remote = netip.MustParseAddr("192.0.2.1")
		e.Received = noon.Add(time.Duration(r.IntN(100)) * time.Minute)
		e.Time = e.Received.Add(time.Duration(1+i) * time.Microsecond)
		e.Times = r.IntN(4)
		events = append(events, e)
	}
	return events
}
