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
	ID       string // letters and digits, at most 64; unique for ever; ids sort by time
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

	// Lease is a token that changes whenever the delivery is leased or
	// settled: it fences off whoever knows it from before. LeasedUntil is
	// when the lease ends and others may have it; zero: it is not leased.
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

// An Outcome is what came of a delivery. It names the delivery by Mail and N,
// and the lease under which the work was done.
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
// Settle, share their commits: a caller waits until its commit is done, and the
// commit carries everybody who waited. A context that has already ended makes
// a method fail with its error and change nothing; one that ends meanwhile
// leaves the outcome unknown.
//
// All times are UTC whole microseconds and come from the caller; a Spool has no
// clock of its own.
//
// Tenants are as in a Store. All other text but ids may hold any bytes (what
// remote servers say often isn't UTF-8) and comes back as it went in. Texts of
// up to 1,024 bytes, and a Reason of up to 16,384, are stored. An adapter may
// refuse longer ones with an error of its own, but never cuts them.
type Spool interface {
	// Put keeps a mail, its content (the m.Size bytes of body) and its
	// deliveries: at least one and at most MaxDeliveries, which Put numbers
	// from 0 in the order given, whatever their Mail and N say. Everything
	// else of them is kept as given. So a delivery with Lease 1 and a
	// LeasedUntil is leased to the caller from the start; one with Lease 0
	// is anybody's when it is due.
	//
	// A mail of this ID that exists already is left as it is, and Put returns
	// nil: a Put whose outcome is unknown may be repeated. If Put fails, it
	// has kept everything or nothing. An error of body, and a body of another
	// length, are its error, and nothing is kept. A large content is never
	// held in memory as a whole, unless memory is where the Spool keeps it.
	Put(ctx context.Context, m Mail, deliveries []Delivery, body io.Reader) error

	// Body returns the content of a mail, to be read in pieces while ctx
	// lasts, and to be closed. ErrNotFound: there is no such mail. Reading
	// fails with ErrNotFound if the mail goes meanwhile, or if a part of the
	// content is missing; what was read is never passed off as the whole.
	Body(ctx context.Context, mail string) (io.ReadCloser, error)

	// Lease hands out deliveries that are due at now, not held and not leased
	// beyond now: at most limit of them, and those first that have waited
	// longest, since they were due or since their lease ended. They are leased
	// until until, and hidden from every other call of Lease, by whatever
	// process, until then.
	Lease(ctx context.Context, now, until time.Time, limit int) ([]Leased, error)

	// Renew extends leases until until; of each Delivery it looks at Mail, N
	// and Lease. It returns those whose lease the caller no longer holds, in
	// the order given; with them nothing is done.
	Renew(ctx context.Context, leased []Delivery, until time.Time) (lost []Delivery, err error)

	// Settle records outcomes: all of them or, with an error, none. An outcome
	// whose lease the caller no longer holds, because the delivery was leased
	// or settled since, changes nothing and is returned as lost, in the order
	// given. With the last delivery of a mail the mail and its content go.
	//
	// A lease that has ended is still the caller's until somebody else takes
	// the delivery. A delivery that nobody has leased is settled by the Lease
	// that Deliveries shows: that is how a person releases or drops a held one.
	Settle(ctx context.Context, outcomes []Outcome) (lost []Outcome, err error)

	// Deliveries lists what the spool holds, leased, held or not, in the order
	// of their keys. page.After is a Delivery's Key. An empty tenant means all.
	Deliveries(ctx context.Context, tenant TenantID, page Page) ([]Leased, error)

	// Depth tells how much the spool holds.
	Depth(ctx context.Context) (Depth, error)
}

// MaxDeliveries is how many deliveries a [Mail] can have.
const MaxDeliveries = 100_000

// Key names the delivery in lists; keys sort as lists of deliveries do.
func (d Delivery) Key() string { return fmt.Sprintf("%s.%05d", d.Mail, d.N) }
