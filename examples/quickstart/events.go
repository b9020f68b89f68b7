package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/gatepost-mail/gatepost/relay"
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
	Upstream string   `json:"upstream,omitempty"` // or who has it
	Code     int      `json:"code,omitempty"`     // the reply to the client
	Reason   string   `json:"reason,omitempty"`
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
	if where := cmp.Or(e.File, e.Upstream); where != "" {
		fmt.Fprintf(b, ", %d bytes: %s", e.Size, where)
	}
	if e.Reason != "" {
		fmt.Fprintf(b, ": %s", printable(e.Reason))
	}
	b.WriteByte('\n')
}

// announce is a Forwarder around the destination that prints what becomes of
// each message.
func (p printer) announce(dest destination) relay.Forwarder {
	return relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		e := event{ID: m.ID, From: m.From, Size: m.Size()}
		for _, r := range m.To {
			e.To = append(e.To, r.Address)
		}
		err := dest.Forward(ctx, m)
		var told *relay.ReplyError
		switch {
		case errors.As(err, &told):
			return err // the client is told the reason, and so are you below
		case err != nil:
			e.Event, e.Reason = "not accepted", err.Error()
		case dest.Upstream != "":
			e.Event, e.Upstream = "handed on", dest.Upstream
		default:
			e.Event, e.File = "accepted", outbox{dest.Outbox}.path(m.ID)
		}
		p.print(e)
		return err
	})
}

// event prints what goes wrong for clients.
func (p printer) event(ev relay.Event) {
	switch ev := ev.(type) {
	case *relay.LoginRefused:
		p.print(event{Event: "login refused", Username: ev.Username, Reason: ev.Reason})
	case *relay.MessageRefused:
		e := event{Event: "message refused", ID: ev.ID, Username: ev.Identity.Username, From: ev.From, Code: ev.Code, Reason: ev.Reason}
		if ev.To != "" {
			e.To = []string{ev.To}
		}
		p.print(e)
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
