package store

import (
	"context"
	"time"
)

// An ActivityState is what is known of a recipient.
type ActivityState int

// The states. ActivityDelivered may become a bounce later, when the recipient's
// server reports that it could not deliver after all.
const (
	ActivityRejected    ActivityState = 1 + iota // refused by the relay
	ActivityAccepted                             // the relay keeps the message
	ActivityPending                              // waits without an attempt: held, or its destination is suspended
	ActivityDelivered                            // the next server has taken it
	ActivityDeferred                             // an attempt failed, and there will be another
	ActivitySoftBounced                          // given up after temporary failures
	ActivityHardBounced                          // refused for good
	ActivityCanceled                             // a person took it out of the queue
)

var stateNames = [...]string{
	ActivityRejected: "rejected", ActivityAccepted: "accepted", ActivityPending: "pending", ActivityDelivered: "delivered",
	ActivityDeferred: "deferred", ActivitySoftBounced: "soft bounced", ActivityHardBounced: "hard bounced", ActivityCanceled: "canceled",
}

// String returns the state in a word or two, such as "hard bounced".
func (s ActivityState) String() string { return name(stateNames[:], "ActivityState", int(s)) }

// An Activity is what became of one recipient of a message, or a refusal. Its key is
// Tenant, Mail and N. Package relay/history makes activities from events.
type Activity struct {
	Tenant TenantID
	Mail   string // the ID of the [Mail]; of a refusal an ID that history made
	N      int

	Domain, Username        string
	From, Author, Recipient string
	Subject, MessageID      string
	Received                time.Time // when the message was accepted, or refused first
	Size                    int64

	// These belong to the state. Of two states of one activity the one with the
	// greater Order stays, and of those with the same Order the one with the greater
	// Attempt, whichever is applied first.
	State   ActivityState
	Order   int64
	Updated time.Time
	Attempt int
	Reply   Reply
	Field   string
	Reason  string

	// NextAttempt is when a deferred recipient is tried again, as in [Event].
	NextAttempt time.Time

	Times int    // of a refusal: how often it happened
	Trail string // its events, encoded by package relay/history; any bytes

	// Erased means that the recipient was erased: Recipient, Reply.Text, Reason
	// and Trail are empty and stay so, whatever is applied later.
	Erased bool
}

// A Count says how many recipients were accepted, delivered and so on. All of it counts
// in the hour in which the recipient was accepted or refused. Deferred counts attempts,
// and all others count recipients.
type Count struct {
	Tenant   TenantID
	Hour     time.Time // UTC, a full hour
	Domain   string
	Username string

	Accepted, Delivered, Deferred, SoftBounced, HardBounced, Rejected, Canceled int64

	Bytes int64 // of content, for each accepted recipient
}

// Add adds the numbers of another count.
func (c *Count) Add(other Count) {
	c.Accepted += other.Accepted
	c.Delivered += other.Delivered
	c.Deferred += other.Deferred
	c.SoftBounced += other.SoftBounced
	c.HardBounced += other.HardBounced
	c.Rejected += other.Rejected
	c.Canceled += other.Canceled
	c.Bytes += other.Bytes
}

// An ActivityKey names an [Activity].
type ActivityKey struct {
	Tenant TenantID
	Mail   string
	N      int
}

// An ActivityChange adds to an [Activity] or makes it. Its Erased is ignored.
type ActivityChange struct {
	Activity

	// Was, if not 0, is the Order that the activity must have before the change.
	Was int64

	// Begins says that the event is among those of the change with which the activity
	// began, so that most likely the store does not have it yet. It is a hint: it makes
	// an adapter quicker, and never changes what is stored.
	Begins bool

	// TrailWas, if not 0, is the length in bytes that the activity's Trail must have
	// before the change. Then the Trail of the change takes its place.
	TrailWas int
}

// Changes are what follows from some records. No key is in a list twice; that of a
// Charge is its Grant.
type Changes struct {
	Activities []ActivityChange
	Counts     []Count
	Charges    []Charge // for an [Allowances]
}

// A Record holds events that were kept in one step. An adapter may keep the events
// of several calls of Put, Settle and Record together, and those of a large call in
// several records.
type Record struct {
	ID     string // letters and digits; sorts by time
	Events []Event

	// Damage says why the record cannot be read; then Events is empty.
	Damage string
}

// An ActivityFilter selects activities. An activity matches if it matches every
// field that is not zero.
type ActivityFilter struct {
	From, Until time.Time // Received at From or later, and before Until
	Domain      string
	Username    string
	Recipient   string // the whole address; the letters A to Z match in either case
	Contains    string // in From, Recipient or Subject; the letters A to Z match in either case
	States      []ActivityState

	// RecipientForms are other forms of Recipient, which match too: those of an
	// internationalized domain. With more than two of them Activities returns an error.
	// Without Recipient they select nothing and exclude nothing.
	RecipientForms []string

	// After is the Next of the page before; empty for the first page. Limit is
	// the length of a page; zero or less means 100.
	After string
	Limit int
}

// A RecipientFilter selects activities of one mail, which may have 100,000 recipients.
// From is the least N that is selected: one more than the last N of the page before. If
// States is empty, all states are selected. If Erased is set, only erased activities are
// selected. Limit is the maximum number of activities; zero or less means 100.
type RecipientFilter struct {
	From   int
	States []ActivityState
	Erased bool
	Limit  int
}

