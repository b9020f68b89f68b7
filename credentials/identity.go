package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepost-mail/gatepost/store"
)

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

func identify(u store.User) Identity {
	return Identity{Tenant: u.Tenant, Domain: u.Domain, Username: u.Username, Generation: u.Generation}
}

// Validate reports whether the identity is still good: nil, or [ErrRevoked]
// after a reset of the password, or after the user or its domain was deleted,
// on whichever node. It costs one read of the store. Any other error means that
// the store couldn't tell.
func (m *Manager) Validate(ctx context.Context, id Identity) error {
	if err := m.ready(); err != nil {
		return err
	}
	if !plausible(id.Username) {
		return ErrRevoked
	}
	u, _, err := m.Store.Lookup(ctx, id.Username)
	if errors.Is(err, store.ErrNotFound) {
		return ErrRevoked
	}
	if err != nil {
		return fmt.Errorf("credentials: validate: %w", err)
	}
	if identify(u) != id {
		return ErrRevoked
	}
	return nil
}
