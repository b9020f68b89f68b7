package store

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// An EventKind says what an [Event] tells. Kinds are stored, so their numbers do not
// change.
type EventKind int

// The kinds of events.
const (
	EventAccepted        EventKind = 1 + iota // the relay keeps the message for the recipient
	EventWaiting                              // it waits without an attempt that counts: it is held, or its destination is suspended or busy
	EventDeferred                             // an attempt failed, and there will be another
	EventDelivered                            // the next server has taken it
	EventSoftBounced                          // given up after temporary failures
	EventHardBounced                          // refused for good
	EventCanceled                             // a person took it out of the queue
	EventLateSoftBounced                      // reported as failed after it was delivered, for a temporary cause
	EventLateHardBounced                      // reported as failed after it was delivered, for good
	EventRefused                              // a message, or one recipient of it, was not accepted
	EventLoginRefused                         // a client could not log in as this user
	EventReported                             // a failure was reported for an address it was not sent to, such as a member of a list; Reason names it unless a recipient of the mail was erased
)

var eventNames = [...]string{
	EventAccepted: "accepted", EventWaiting: "pending", EventDeferred: "deferred", EventDelivered: "delivered",
	EventSoftBounced: "soft bounced", EventHardBounced: "hard bounced", EventCanceled: "canceled",
	EventLateSoftBounced: "soft bounced late", EventLateHardBounced: "hard bounced late",
	EventRefused: "rejected", EventLoginRefused: "login refused", EventReported: "reported",
}

// String returns the kind in a word or two, such as "hard bounced".
func (k EventKind) String() string { return name(eventNames[:], "EventKind", int(k)) }

// name returns the name of a number, such as "EventKind(99)" if it has none.
func name(names []string, what string, n int) string {
	if n > 0 && n < len(names) {
		return names[n]
	}
	return fmt.Sprintf("%s(%d)", what, n)
}

// An Event is something that happened to one recipient of a message, or to a client's
// attempt to send one. It holds no password and no content. A field that says
// nothing is zero.
type Event struct {
	// ID names the event: letters, digits and underscores. The [History] sets it
	// and ignores the one it is given. It is the same each time the event is read.
	ID string

	Kind     EventKind
	Time     time.Time // when it happened, by the node's clock; UTC, whole microseconds
	Received time.Time // when the message was accepted; the Time of what never was

	Tenant   TenantID
	Domain   string
	Username string

	Mail      string // the ID of the [Mail], at most 64 bytes; of a refusal that of its [Activity]
	N         int    // which of its recipients, from 0
	From      string // the envelope sender
	Author    string // the first address in the From field
	Recipient string
	Subject   string // decoded, at most 255 bytes
	MessageID string // with its angle brackets
	Remote    netip.Addr
	Size      int64 // bytes of content

	Attempt int    // how often it was tried so far
	Reply   Reply  // of the server that took or refused it
	Field   string // of a refusal: as in relay.MessageRefused, or "AUTH"
	Reason  string // why, for people; any text

	// NextAttempt is when a recipient that was deferred is tried again: UTC, whole
	// microseconds. Zero means that it is not known, or that there is no attempt.
	NextAttempt time.Time

	// Times is how many events like this one it stands for; 0 means 1.
	Times int

	// Grants names what the recipient of an EventAccepted is charged to: see
	// [FormatGrants] and [Allowances]. At most 16,384 bytes.
	Grants string
}

// A Reply is what a server answered (RFC 5321 section 4.2).
type Reply struct {
	Code     int    // such as 250 or 421; 0 if no server answered
	Enhanced string // such as "5.1.1" (RFC 3463); empty if the server gave none
	Text     string // one line, safe to show
	Host     string // the server; empty if the reply was made here, or the name is unknown
}

// String returns the reply as one line, without the host.
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)), " ")
}
