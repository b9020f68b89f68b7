package smarthost

import (
	"errors"
	"slices"

	"github.com/gatepost-mail/gatepost/relay"
)

// An internalError is a failure of the way to the upstream, and not a reply to the message.
// The upstream is the operator's, so its text is not for tenants: see [relay.Internal].
type internalError struct{ error }

func (e internalError) Unwrap() error { return e.error }
func (internalError) Internal() bool  { return true }

// markInternal returns err as an internalError if it is about the upstream. If err names
// recipients, the result has the same recipients, and their errors are marked.
func markInternal(err error) error {
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		c := *refused
		c.Recipients = slices.Clone(c.Recipients)
		for i := range c.Recipients {
			c.Recipients[i].Err = markInternal(c.Recipients[i].Err)
		}
		return &c
	}
	if isInternal(err) {
		return internalError{err}
	}
	return err
}

// isInternal reports whether err is about the upstream. It is unless it has a reply to the
// message: outbound keeps a reply about this client or the connection, such as a 421 at any
// step, as text only. A BusyError is about how much the upstream takes.
func isInternal(err error) bool {
	if errors.As(err, new(*relay.BusyError)) {
		return true
	}
	return !errors.As(err, new(*relay.ReplyError)) && !errors.As(err, new(doubt))
}
