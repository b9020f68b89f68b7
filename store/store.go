// Package store defines what a relay keeps: the domains of its tenants, their
// SMTP users, and the mail in its queue.
//
// The interfaces are [Store], for package credentials, [Spool], for package
// relay/queue, [Suppressions], for package relay/suppress, and [Setups], for package
// relay/domains. They share no transaction, so an adapter may implement only one of
// them. A relay without a queue needs no Spool. The module has adapters for both:
// store/memory for tests and trials, store/sqlstore for SQLite, PostgreSQL,
// MariaDB and MySQL. Package storetest tests every promise of the interfaces, for
// your own adapter too.
//
// Package credentials has the rules of the product: how a username is generated,
// when a password works, who may do what. An adapter keeps the atomic promises of
// its interface and has no rules. It does not normalize names, generate usernames
// or interpret hashes.
package store

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// A TenantID identifies one customer of the embedding product. The product
// chooses it. It is never empty.
type TenantID string

// A Domain is a sending domain of one tenant.
type Domain struct {
	Tenant  TenantID
	Name    string    // lower-case A-labels, no trailing dot
	Created time.Time // UTC, whole microseconds

	// SortName is the text by which lists of domains are sorted and searched. Package
	// credentials folds it from Name, so that neither case nor accents matter. It is
	// chosen by the caller; an adapter keeps it as it is.
	SortName string

	// Claim is whether the tenant only claims the domain. Then other tenants may
	// have a domain of the same name too, and package relay/domains decides which of
	// them has proved it. Domains that are not claims have names of their own.
	Claim bool

	// Users is the number of users of the domain, and LastConnection the latest
	// LastConnection of any of them. They are computed when a domain is read;
	// AddDomain ignores them.
	Users          int
	LastConnection time.Time

	// Suspended says why the domain may not send. It is empty if the domain may
	// send.
	Suspended string
}

// A User is an SMTP user: one username and one password for exactly one
// domain. The username is its key. The hash of the password is not part of it, so
// a User can be shown, logged and encoded.
//
// The caller passes times in UTC and whole microseconds. The zero time means
// "never".
type User struct {
	Tenant   TenantID
	Domain   string
	Username string // generated; it never changes and is never issued twice
	Name     string // chosen by a person; any text, need not be unique
	SortName string // as that of a Domain; folded from Name

	// Generation is the number of the user's password: 1 for the first, one more
	// with each reset. A session that logged in with an older password must end.
	Generation int64

	Created            time.Time
	PasswordSet        time.Time
	LastConnection     time.Time  // the last successful login
	LastConnectionFrom netip.Addr // the client's address; the zero Addr before the first login

	// After a rotation the password before works as well, until OldUntil.
	// OldConnection is its last login, and NewConnection that of the present
	// password. All three are zero if there is only one password.
	OldUntil      time.Time
	OldConnection time.Time
	NewConnection time.Time

	// Networks are the networks that the user may log in from. Nil means all.
	Networks []netip.Prefix

	// Suspended says why the user may not send, and DomainSuspended why its domain
	// may not. They are empty otherwise. DomainSuspended is the domain's Suspended
	// when the user is read; AddUser ignores it.
	Suspended       string
	DomainSuspended string
}

// A Page selects one page of a list that is ordered by a key, in byte order. A page
// begins after a key and not at a number, so an entry that is added or deleted between
// two calls neither repeats nor skips another entry. Lists of domains and users take
// a [Query] instead.
type Page struct {
	After string // only entries after this key, which need not exist; "" begins at the first entry
	Limit int    // at most this many entries; zero or less means 100

	// If Search is not empty, the page has only entries whose key contains it. The
	// letters A to Z match in either case; an adapter may match other letters in
	// either case too. Search has no wildcards.
	Search string
}

// Size returns the maximum number of entries of the page: Limit, or 100 if Limit
// is zero or less.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return 100
	}
	return p.Limit
}

// The errors of a Store. Adapters may wrap them; match them with [errors.Is]. Any
// other error means that the store failed: the database cannot be reached, the
// context has ended. The caller then does not know whether the change was made.
var (
	// ErrNotFound means that the tenant has no such domain or user. The error is
	// the same if another tenant has it, so that no tenant learns of it.
	ErrNotFound = errors.New("store: not found")

	// ErrTaken means that the tenant has the domain already, or that the username
	// was issued before.
	ErrTaken = errors.New("store: already taken")

	// ErrLimit means that the tenant has as many domains, or the domain as many
	// users, as the caller allows.
	ErrLimit = errors.New("store: limit reached")

	// ErrConflict means that the password or the suspension was changed after the
	// caller has read it.
	ErrConflict = errors.New("store: changed by another caller")
)

