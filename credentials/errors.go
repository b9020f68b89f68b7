package credentials

import "errors"

// The errors a caller tells apart; match them with [errors.Is]. Errors of the
// store come through wrapped: store.ErrNotFound, store.ErrTaken and
// store.ErrConflict keep their meaning. Any other error means that the work
// could not be done (the database is away), and says nothing about a password.
var (
	// ErrDenied means that username and password don't belong together. A
	// wrong password, an unknown username, a deleted user and a deleted
	// domain are denied alike.
	ErrDenied = errors.New("credentials: access denied")

	// ErrRevoked means that an Identity is no longer good: its password was
	// reset, or its user or domain was deleted.
	ErrRevoked = errors.New("credentials: revoked")

	// ErrBusy means that a password wasn't looked at, or none was made, because
	// too many others are waiting or too many wrong ones came from the same
	// address. It says nothing about the password; the same may work a few
	// seconds later.
	ErrBusy = errors.New("credentials: busy, try again later")
)

// A LoginError is the error of a login that failed. It wraps [ErrDenied],
// [ErrBusy] or the error of the store.
type LoginError struct {
	// Claimed is the user whose username the client sent. The client has not
	// proved to be that user. It is the zero Identity if there is no such user,
	// or if the store could not tell. It is for logs and events: a client must
	// not learn from it which usernames exist.
	Claimed Identity

	// Err is the cause.
	Err error
}

// Error returns the text of the cause. It does not hold the username.
func (e *LoginError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// An InvalidError says what is wrong with something a person typed. Match it
// with [errors.As]. Reason is fit to be shown to that person.
type InvalidError struct {
	Field  string // "domain", "name" or "key"
	Reason string // one sentence without a full stop
}

// Error returns the field and the reason in one line.
func (e *InvalidError) Error() string {
	return "credentials: invalid " + e.Field + ": " + e.Reason
}

// errNoTenant is an ordinary error on purpose: it is no mistake of a person's,
// but of a program that lost track of whom it works for.
var errNoTenant = errors.New("credentials: no tenant: its ID is empty")
