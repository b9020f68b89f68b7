package smarthost

import (
	"errors"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
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
// step, as text only. Two kinds of replies are about the upstream too: at any step how much
// it takes from this relay, and a temporary one to MAIL, before the upstream has heard of a
// recipient. A doubt is such a reply as well.
func isInternal(err error) bool {
	return !errors.As(err, new(*relay.ReplyError)) || errors.As(err, new(*relay.BusyError)) ||
		outbound.Throttled(err) || isMailDeferral(err)
}

// isMailDeferral reports whether err is a temporary reply to MAIL that is not about the
// sender's address (X.1.Z), the size (X.3.4) or the content (X.6.Z; RFC 3463 section 3).
func isMailDeferral(err error) bool {
	var e *outbound.Error
	if !errors.As(err, &e) || e.Step != outbound.Mail || !e.Temporary() || e.Reply == nil {
		return false
	}
	_, detail, _ := strings.Cut(e.Reply.Enhanced, ".")
	return !strings.HasPrefix(detail, "1.") && !strings.HasPrefix(detail, "6.") && detail != "3.4"
}
