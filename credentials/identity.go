package credentials

import "github.com/gatepost-mail/gatepost/store"

// An Identity is what a login proved: which SMTP user it was, of which domain
// and tenant, and with which of its passwords. It holds no secret.
type Identity struct {
	Tenant   store.TenantID
	Domain   string
	Username string

	// Generation counts the user's passwords; a reset makes an Identity with
	// an older one worthless. See [Manager.Validate].
	Generation int64
}
