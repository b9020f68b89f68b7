package store

import "strings"

// InternalReason is the reason that tenants read if a server of the operator's own has a
// problem. In a [Delivery], an [Outcome] and a [Suspension] it is followed by ": " and
// what went wrong, for the operator.
const InternalReason = "our outgoing server has a problem"

// PublicReason returns a reason as tenants may read it: without what follows
// [InternalReason].
func PublicReason(reason string) string {
	if IsInternal(reason) {
		return InternalReason
	}
	return reason
}

// IsInternal reports whether a reason is [InternalReason], with or without what follows it.
func IsInternal(reason string) bool {
	rest, ok := strings.CutPrefix(reason, InternalReason)
	return ok && (rest == "" || strings.HasPrefix(rest, ": "))
}