// Size returns the maximum number of activities that the filter selects: Limit, or 100
// if Limit is zero or less.
func (f RecipientFilter) Size() int { return Page{Limit: f.Limit}.Size() }

// An ActivityPage is a page of activities, newest first, without their Trail. If Next
// is not empty there may be more, even if List is empty: a call looks at a bounded
// number of activities.
type ActivityPage struct {
	List []Activity
	Next string
}

// A Grouping says what Counts sums up.
type Grouping int

// The groupings.
const (
	ByHour   Grouping = 1 + iota // one Count for each hour
	ByDomain                     // one for each domain
	ByUser                       // one for each user
)

// A Journal is how many events wait to be applied to a [History].
type Journal struct {
	Records int64
	Oldest  time.Time // when the oldest record was made; zero if there is none
}

// A History keeps what happened to messages. It is implemented by the adapter that
// is the [Spool], because the events of a Put or a Settle are kept in the same step:
// each event once, and only if the rest of the step was done.
//
// Events wait in records until they are applied. Package relay/history decides what
// follows from them; Apply makes those changes and removes the records in one step.
// So each event counts once, on any number of nodes, whatever is killed when.
//
// What is said of a Spool about atomic, durable and concurrent methods, contexts,
// times and texts holds here too. A method that is given the ID of a mail finds nothing if
// no mail can have that ID, whatever its bytes are. An adapter that could not apply an event
// refuses to keep it, with an error of its own.
type History interface {
	// Record keeps events that belong to no Put and no Settle: all of them or,
	// with an error, none.
	Record(ctx context.Context, events []Event) error

	// Records returns the oldest records: whole ones, with about limit events in
	// all, and at least one record if there is any. A record that becomes
	// visible later may be older than one that was returned before.
	Records(ctx context.Context, limit int) ([]Record, error)

	// SetAside removes a record from Records and keeps it where a person can find
	// it. It does nothing if there is no such record.
	SetAside(ctx context.Context, record string) error

	// Restore makes Records return the records that were set aside and can be read
	// now, under their IDs, and returns how many. So a newer version gets the records
	// that an older one could not read.
	Restore(ctx context.Context) (restored int, err error)

	// Journal returns how much waits. Records that were set aside do not count.
	Journal(ctx context.Context) (Journal, error)

	// Claim gives a piece of work to who until the given time: it returns false
	// if somebody else has it beyond now. Whoever has it keeps it by calling
	// Claim again, and gives it back with an until of now. A claim only saves
	// work: Apply makes sure that nothing is done twice.
	Claim(ctx context.Context, work, who string, now, until time.Time) (bool, error)

	// Apply removes records and makes changes in one step. It returns
	// ErrConflict and does nothing if one of the records is not there any more,
	// or if an activity's Order is not Was, or if its Trail has not the length
	// TrailWas.
	//
	// An activity that is not there is added. One that is there takes the state
	// of a change with a greater Order, or with the same and a greater Attempt, gets what it has empty, gets the Trail of
	// the change behind its own, or with TrailWas in place of it, and has its Times added up. Its Received
	// becomes the earlier one. A count is added to the one of its tenant, hour,
	// domain and username.
	Apply(ctx context.Context, records []string, c Changes) error

	// Activities lists activities of a tenant, newest first: by Received, and
	// those of the same time in an order that stays the same.
	Activities(ctx context.Context, tenant TenantID, f ActivityFilter) (ActivityPage, error)

	// Recipients returns the activities of one mail that match the filter, by N, with
	// their Trail. If none matches the list is empty, without an error.
	Recipients(ctx context.Context, tenant TenantID, mail string, f RecipientFilter) ([]Activity, error)

	// RecipientStates returns how many activities of one mail are in each state. A
	// state of none is not in the map.
	RecipientStates(ctx context.Context, tenant TenantID, mail string) (map[ActivityState]int, error)

	// TenantOf returns the tenant that has activities of a mail. It is for operators,
	// who have the mail's ID only. ErrNotFound: there are none.
	TenantOf(ctx context.Context, mail string) (TenantID, error)

	// ActivitiesByKey returns the activities that have one of the keys, in any order, with
	// their Trail. A key of no activity is left out. No key may be in the list
	// twice. It reads nothing else, however many recipients the mails have.
	ActivitiesByKey(ctx context.Context, keys []ActivityKey) ([]Activity, error)

	// Counts sums up the counts of a tenant that match the filter, in the order
	// of hours, domains and usernames. Of Hour, Domain and Username a sum has
	// what f.By says, and its other two are zero; with ByUser it has the Domain
	// too. If no count matches there is no sum.
	Counts(ctx context.Context, tenant TenantID, f CountFilter) ([]Count, error)

	// Expire removes activities that were received before a time, which it rounds
	// down to a full day in UTC, and counts of hours before another time. It
	// removes at most limit of each, and returns how many in all. Records stay.
	Expire(ctx context.Context, activities, counts time.Time, limit int) (removed int, err error)

	// Erase erases a recipient (see Activity.Erased) from all activities of a
	// tenant, and returns from how many. The letters A to Z match in either case.
	// An empty recipient matches nothing.
	Erase(ctx context.Context, tenant TenantID, recipient string) (erased int, err error)
}

// A CountFilter selects counts and says how to sum them up.
type CountFilter struct {
	From, Until time.Time // full hours; From is included and Until is not; zero means no bound
	Domain      string
	Username    string
	By          Grouping // zero means one sum of all
}
