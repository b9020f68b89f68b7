package webhook_test

import (
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// full makes an event in which all fields are set that its kind has.
func full(kind store.EventKind) store.Event {
	e := event(int(kind), kind)
	e.Received = e.Time.Add(-time.Second)
	e.Remote = netip.MustParseAddr("192.0.2.1")
	if kind == store.EventLoginRefused {
		e.Mail, e.Recipient, e.Field, e.Reason, e.Times = "", "", "AUTH", "wrong password", 3
		e.Reply = store.Reply{Code: 535, Enhanced: "5.7.8", Text: "wrong username or password"}
		return e
	}
	e.From, e.Author, e.Subject, e.MessageID, e.Size = "shop@acme.example", "shop@acme.example", "Your order & more", "<1@acme.example>", 4096
	switch kind {
	case store.EventDeferred, store.EventDelivered, store.EventSoftBounced, store.EventHardBounced:
		e.Attempt = 2
	}
	switch kind {
	case store.EventDelivered:
		e.Reply = store.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok", Host: "mx.example.com"}
	case store.EventDeferred, store.EventSoftBounced:
		e.Reply = store.Reply{Code: 452, Enhanced: "4.2.2", Text: "mailbox full", Host: "mx.example.com"}
		e.Reason = "mx.example.com 452 4.2.2 mailbox full"
	case store.EventHardBounced, store.EventLateHardBounced, store.EventLateSoftBounced:
		e.Reply = store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.example.com"}
		e.Reason = "mx.example.com 550 5.1.1 no such user"
	case store.EventRefused:
		e.Field, e.Reason = "RCPT TO", "no such domain"
		e.Reply = store.Reply{Code: 550, Enhanced: "5.1.2", Text: "no such domain"}
	case store.EventWaiting:
		e.Reason = "the destination is suspended"
	}
	return e
}
