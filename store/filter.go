package store

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/ascii"
)

// A State is what happens to a [Delivery] next.
type State int

// The states of a delivery.
const (
	StateWaiting State = 1 + iota // no node has leased it; it is tried when it is due
	StateLeased                   // a node has leased it and tries it now or soon
	StateHeld                     // it waits until a person releases it
)

// State returns the state of the delivery.
func (d *Delivery) State() State {
	switch {
	case d.Node != "":
		return StateLeased
	case d.Held:
		return StateHeld
	}
	return StateWaiting
}

// A Filter selects deliveries. A delivery matches if it matches every field that
// is not zero; the zero Filter matches all deliveries. Texts are compared byte by
// byte, except where a field says otherwise. An ID that no mail or node can have matches
// nothing, whatever its bytes are.
type Filter struct {
	Mail      string // the ID of the mail
	Tenant    TenantID
	Domain    string
	Username  string
	From      string
	Recipient string

	// Destination is a destination. An empty Destination matches only if
	// ToDestination is set.
	Destination   string
	ToDestination bool

	// Since and Until select mail by the time at which it was received: at Since or
	// later, and before Until. The zero time does not select.
	Since, Until time.Time

	State  State
	Node   string // the ID of the node that has leased it
	Reason string // a part of the Reason; the letters A to Z match in either case
}

// Match reports whether a delivery matches the filter.
func (f *Filter) Match(l *Leased) bool {
	m, d := &l.Mail, &l.Delivery
	return same(f.Mail, d.Mail) && same(f.Tenant, m.Tenant) && same(f.Domain, m.Domain) && same(f.Username, m.Username) &&
		(f.Since.IsZero() || !m.Received.Before(f.Since)) && (f.Until.IsZero() || m.Received.Before(f.Until)) &&
		same(f.From, m.From) && same(f.Recipient, d.Recipient) &&
		(f.Destination == d.Destination || f.Destination == "" && !f.ToDestination) &&
		(f.State == 0 || f.State == d.State()) && same(f.Node, d.Node) &&
		strings.Contains(ascii.Lower(d.Reason), ascii.Lower(f.Reason))
}

func same[T ~string](want, got T) bool { return want == "" || want == got }

// Match reports whether an activity matches the filter. It looks at no page.
func (f *ActivityFilter) Match(a *Activity) bool {
	return (f.From.IsZero() || !a.Received.Before(f.From)) && (f.Until.IsZero() || a.Received.Before(f.Until)) &&
		same(f.Domain, a.Domain) && same(f.Username, a.Username) &&
		f.sentTo(a.Recipient) &&
		(len(f.States) == 0 || slices.Contains(f.States, a.State)) && f.contained(a)
}

func (f *ActivityFilter) sentTo(recipient string) bool {
	if f.Recipient == "" {
		return true
	}
	is := func(form string) bool { return ascii.Lower(form) == ascii.Lower(recipient) }
	return is(f.Recipient) || slices.ContainsFunc(f.RecipientForms, is)
}

func (f *ActivityFilter) contained(a *Activity) bool {
	if f.Contains == "" {
		return true
	}
	part := ascii.Lower(f.Contains)
	return strings.Contains(ascii.Lower(a.From), part) || strings.Contains(ascii.Lower(a.Recipient), part) || strings.Contains(ascii.Lower(a.Subject), part)
}
