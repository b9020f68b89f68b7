package credentials

import (
	"context"
	"fmt"

	"github.com/gatepost-mail/gatepost/store"
)

// FindUser returns the user of a username, whichever tenant it belongs to. It is for
// operators; what a tenant sees is in [Tenant]. [store.ErrNotFound]: there is none.
func (m *Manager) FindUser(ctx context.Context, username string) (store.User, error) {
	if err := m.ready(); err != nil {
		return store.User{}, err
	}
	if !plausible(username) {
		return store.User{}, fmt.Errorf("credentials: user %.40q: %w", username, store.ErrNotFound)
	}
	u, _, _, err := m.Store.Lookup(ctx, username)
	if err != nil {
		return store.User{}, fmt.Errorf("credentials: user %s: %w", username, err)
	}
	return u, nil
}

// FindDomains returns the domains of all tenants that have this name, by tenant. It is
// for operators. There may be several, because tenants may claim a domain that is not
// theirs. A name that no domain can have is an [*InvalidError].
func (m *Manager) FindDomains(ctx context.Context, name string) ([]store.Domain, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	name, err := NormalizeDomain(name)
	if err != nil {
		return nil, err
	}
	list, err := m.Store.DomainsNamed(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("credentials: domain %s: %w", name, err)
	}
	return list, nil
}
