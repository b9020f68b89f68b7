package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// An event is something that happened to the running relay, in one line.
type event struct {
	Event    string   `json:"event"`
	ID       string   `json:"id,omitempty"`
	Username string   `json:"username,omitempty"`
	From     string   `json:"from,omitempty"`
	To       []string `json:"to,omitempty"`
	Size     int64    `json:"size,omitempty"`
	File     string   `json:"file,omitempty"`     // where it is
	Upstream string   `json:"upstream,omitempty"` // the server that has it now
	Reply    string   `json:"reply,omitempty"`    // and what it said
	Code     int      `json:"code,omitempty"`     // the reply to the client
	Reason   string   `json:"reason,omitempty"`

	Attempt int       `json:"attempt,omitempty"` // how often it was tried
	Next    time.Time `json:"next_try,omitzero"`
}

func (e event) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "%s", e.Event)
	if e.Username != "" {
		fmt.Fprintf(b, " of %s", printable(e.Username))
	}
	if e.From != "" || len(e.To) > 0 {
		fmt.Fprintf(b, " from <%s>", printable(e.From))
	}
	if len(e.To) > 0 {
		fmt.Fprintf(b, " to <%s>", printable(e.To[0]))
	}
	if more := len(e.To) - 1; more > 0 {
		fmt.Fprintf(b, " and %d more", more)
	}
	if e.File != "" {
		fmt.Fprintf(b, ", %d bytes: %s", e.Size, e.File)
	}
	if text := cmp.Or(e.Reason, e.Reply); text != "" {
		fmt.Fprintf(b, ": %s", printable(text))
	}
	if !e.Next.IsZero() {
		fmt.Fprintf(b, "; next try in %v", max(0, time.Until(e.Next)).Round(time.Second))
	}
	b.WriteByte('\n')
}

// announce is a Forwarder around the destination that prints what it does with
// each message. Of a queue that is told by its events.
func (p printer) announce(dest destination) relay.Forwarder {
	return relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		e := event{ID: m.ID, From: m.From, Size: m.Size()}
		for _, r := range m.To {
			e.To = append(e.To, r.Address)
		}
		err := dest.Forward(ctx, m)
		switch {
		case err != nil:
			e.Event, e.Reason = "not accepted", err.Error()
		case dest.Outbox != "":
			e.Event, e.File = "accepted", outbox{dest.Outbox}.path(m.ID)
		default:
			return nil
		}
		p.print(e)
		return err
	})
}

// queueEvent prints what becomes of each recipient of a message. A bounce is a
// message from nobody.
func (p printer) queueEvent(ev queue.Event) {
	about := func(what string, s queue.Subject) event {
		return event{Event: what, ID: s.ID, From: s.From, To: []string{s.Recipient}}
	}
	var e event
	switch ev := ev.(type) {
	case *queue.Queued:
		e = about("queued", ev.Subject)
	case *queue.Delivered:
		e = about("delivered", ev.Subject)
		e.Upstream, e.Reply = ev.Reply.Host, ev.Reply.String()
	case *queue.Deferred:
		e = about("deferred", ev.Subject)
		e.Reason, e.Attempt, e.Next = ev.Reason, ev.Attempt, ev.Next
	case *queue.Bounced:
		e = about("bounced", ev.Subject)
		e.Reason = ev.Reason
	case *queue.Expired:
		e = about("expired", ev.Subject)
		e.Reason, e.Attempt = ev.Reason, ev.Attempt
	case *queue.Held:
		e = about("held", ev.Subject)
		e.Reason = ev.Reason
	default:
		return
	}
	p.print(e)
}

// event prints what goes wrong for clients.
func (p printer) event(ev relay.Event) {
	switch ev := ev.(type) {
	case *relay.LoginRefused:
		p.print(event{Event: "login refused", Username: ev.Username, Reason: ev.Cause.String()})
	case *relay.MessageRefused:
		p.print(event{Event: "message refused", ID: ev.ID, Username: ev.Identity.Username, From: ev.From, To: ev.To, Code: ev.Code, Reason: ev.Reason})
	case *relay.SessionCutOff:
		p.print(event{Event: "session cut off", Username: ev.Identity.Username, Reason: ev.Reason})
	}
}

// printable keeps a client's text from meaning something to the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
