package memory

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// AddUser implements [store.Store].
func (s *Store) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.owns(u.Tenant, u.Domain) {
		return store.ErrNotFound
	}
	if s.issued[u.Username] {
		return store.ErrTaken
	}
	if limit > 0 && len(s.usersOf(u.Tenant, u.Domain)) >= limit {
		return store.ErrLimit
	}
	s.issued[u.Username] = true
	u.DomainSuspended, u.Networks = "", networksOf(u.Networks)
	added := user{User: u, hash: hash}
	added.endOverlap()
	s.users[u.Username] = added
	return nil
}

// User implements [store.Store].
func (s *Store) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	if err := s.rlock(ctx); err != nil {
		return store.User{}, err
	}
	defer s.mu.RUnlock()
	u, ok := s.users[username]
	if !ok || u.Tenant != tenant {
		return store.User{}, store.ErrNotFound
	}
	return s.asRead(u), nil
}

// asRead returns a user with what is read from its domain. The caller must hold s.mu.
func (s *Store) asRead(u user) store.User {
	u.Networks = slices.Clone(u.Networks)
	u.DomainSuspended = s.domains[domainKey{u.Tenant, u.Domain}].Suspended
	return u.User
}

// Users implements [store.Store].
func (s *Store) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, store.Found{}, err
	}
	defer s.mu.RUnlock()
	if domain != "" && !s.owns(tenant, domain) {
		return nil, store.Found{}, store.ErrNotFound
	}
	list, found := q.Users(s.usersOf(tenant, domain))
	return list, found, nil
}

// usersOf returns the users of a domain, or of all domains of the tenant if domain is
// empty, in no order. The caller must hold s.mu.
func (s *Store) usersOf(tenant store.TenantID, domain string) (all []store.User) {
	for _, u := range s.users {
		if u.Tenant == tenant && (domain == "" || u.Domain == domain) {
			all = append(all, s.asRead(u))
		}
	}
	return all
}

// RenameUser implements [store.Store].
func (s *Store) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		u.Name, u.SortName = name, sortName
		return nil
	})
}

// SetSortNames implements [store.Store].
func (s *Store) SetSortNames(ctx context.Context, tenant store.TenantID, sortNames map[string]string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	for username, sortName := range sortNames {
		if u, ok := s.users[username]; ok && u.Tenant == tenant && u.SortName == "" {
			u.SortName = sortName
			s.users[username] = u
		}
	}
	return nil
}

// SuspendUser implements [store.Store].
func (s *Store) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		if seen != nil && u.Suspended != *seen {
			return store.ErrConflict
		}
		u.Suspended = reason
		return nil
	})
}

// SetNetworks implements [store.Store].
func (s *Store) SetNetworks(ctx context.Context, tenant store.TenantID, username string, networks []netip.Prefix) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		u.Networks = networksOf(networks)
		return nil
	})
}

// networksOf returns a copy of a list, or nil if it is empty.
func networksOf(list []netip.Prefix) []netip.Prefix { return append([]netip.Prefix(nil), list...) }

// SetPassword implements [store.Store].
func (s *Store) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		if u.Generation != generation {
			return store.ErrConflict
		}
		u.setPassword(hash, at)
		u.endOverlap()
		return nil
	})
}

func (u *user) setPassword(hash string, at time.Time) {
	u.Generation++
	u.PasswordSet = at
	u.hash = hash
}

// RotatePassword implements [store.Store].
func (s *Store) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, until time.Time) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		if u.Generation != generation {
			return store.ErrConflict
		}
		u.old, u.OldUntil, u.OldConnection, u.NewConnection = u.hash, until, time.Time{}, time.Time{}
		if !u.LastConnection.Before(u.PasswordSet) {
			u.OldConnection = u.LastConnection
		}
		u.setPassword(hash, at)
		return nil
	})
}

// EndOverlap implements [store.Store].
func (s *Store) EndOverlap(ctx context.Context, tenant store.TenantID, username string, generation int64) error {
	return s.change(ctx, tenant, username, func(u *user) error {
		if u.Generation != generation {
			return store.ErrConflict
		}
		u.endOverlap()
		return nil
	})
}

func (u *user) endOverlap() {
	u.old, u.OldUntil, u.OldConnection, u.NewConnection = "", time.Time{}, time.Time{}, time.Time{}
}

// DeleteUser implements [store.Store].
func (s *Store) DeleteUser(ctx context.Context, tenant store.TenantID, username string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if u, ok := s.users[username]; !ok || u.Tenant != tenant {
		return store.ErrNotFound
	}
	delete(s.users, username)
	return nil
}

// Lookup implements [store.Store].
func (s *Store) Lookup(ctx context.Context, username string) (u store.User, hash, old string, err error) {
	if err := s.rlock(ctx); err != nil {
		return store.User{}, "", "", err
	}
	defer s.mu.RUnlock()
	found, ok := s.users[username]
	if !ok {
		return store.User{}, "", "", store.ErrNotFound
	}
	return s.asRead(found), found.hash, found.old, nil
}

// RecordLogin implements [store.Store].
func (s *Store) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	u, ok := s.users[username]
	if !ok {
		return store.ErrNotFound
	}
	if at.After(u.LastConnection) {
		u.LastConnection, u.LastConnectionFrom = at, from
	}
	if overlaps := !u.OldUntil.IsZero(); overlaps && generation == u.Generation && at.After(u.NewConnection) {
		u.NewConnection = at
	} else if overlaps && generation == u.Generation-1 && at.After(u.OldConnection) {
		u.OldConnection = at
	}
	s.users[username] = u
	return nil
}

// change calls f with a copy of the tenant's user, and stores the copy if f returns
// nil.
func (s *Store) change(ctx context.Context, tenant store.TenantID, username string, f func(*user) error) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	u, ok := s.users[username]
	if !ok || u.Tenant != tenant {
		return store.ErrNotFound
	}
	if err := f(&u); err != nil {
		return err
	}
	s.users[username] = u
	return nil
}
