// Package store says what a relay remembers, and what it relies on when it
// remembers: the domains of its tenants and their SMTP users, and the mail that
// waits in its queue.
//
// The contracts are [Store], for package credentials, and [Spool], for package
// relay/queue. They share no transaction, so an adapter may implement one alone;
// a relay without a queue needs no Spool. Ready adapters of both are in
// store/memory (tests, trials) and store/sqlstore (SQLite, PostgreSQL, MariaDB,
// MySQL). Package storetest holds every promise made here as an executable
// case, so that an adapter of your own can show that it keeps them.
//
// The rules of the product (how a username is made, when a password works, who
// may do what) are kept once, in package credentials. An adapter keeps small
// atomic promises and nothing else: it doesn't normalise names, make usernames
// or look into hashes.
package store

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// A TenantID names one customer of the embedding product, in the product's own
// terms. It is never empty.
type TenantID string

// A Domain is a sending domain. It belongs to one tenant; while it exists,
// nobody else can add the same name.
type Domain struct {
	Tenant  TenantID
	Name    string    // lower-case A-labels, no trailing dot
	Created time.Time // UTC, whole microseconds

	// Users is how many users the domain has, and LastConnection the newest of
	// theirs. They are found out when a domain is read; AddDomain ignores them.
	Users          int
	LastConnection time.Time
}

// A User is an SMTP user: one username and one password for exactly one
// domain. The username is its key. The password's hash is not part of it, so a
// User can be shown, logged and encoded without giving anything away.
//
// Times are UTC in whole microseconds, made so by the caller; the zero time
// means "never".
type User struct {
	Tenant   TenantID
	Domain   string
	Username string // generated, immutable, never issued twice
	Name     string // what a person calls it; any text, need not be unique

	// Generation counts the passwords this user has had: 1 for the first, one
	// more with each reset. A session that logged in with an older one is dead.
	Generation int64

	Created            time.Time
	PasswordSet        time.Time
	LastConnection     time.Time  // the last successful login
	LastConnectionFrom netip.Addr // where it came from; the zero Addr before the first
}

// A Page asks for one page of a list that is ordered by name (domains) or by
// username (users), in byte order. Pages are keyed, not numbered: what is added
// or deleted meanwhile neither repeats nor skips another entry.
type Page struct {
	After string // only entries after this one, which need not exist (any more); "" starts at the beginning
	Limit int    // at most this many entries; zero or less means 100

	// Search, if not empty, leaves only the entries that contain it: domains
	// in their name, users in their Name or Username. The letters A to Z match
	// in either case; whether other letters do is up to the adapter. Nothing in
	// it is a pattern.
	Search string
}

// Size returns the number of entries the page may hold: Limit, or 100
// if Limit is zero or less.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return 100
	}
	return p.Limit
}

// The errors of a Store. Adapters return them as they are or wrapped; match
// them with [errors.Is]. Any other error means that the store could not do its
// work (the database is away, the context has ended) and that nothing is known
// about the outcome.
var (
	// ErrNotFound means that there is no such domain or user. What belongs to
	// another tenant is not found either: nobody learns that it exists.
	ErrNotFound = errors.New("store: not found")

	// ErrTaken means that the name is in use (a domain) or was ever issued
	// (a username).
	ErrTaken = errors.New("store: already taken")

	// ErrConflict means that the password was changed by somebody else since
	// the generation the caller knows.
	ErrConflict = errors.New("store: changed by somebody else")
)

// A Store remembers domains and users.
//
// Each method is atomic: it happens whole or, with an error matching one of
// ErrNotFound, ErrTaken and ErrConflict, not at all. What a method that
// returned nil has done is durable, and is seen by every later call, by any
// process that shares the store. Methods are safe for concurrent use. A context
// that has already ended makes them fail with its error and change nothing.
//
// Tenants, domain names and usernames compare and sort byte by byte, whatever
// case, accents or trailing spaces they have. Text, times and addresses come
// back exactly as they went in.
//
// Callers pass valid UTF-8 without U+0000. Tenants, domain names and usernames
// of up to 255 bytes, and names and hashes of up to 1,024, are stored. An
// adapter may refuse longer ones with an error of its own, but never cuts them.
type Store interface {
	// AddDomain records a domain. ErrTaken: a domain of this name exists,
	// whoever it belongs to.
	AddDomain(ctx context.Context, d Domain) error

	// Domain returns one domain of the tenant. ErrNotFound: the tenant has no
	// such domain.
	Domain(ctx context.Context, tenant TenantID, name string) (Domain, error)

	// Domains lists the tenant's domains by name. An unknown tenant has none.
	Domains(ctx context.Context, tenant TenantID, page Page) ([]Domain, error)

	// DeleteDomain removes the tenant's domain and every user of it, in one
	// step. The usernames stay on record and are never issued again. The name
	// of the domain can be added again, by any tenant, and no user comes back
	// with it. ErrNotFound: the tenant has no such domain.
	DeleteDomain(ctx context.Context, tenant TenantID, name string) error

	// AddUser records a user as it is given, and the hash of its password.
	// ErrNotFound: the tenant u.Tenant has no domain u.Domain. ErrTaken: the
	// username was issued before, to anybody, even if that user or its domain
	// is gone. If both hold, either is returned.
	AddUser(ctx context.Context, u User, hash string) error

	// User returns one user of the tenant. ErrNotFound: the tenant has no such
	// user.
	User(ctx context.Context, tenant TenantID, username string) (User, error)

	// Users lists the users of the tenant's domain by username. ErrNotFound:
	// the tenant has no such domain (one without users is an empty list).
	Users(ctx context.Context, tenant TenantID, domain string, page Page) ([]User, error)

	// RenameUser changes the user's Name and nothing else. The name may be the
	// one it has. ErrNotFound: the tenant has no such user.
	RenameUser(ctx context.Context, tenant TenantID, username, name string) error

	// SetPassword replaces the user's hash, sets PasswordSet to at, counts
	// Generation up by one, and changes nothing else, if Generation is still
	// the one given. Of several calls with the same generation exactly one
	// succeeds. ErrConflict: the generation is another. ErrNotFound: the
	// tenant has no such user.
	SetPassword(ctx context.Context, tenant TenantID, username string, generation int64, hash string, at time.Time) error

	// DeleteUser removes the user. Its username stays on record and is never
	// issued again. ErrNotFound: the tenant has no such user.
	DeleteUser(ctx context.Context, tenant TenantID, username string) error

	// Lookup returns a user and the hash of its password, whoever it belongs
	// to. It serves logins: it is the only way to a hash and the only read
	// that names no tenant. ErrNotFound: there is no such user.
	Lookup(ctx context.Context, username string) (u User, hash string, err error)

	// RecordLogin records a successful login at the given time from the given
	// address, as the user's LastConnection and LastConnectionFrom. A time
	// that is not after the one on record changes nothing and is no error, so
	// nodes may report in any order. ErrNotFound: there is no such user.
	RecordLogin(ctx context.Context, username string, at time.Time, from netip.Addr) error
}