// A Store keeps domains and users.
//
// Each method is atomic. If its error matches ErrNotFound, ErrTaken, ErrLimit or
// ErrConflict, it has changed nothing. When a method has returned nil, its change
// is durable, and every later call by any process that shares the store sees it.
// Methods are safe for concurrent use. If the context has already ended, a method
// returns the context's error and changes nothing.
//
// Tenants, domain names and usernames compare and sort byte by byte: case,
// accents and trailing spaces count. Text, times and addresses are returned
// exactly as they were given.
//
// Callers pass valid UTF-8 without U+0000. A Store takes tenants, domain names
// and usernames of up to 255 bytes, and names, sort names, hashes and reasons of up to
// 1,024 bytes. It may refuse longer ones with an error of its own, but never cuts them.
type Store interface {
	// AddDomain adds a domain. ErrTaken: the tenant has a domain of this name, or
	// another tenant has one and neither of the two is a Claim. ErrLimit: the tenant
	// has limit domains or more, and limit is above zero. If both are true, AddDomain
	// returns ErrTaken. Of calls at the same time no more succeed than limit allows.
	AddDomain(ctx context.Context, d Domain, limit int) error

	// Domain returns one domain of the tenant. ErrNotFound: the tenant has no
	// such domain.
	Domain(ctx context.Context, tenant TenantID, name string) (Domain, error)

	// Domains lists the tenant's domains. An unknown tenant has none. Domains counts
	// after it has read the page, so the counts of Found may include later changes.
	Domains(ctx context.Context, tenant TenantID, q Query) ([]Domain, Found, error)

	// DomainsNamed returns the domains of all tenants that have this name, by
	// tenant. It is for operators: several tenants may claim a domain.
	DomainsNamed(ctx context.Context, name string) ([]Domain, error)

	// SuspendDomain sets the domain's Suspended to reason, and so in the same step
	// the DomainSuspended of every user that the domain has or gets. It changes
	// nothing else. An empty reason ends the suspension. The reason may be the
	// same as before. ErrNotFound: the tenant has no such domain.
	SuspendDomain(ctx context.Context, tenant TenantID, name, reason string) error

	// DeleteDomain removes the tenant's domain and every user of it, in one
	// step. The usernames stay on record and are never issued again. Any tenant
	// can add the name again; the new domain has no users. ErrNotFound: the
	// tenant has no such domain.
	DeleteDomain(ctx context.Context, tenant TenantID, name string) error

	// AddUser adds a user exactly as given, with the hash of its password. It ignores
	// OldUntil, OldConnection and NewConnection.
	// ErrNotFound: the tenant u.Tenant has no domain u.Domain. ErrTaken: the
	// username was issued before, in any tenant, even if that user or its domain
	// was deleted. ErrLimit: the domain has limit users or more, and limit is above
	// zero. Of calls at the same time no more succeed than limit allows. If several
	// are true, AddUser returns any of these errors.
	AddUser(ctx context.Context, u User, hash string, limit int) error

	// User returns one user of the tenant. ErrNotFound: the tenant has no such
	// user.
	User(ctx context.Context, tenant TenantID, username string) (User, error)

	// Users lists the users of the tenant's domain, or of all its domains if domain
	// is empty. A domain without users is an empty list. Users counts as Domains
	// does. ErrNotFound: the tenant has no such domain.
	Users(ctx context.Context, tenant TenantID, domain string, q Query) ([]User, Found, error)

	// RenameUser changes the user's Name and SortName and nothing else. The new ones
	// may be the same as the old ones. ErrNotFound: the tenant has no such user.
	RenameUser(ctx context.Context, tenant TenantID, username, name, sortName string) error

	// SetSortNames sets the SortName of users of the tenant, by username, and changes
	// nothing else. It leaves out users that have a SortName or do not exist. It is for
	// users that a program added which knew no SortName.
	SetSortNames(ctx context.Context, tenant TenantID, sortNames map[string]string) error

	// SuspendUser sets the user's Suspended to reason, and changes nothing else. An
	// empty reason ends the suspension. The reason may be the same as before. If
	// several callers pass the same seen and other reasons, exactly one call succeeds.
	// ErrConflict: seen is not nil, and the user's Suspended is not *seen.
	// ErrNotFound: the tenant has no such user.
	SuspendUser(ctx context.Context, tenant TenantID, username, reason string, seen *string) error

	// SetNetworks sets the user's Networks, at most 100, in the given order, and
	// changes nothing else. An empty list is read as nil. ErrNotFound: the tenant has
	// no such user.
	SetNetworks(ctx context.Context, tenant TenantID, username string, networks []netip.Prefix) error

	// SetPassword replaces the user's hash, sets PasswordSet to at, adds one to
	// Generation, ends a rotation as EndOverlap does, and changes nothing else. If
	// several callers pass the same generation, exactly one call succeeds.
	// ErrConflict: the user's Generation is not the given one. ErrNotFound: the
	// tenant has no such user.
	SetPassword(ctx context.Context, tenant TenantID, username string, generation int64, hash string, at time.Time) error

	// RotatePassword is SetPassword, but keeps the hash before as the old one, in
	// place of an older one. It sets OldUntil to until, OldConnection to
	// LastConnection, or to the zero time if that is before the PasswordSet of the
	// hash before, and NewConnection to the zero time.
	RotatePassword(ctx context.Context, tenant TenantID, username string, generation int64, hash string, at, until time.Time) error

	// EndOverlap forgets the old hash, and sets OldUntil, OldConnection and
	// NewConnection to the zero time. Without an old hash it changes nothing and
	// returns nil. ErrConflict: the user's Generation is not the given one.
	// ErrNotFound: the tenant has no such user.
	EndOverlap(ctx context.Context, tenant TenantID, username string, generation int64) error

	// DeleteUser removes the user. Its username stays on record and is never
	// issued again. ErrNotFound: the tenant has no such user.
	DeleteUser(ctx context.Context, tenant TenantID, username string) error

	// Lookup returns a user of any tenant, the hash of its password, and the old hash
	// that RotatePassword has kept, if any, also after OldUntil. It is for logins: no
	// other method returns a hash, and every other read except DomainsNamed names a
	// tenant. ErrNotFound: no tenant has such a user.
	Lookup(ctx context.Context, username string) (u User, hash, old string, err error)

	// RecordLogin sets the user's LastConnection and LastConnectionFrom to at and
	// from. If there is an old hash, it also sets NewConnection to at if generation
	// is the user's, and OldConnection if it is one less. It never sets a time back,
	// and returns nil then, so that nodes may report logins in any order.
	// ErrNotFound: no tenant has such a user.
	RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error
}
