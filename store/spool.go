package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// A Mail is one message in a [Spool], without its content and its recipients.
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

	// Notice means that the relay wrote the mail itself, such as a bounce. Its
	// ID is derived from what it reports, and its text may differ when a crash
	// makes the relay write it again.
	Notice bool

	// Key is what the sender has named the submission, and Fingerprint tells two
	// submissions of one Key apart. They are for Put only: what Lease and
	// Deliveries return has neither.
	Key         string
	Fingerprint string
}

// A Delivery is one recipient of a [Mail]: what is to be done, and what was
// tried. It exists from Put until it is settled.
type Delivery struct {
	Mail      string // the Mail's ID
	N         int    // which of its recipients, from 0
	Recipient string

	// The parameters of RCPT, as in relay.Recipient; Notify is separated by
	// commas.
	Notify            string
	OriginalRecipient string

	// Destination is where the mail goes: a domain, or "" if all mail goes the
	// same way. At most 255 bytes, without control characters.
	Destination string

	// Node is the ID of the node that has leased the delivery; "" if none has.
	Node string

	// Lease is a token that changes when a node leases the delivery, when the
	// delivery is settled, and when its node is removed. An outcome with an
	// older token is refused.
	Lease int64

	Next     time.Time     // when it is due
	Tried    time.Time     // when the last attempt began; zero if there was none
	Attempts int           // how many attempts began, including one under way
	Deaths   int           // how many nodes in a row died while they had leased it
	Delayed  bool          // the sender was told of the delay
	Held     bool          // not due until a person releases it
	Idle     time.Duration // for how long a person kept it from being tried; whole microseconds
	Reason   string        // why the last attempt failed, or why it is held; any text
}

// A Leased is a delivery with its mail. If the mail can't be read, Mail has only
// the ID.
type Leased struct {
	Mail     Mail
	Delivery Delivery
}

// A Lane is the mail of one tenant to one destination.
type Lane struct {
	Destination string
	Tenant      TenantID
}

// A LeaseRequest says which deliveries a node wants to lease. Tenants need not take
// turns for a request with Deaths, Probe, Received or Undelayed.
type LeaseRequest struct {
	Node  string    // the ID of the node
	Now   time.Time // deliveries are due if their Next is not after it
	Limit int       // at most so many deliveries; zero or less: none

	// Skip names lanes that the node wants nothing of for now.
	Skip []Lane

	// Deaths, if not 0, asks for deliveries with exactly so many Deaths, and
	// only for those. They are leased whatever their Next is, and from
	// suspended destinations and tenants too.
	Deaths int

	// Probe asks for deliveries to Destination only, and ignores a Suspension of
	// that destination.
	Probe       bool
	Destination string

	// Received, if not zero, asks only for deliveries for which the Mail's
	// Received plus Idle is then or before. Such deliveries are leased whatever
	// their Next is.
	Received time.Time

	// Undelayed asks only for deliveries without Delayed.
	Undelayed bool
}

// An Outcome is the result of a delivery. It names the delivery by Mail and N,
// and by the lease under which the work was done.
type Outcome struct {
	Mail  string
	N     int
	Lease int64

	// Done removes the delivery: it was delivered, given up or cancelled.
	Done bool

	// Without Done the delivery stays. It is due at Next, no node has leased it,
	// its Deaths are 0, and it has these:
	Next     time.Time
	Attempts int
	Delayed  bool
	Held     bool
	Idle     time.Duration
	Reason   string

	// Event, unless it is zero, is recorded in the same step if the outcome is not
	// lost (see [History]). A Spool that is no History ignores it.
	Event Event
}

// A Node is a process that works on the deliveries of a [Spool].
type Node struct {
	ID   string // letters and digits, at most 64; another one at each start
	Name string // stays the same when the process is started again; at most 255 bytes of UTF-8 without U+0000
	Beat int64  // grows with each call of Renew; 0 if the node was removed
}

