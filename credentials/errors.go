package credentials

import "errors"

// Errors to match with [errors.Is]. Errors of the store are wrapped:
// store.ErrNotFound, store.ErrTaken and store.ErrConflict keep their meaning. Any
// other error is a failure, for example of the database. It does not mean that a
// password is wrong.
var (
	// ErrDenied means that the username or the password is wrong. It is the same
	// for a wrong password, an unknown username, a deleted user and a deleted
	// domain. ErrNetwork matches it, too.
	ErrDenied = errors.New("credentials: access denied")

	// ErrRevoked means that an Identity is no longer valid: its password was
	// reset, or its user or domain was deleted.
	ErrRevoked = errors.New("credentials: revoked")

	// ErrBusy means that a password was not checked or not made, because too
	// many requests wait for a hash or too many wrong passwords came from the
	// same address. The password may be right: retry after a few seconds.
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

// Error returns the text of the cause. It does not contain the username.
func (e *LoginError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// An InvalidError reports an invalid value that a person typed. Match it with
// [errors.As]. Reason can be shown to that person.
type InvalidError struct {
	Field  string // "domain", "name", "key", "reason", "overlap" or "networks"
	Reason string // one sentence without a full stop
}

// Error returns the field and the reason in one line.
func (e *InvalidError) Error() string {
	return "credentials: invalid " + e.Field + ": " + e.Reason
}

// errNoTenant is not an InvalidError, because the mistake is the program's and not
// a person's.
var errNoTenant = errors.New("credentials: no tenant: the ID is empty")
