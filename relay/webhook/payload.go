package webhook

import (
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A payload is the content of a request. docs/webhooks.md describes it.
type payload struct {
	Type      string `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

// eventData is the data of an event of a message or a login.
type eventData struct {
	ID        string     `json:"id,omitempty"`
	Recipient string     `json:"recipient,omitempty"`
	From      string     `json:"from,omitempty"`
	Author    string     `json:"author,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	MessageID string     `json:"message_id,omitempty"`
	Domain    string     `json:"domain,omitempty"`
	Username  string     `json:"username,omitempty"`
	Received  string     `json:"received,omitempty"`
	Size      int64      `json:"size,omitempty"`
	Attempt   int        `json:"attempt,omitempty"`
	Next      string     `json:"next_attempt,omitempty"`
	Late      bool       `json:"late,omitempty"`
	Reply     *replyData `json:"reply,omitempty"`
	Field     string     `json:"field,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Client    string     `json:"client,omitempty"`
	Times     int        `json:"times,omitempty"`
}

// replyData is a reply of SMTP.
type replyData struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced,omitempty"`
	Text     string `json:"text,omitempty"`
	Host     string `json:"host,omitempty"`
}

// types are the types of events.
var types = map[store.EventKind]string{
	store.EventAccepted:        "message.accepted",
	store.EventWaiting:         "message.pending",
	store.EventDeferred:        "message.deferred",
	store.EventDelivered:       "message.delivered",
	store.EventSoftBounced:     "message.soft_bounced",
	store.EventHardBounced:     "message.hard_bounced",
	store.EventCanceled:        "message.canceled",
	store.EventLateSoftBounced: "message.soft_bounced",
	store.EventLateHardBounced: "message.hard_bounced",
	store.EventRefused:         "message.rejected",
	store.EventLoginRefused:    "login.refused",
}

// payloadOf returns the payload of an event. Its Type is empty if the kind of event
// is not known.
func payloadOf(e *store.Event) payload {
	d := &eventData{
		ID: e.Mail, Recipient: e.Recipient, From: e.From, Author: e.Author, Subject: e.Subject, MessageID: e.MessageID,
		Domain: e.Domain, Username: e.Username, Size: e.Size, Attempt: e.Attempt, Field: e.Field,
		Reason: strings.ToValidUTF8(e.Reason[:min(len(e.Reason), maxReason)], ""),
		Late:   e.Kind == store.EventLateSoftBounced || e.Kind == store.EventLateHardBounced,
	}
	if e.Kind != store.EventRefused && e.Kind != store.EventLoginRefused && !e.Received.IsZero() {
		d.Received = stamp(e.Received)
	}
	if !e.NextAttempt.IsZero() {
		d.Next = stamp(e.NextAttempt)
	}
	if e.Reply.Code != 0 {
		d.Reply = &replyData{Code: e.Reply.Code, Enhanced: e.Reply.Enhanced, Text: e.Reply.Text, Host: e.Reply.Host}
	}
	if e.Times > 1 {
		d.Times = e.Times
	}
	// The address of the client helps to find the tool with the wrong password.
	// Other events leave it out.
	if e.Kind == store.EventLoginRefused && e.Remote.IsValid() {
		d.Client = e.Remote.String()
	}
	return payload{Type: types[e.Kind], Timestamp: stamp(e.Time), Data: d}
}

// stamp returns a time in the form of RFC 3339, with microseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