// A Suspension keeps a [Spool] from leasing deliveries to a destination, or of a
// tenant.
type Suspension struct {
	Tenant      TenantID // whose deliveries; "" means those to Destination
	Destination string

	By       string    // the person who did it; "" means the relay did
	Reason   string    // any text of up to 16,384 bytes
	Since    time.Time // when it began
	Until    time.Time // when the relay tries again; zero if a person has to end it
	Tried    time.Time // when the last failed attempt ended
	Failures int       // how many attempts in a row failed

	// Version is 1 when the suspension is new and grows with each change.
	Version int64
}

// Depth is how much a [Spool] holds.
type Depth struct {
	Deliveries int64     // recipients not settled, including held ones
	Held       int64     // of these, held
	Oldest     time.Time // when the oldest mail by ID was received; zero if there is none
}

// A Backlog is how much of a [Spool] belongs to a lane.
type Backlog struct {
	Lane
	Deliveries int64     // recipients not settled
	Leased     int64     // of these, leased by a node
	Held       int64     // of these, held
	Oldest     time.Time // when the oldest mail of these, by ID, was received
}

// ErrFull means that a Spool has no room for what it was given: the disk is
// full, or a quota is used up. Nothing of it is kept. Adapters return it wrapped, if
// they can tell.
var ErrFull = errors.New("store: no room left")

// KeyTime is for how long Put keeps a Key.
const KeyTime = 24 * time.Hour

// A DuplicateError means that the user has submitted a mail with this Key before.
type DuplicateError struct {
	ID      string // of the mail that was kept
	Differs bool   // its Fingerprint is another one
}

// Error names the mail that was kept.
func (e *DuplicateError) Error() string {
	if e.Differs {
		return fmt.Sprintf("store: another mail was put with this key: %q", e.ID)
	}
	return fmt.Sprintf("store: the mail was put with this key before, as %q", e.ID)
}

