package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepost-mail/gatepost/store"
)

// An Identity is the result of a login: the SMTP user, its domain and tenant, and
// which of the user's passwords was used. It contains no secret.
type Identity struct {
	Tenant   store.TenantID
	Domain   string
	Username string

	// Generation is the number of the user's password. A reset increments it and
	// so revokes the Identity. See [Manager.Validate].
	Generation int64
}

// IdentityOf returns the Identity of a user, as after a login with its present password. It
// is for relay.Server.Submit, which sends mail of the product itself as a user.
func IdentityOf(u store.User) Identity {
	return Identity{Tenant: u.Tenant, Domain: u.Domain, Username: u.Username, Generation: u.Generation}
}

// Validate returns nil if the identity is still valid and may send. It returns
// [ErrRevoked] if any node has reset the password or deleted the user or its domain,
// and a [*SuspendedError] if the user or its domain is suspended. Validate
// reads the store after the call began. Concurrent calls for one user may share that
// read. Any other error is a failure of the store.
func (m *Manager) Validate(ctx context.Context, id Identity) error {
	u, err := m.current(ctx, id)
	if err != nil {
		return err
	}
	return suspendedError(u)
}

// old returns the identity of logins with the password before.
func old(u store.User) Identity {
	id := IdentityOf(u)
	id.Generation--
	return id
}

// current returns the user of an identity, or ErrRevoked if it is not valid any more.
func (m *Manager) current(ctx context.Context, id Identity) (store.User, error) {
	if err := m.ready(); err != nil {
		return store.User{}, err
	}
	if !plausible(id.Username) {
		return store.User{}, ErrRevoked
	}
	u, _, _, err := m.reads.lookup(ctx, m.Store, id.Username)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.User{}, ErrRevoked
	case err != nil:
		return store.User{}, fmt.Errorf("credentials: validate: %w", err)
	case id != IdentityOf(u) && !(overlaps(u) && id == old(u)):
		return store.User{}, ErrRevoked
	}
	return u, nil
}
