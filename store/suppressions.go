package store

import (
	"context"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/ascii"
)

// A SuppressionSource says how an address came on the list. Sources are stored, so
// their numbers do not change.
type SuppressionSource int

// The sources. Zero means that nothing is known of the address.
const (
	SuppressedByReply     SuppressionSource = 1 + iota // a server refused the address
	SuppressedByReport                                 // a server reported, after it had taken a message, that it could not deliver
	SuppressedByComplaint                              // the recipient complained
	SuppressedByPerson                                 // a person entered it
)

var sourceNames = [...]string{
	SuppressedByReply: "reply", SuppressedByReport: "late bounce", SuppressedByComplaint: "complaint", SuppressedByPerson: "person",
}

// String returns the source in a word or two, such as "late bounce".
func (s SuppressionSource) String() string { return name(sourceNames[:], "SuppressionSource", int(s)) }

// A Suppression is an address to which a tenant does not send, or what is known of
// an address that may become one. Tenant and Address are its key. Package
// relay/suppress has the rules, and makes them all.
type Suppression struct {
	Tenant  TenantID
	Address string // as relay/suppress writes it, see there

	Source SuppressionSource // where what is known comes from
	Since  time.Time         // since when it is suppressed; zero if it is not
	Until  time.Time         // when all this is forgotten; zero: never
	Reason string            // why, for people; any text
	Site   string            // a domain name of the server that refused the address; empty if there is none
	Event  string            // the ID of the event that it was learned from

	Strikes int       // refusals that were counted
	Struck  time.Time // when the last of them was
	Cleared time.Time // refusals up to this time do not count
	Changed time.Time // when it was last written

	// Version is 1 when the suppression is new and grows with each change.
	Version int64
}

// Suppresses reports whether mail to the address is refused at a time.
func (s *Suppression) Suppresses(at time.Time) bool {
	return !s.Since.IsZero() && (s.Until.IsZero() || at.Before(s.Until))
}

// A SuppressionKey names a [Suppression].
type SuppressionKey struct {
	Tenant  TenantID
	Address string
}

// A SuppressionFilter selects suppressions. A suppression matches if it matches every
// field that is not zero; the zero filter matches all. Texts are compared byte by byte,
// except where a field says otherwise.
type SuppressionFilter struct {
	At          time.Time // it suppresses at this time
	Source      SuppressionSource
	Site        string    // its Site, or the domain of its Address
	Reason      string    // a part of its Reason; the letters A to Z match in either case
	From, Until time.Time // its Since is at From or later, and before Until
}

// Match reports whether a suppression matches the filter.
func (f *SuppressionFilter) Match(s *Suppression) bool {
	return (f.At.IsZero() || s.Suppresses(f.At)) &&
		(f.Source == 0 || f.Source == s.Source) &&
		(f.Site == "" || f.Site == s.Site || f.Site == s.Address[strings.LastIndexByte(s.Address, '@')+1:]) &&
		strings.Contains(ascii.Lower(s.Reason), ascii.Lower(f.Reason)) &&
		!s.Since.Before(f.From) && (f.Until.IsZero() || s.Since.Before(f.Until))
}

// A Suppressions keeps suppressions.
//
// Each method is atomic and safe for concurrent use, in any number of processes. When a
// method has returned nil, its change is durable, and every later call by any process
// sees it. A context that has already ended makes a method fail with its error and
// change nothing.
//
// Times come from the caller, in UTC and whole microseconds, and are returned as they
// were given. Tenants and addresses are as the names of a [Store]: valid UTF-8 without
// U+0000, of up to 255 bytes, that compare and sort byte by byte. Other texts hold any
// bytes. Site and Event have up to 1,024 bytes, and Reason has up to 16,384. An adapter
// may refuse longer texts with an error of its own, but never cuts them.
type Suppressions interface {
	// Suppress adds and changes up to 1,000 suppressions in one step: all of them
	// or, with an error, none. Version is the one that the suppression has, 0 if
	// there is none. After the change the Version is one more. A suppression with
	// another Version changes nothing and is returned as lost, in the order given.
	// No key is in a list twice.
	Suppress(ctx context.Context, list []Suppression) (lost []Suppression, err error)

	// Suppression returns one suppression. ErrNotFound: the tenant has none of this
	// address.
	Suppression(ctx context.Context, tenant TenantID, address string) (Suppression, error)

	// SuppressionsByKey returns the suppressions that have one of the keys, in any order. A
	// key of no suppression is left out. No key may be in the list twice.
	SuppressionsByKey(ctx context.Context, keys []SuppressionKey) ([]Suppression, error)

	// ListSuppressions lists the suppressions of a tenant that match the filter, by
	// address. page.After is an address. page.Search is a part of the address, and
	// the letters A to Z match in either case.
	ListSuppressions(ctx context.Context, tenant TenantID, f SuppressionFilter, page Page) ([]Suppression, error)

	// SuppressionsSince lists the suppressions of a tenant whose Changed is at the
	// given time or later, in the order of Changed: the first of them, at most
	// limit.
	SuppressionsSince(ctx context.Context, tenant TenantID, changed time.Time, limit int) ([]Suppression, error)

	// ExpireSuppressions removes suppressions of all tenants whose Until is not zero
	// and not after now, at most limit, and returns how many.
	ExpireSuppressions(ctx context.Context, now time.Time, limit int) (removed int, err error)
}