// A Spool keeps accepted mail until every recipient of it is settled. Like a
// [Store] it may be shared by any number of processes, each method is atomic
// and safe for concurrent use, and what a method that returned nil has done is
// durable: it survives a crash and a power cut. A context that has already ended
// makes a method fail with its error and change nothing; one that ends while the
// method runs leaves the outcome unknown.
//
// All times are UTC whole microseconds. Times come from the caller, except the
// time that Renew returns.
//
// Tenants are as in a Store. All other text but ids may hold any bytes (what
// remote servers say often isn't UTF-8) and comes back as it went in. Texts of
// up to 1,024 bytes, and a Reason of up to 16,384, are stored. An adapter may
// refuse longer ones with an error of its own, but never cuts them.
type Spool interface {
	// Put keeps a mail, its content (the m.Size bytes of body) and its
	// deliveries: at least one and at most MaxDeliveries, which Put numbers
	// from 0 in the order given, whatever their Mail and N say. Everything
	// else of them is kept as given. So a delivery with a Node is leased to
	// that node from the start.
	//
	// If a mail of this ID exists, Put changes nothing. It returns nil if that
	// mail is the same, so a Put whose outcome is unknown may be repeated. It
	// returns ErrTaken if that mail differs in a field of Mail, in the number of
	// its deliveries, in a Recipient, or in its content. If a mail has
	// Notice, only Notice is compared.
	//
	// If Put fails, it has kept everything or nothing. An error of body, and a
	// body of another length, are errors of Put, and nothing is kept.
	//
	// Unless m.Key is empty, Put keeps it for the Username in the same step, until
	// KeyTime after m.Received, also when the mail is gone. Until then a Put of
	// another ID with that Username and Key changes nothing and returns a
	// [*DuplicateError]. Its Differs says whether the Fingerprint is another one. A
	// Put of the same ID returns nil. A Put that fails keeps no Key. The time that counts is
	// m.Received. While the outcome of another such Put is not known, Put waits for
	// it or fails.
	//
	// The events are recorded in the same step (see [History]). A Put that
	// changes nothing records none. A Spool that is no History ignores them.
	Put(ctx context.Context, m Mail, deliveries []Delivery, body io.Reader, events ...Event) error

	// Body returns the content of a mail, to be read in pieces while ctx
	// lasts, and to be closed. ErrNotFound: there is no such mail. Reading
	// fails with ErrNotFound if the mail is removed before its end is read, or
	// if a part of the content is missing; a part is never passed off as the
	// whole.
	//
	// A reader that is an io.ReaderAt too is not copied before the mail is sent.
	// Its ReadAt may be called until it is closed, also after ctx has ended.
	Body(ctx context.Context, mail string) (io.ReadCloser, error)

	// Lease leases deliveries to a node and returns them: those that are due,
	// not held, not leased and have no Deaths, unless the request says
	// otherwise. Each gets a new token, one more Attempt, and r.Now as Tried. No
	// other call of Lease, in any process, returns them before they are settled
	// or their node is removed.
	//
	// Deliveries of a suspended tenant or to a suspended destination are not
	// leased. Tenants take turns: if the limit is too small for all that is due,
	// each tenant gets an equal share, and what one does not need goes to the
	// others. So do the destinations of one tenant. Within a lane the deliveries
	// that are due longest come first. The turns go on from call to call, so each
	// lane of a tenant is served once before any is served again.
	//
	// If more than 500 lanes have waiting deliveries, a call may leave out some
	// that another process has put, settled or released. Later calls return them.
	Lease(ctx context.Context, r LeaseRequest) ([]Leased, error)

	// Settle records outcomes: all of them or, with an error, none. An outcome
	// whose token is not the delivery's changes nothing and is returned as lost,
	// in the order given. With the last delivery of a mail the mail and its
	// content are removed.
	//
	// A delivery that no node has leased is settled with the token that
	// Deliveries shows. That is how a person holds, releases or cancels it.
	Settle(ctx context.Context, outcomes []Outcome) (lost []Outcome, err error)

	// Join adds a node. It removes every other node of the same Name, as Remove
	// does. ErrTaken: there is a node of this ID.
	Join(ctx context.Context, n Node) error

	// Renew adds one to the node's Beat, and returns the Spool's time: the same
	// clock for all processes. ErrNotFound: the node was removed.
	Renew(ctx context.Context, node string) (now time.Time, err error)

	// Nodes lists the nodes, and those that were removed but have leased
	// something since, in the order of their IDs.
	Nodes(ctx context.Context) ([]Node, error)

	// Remove removes a node, if its Beat is still n.Beat; otherwise it returns
	// ErrConflict and changes nothing. Deliveries that the node had leased
	// are no longer leased, have a new token, and have one more Deaths. Remove
	// may work in steps: when it fails, Nodes still lists the node, and Remove
	// can be repeated.
	Remove(ctx context.Context, n Node) error

	// Suspend adds or changes a suspension. s.Version is the Version that the
	// suspension of that tenant or destination has, 0 if there is none;
	// otherwise Suspend returns ErrConflict and changes nothing.
	Suspend(ctx context.Context, s Suspension) error

	// Resume removes a suspension, if its Version is still s.Version; otherwise
	// it returns ErrConflict and changes nothing.
	Resume(ctx context.Context, s Suspension) error

	// Suspensions lists the suspensions, those of tenants first, by name.
	Suspensions(ctx context.Context) ([]Suspension, error)

	// Deliveries lists the deliveries that match the filter, in the order of
	// their keys. page.After is a Delivery's Key. page.Search is not used.
	Deliveries(ctx context.Context, f Filter, page Page) ([]Leased, error)

	// Depth returns how much the spool holds. Oldest is the Received of the mail with
	// the least ID: IDs of relay.NewID sort by time.
	Depth(ctx context.Context) (Depth, error)

	// Backlogs returns how much the spool holds of each lane, in the order of
	// destinations and then tenants. The Oldest of each is that of its mail with the
	// least ID.
	Backlogs(ctx context.Context) ([]Backlog, error)
}

// MaxDeliveries is how many deliveries a [Mail] can have.
const MaxDeliveries = 100_000

// Key names the delivery in lists; keys sort as lists of deliveries do.
func (d Delivery) Key() string { return fmt.Sprintf("%s.%05d", d.Mail, d.N) }
