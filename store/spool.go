package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// A Mail is one message in a [Spool]: everything that is to be sent on, but its
// content and its recipients.
type Mail struct {
	ID       string // letters and digits, unique for ever; ids sort by time
	Tenant   TenantID
	Domain   string
	Username string
	From     string // the envelope sender; "" is the null reverse-path
	Remote   netip.Addr
	Received time.Time // UTC, whole microseconds
	Size     int64     // bytes of content

	// The parameters of MAIL, as in relay.Options.
	Body       string
	UTF8       bool
	RequireTLS bool
	Return     string
	EnvelopeID string
}

// A Delivery is one recipient of a [Mail]: what is still to be done for it, and
// what was tried. It exists from Put until it is settled.
type Delivery struct {
	Mail      string // the Mail's ID
	N         int    // which of its recipients, from 0
	Recipient string

	// The parameters of RCPT, as in relay.Recipient; Notify is separated by
	// commas.
	Notify            string
	OriginalRecipient string

	// Lease is the number of times the delivery was leased: a token that
	// fences off whoever leased it before. LeasedUntil is when the lease
	// ends and others may have it.
	Lease       int64
	LeasedUntil time.Time

	Next     time.Time // when it is due
	Attempts int       // how often it was tried
	Delayed  bool      // the sender was told of the delay
	Held     bool      // set aside: never due, until somebody looks at it
	Reason   string    // why the last attempt failed; any text
}

// A Leased is a delivery that a caller of Lease may work on, with its mail. A
// delivery whose mail can't be read has a Mail with nothing but the ID.
type Leased struct {
	Mail     Mail
	Delivery Delivery
}

// An Outcome is what came of a leased delivery. It names the delivery by Mail
// and N, and the lease under which the work was done.
type Outcome struct {
	Mail  string
	N     int
	Lease int64

	// Done removes the delivery: it was delivered, or given up.
	Done bool

	// Otherwise the delivery stays. It is due at Next, no longer leased, and
	// has these:
	Next     time.Time
	Attempts int
	Delayed  bool
	Held     bool
	Reason   string
}

// Depth is how much a [Spool] holds.
type Depth struct {
	Deliveries int64     // recipients not settled, held ones included
	Held       int64     // of these, set aside
	Oldest     time.Time // when the oldest mail was received; zero if there is none
}

// ErrFull means that a Spool has no room for what it was given: the disk is
// full, or a quota is used up. Adapters return it wrapped, if they can tell.
var ErrFull = errors.New("store: no room left")

// A Spool keeps accepted mail until every recipient of it is settled. Like a
// [Store] it may be shared by any number of processes, each method is atomic
// and safe for concurrent use, and what a method that returned nil has done is
// durable: it survives a crash and a power cut. Concurrent calls of Put, and of
// Settle, share their commits.
//
// All times are UTC whole microseconds and come from the caller; a Spool has no
// clock of its own.
type Spool interface {
	// Put keeps a mail, its content (the m.Size bytes of body) and its
	// deliveries, which are numbered from 0. A delivery with Lease 1 and a
	// LeasedUntil is leased to the caller from the start; one with Lease 0 is
	// anybody's when it is due. A mail of this ID that exists already is left as
	// it is, and Put returns nil: a Put whose outcome is unknown may be repeated. If Put fails,
	// it has kept everything or nothing; ErrFull says that there was no room. It
	// never holds the whole content in memory; an error of body, and a body of
	// another length, are its error.
	Put(ctx context.Context, m Mail, deliveries []Delivery, body io.Reader) error

	// Body returns the content of a mail, which is read in pieces and must be
	// closed. ErrNotFound: there is no such mail.
	Body(ctx context.Context, mail string) (io.ReadCloser, error)

	// Lease hands out deliveries that are due at now, not held and not leased
	// beyond now, the longest due first and at most limit of them. They are
	// leased until until, and hidden from every other call of Lease, by
	// whatever process, until then.
	Lease(ctx context.Context, now, until time.Time, limit int) ([]Leased, error)

	// Renew extends leases until until; of each Delivery it looks at Mail, N
	// and Lease. It returns those whose lease the caller no longer holds.
	Renew(ctx context.Context, leased []Delivery, until time.Time) (lost []Delivery, err error)

	// Settle records outcomes: all of them or, with an error, none. An outcome
	// whose lease the caller no longer holds, because somebody else has leased
	// or settled the delivery since, changes nothing and is returned as lost.
	// With the last delivery of a mail the mail and its content go.
	Settle(ctx context.Context, outcomes []Outcome) (lost []Outcome, err error)

	// Deliveries lists what the spool holds, leased or not, in the order of
	// their keys. page.After is a Delivery's Key. An empty tenant means all.
	Deliveries(ctx context.Context, tenant TenantID, page Page) ([]Leased, error)

	// Depth tells how much the spool holds.
	Depth(ctx context.Context) (Depth, error)
}

// Key names the delivery in lists; keys sort as lists of deliveries do.
func (d Delivery) Key() string { return fmt.Sprintf("%s.%05d", d.Mail, d.N) }
