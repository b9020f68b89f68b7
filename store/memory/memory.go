// Package memory keeps a relay's domains, users and mail in memory. It is for tests
// and trials, and it is the shortest adapter to read before you write your own. All
// data is lost when the process ends.
package memory

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A Store is a [store.Store], a [store.Spool], a [store.History], a
// [store.Allowances], a [store.Suppressions], a [store.Setups] and a [store.Endpoints] in
// memory. The zero value is empty and ready to use. A Store must not be copied. The time of Lookup and RecordLogin does not depend on the
// number of users; lists and DeleteDomain read every entry. Activities and counts
// stay until Expire removes them.
type Store struct {
	mu      sync.RWMutex
	domains map[domainKey]store.Domain
	owners  map[string]store.TenantID // of the domains that are not claims
	users   map[string]user
	issued  map[string]bool // every username that was ever added

	spool        spool        // has a lock of its own
	suppressions suppressions // has a lock of its own
	setups       setups       // has a lock of its own
	endpoints    endpoints    // has a lock of its own
}

type domainKey struct {
	tenant store.TenantID
	name   string
}

var _ store.Store = (*Store)(nil)

type user struct {
	store.User
	hash string
	old  string // the hash before, while a rotation overlaps
}

// AddDomain implements [store.Store].
func (s *Store) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.owns(d.Tenant, d.Name) {
		return store.ErrTaken
	}
	if _, taken := s.owners[d.Name]; taken && !d.Claim {
		return store.ErrTaken
	}
	if limit > 0 && len(s.domainsOf(d.Tenant)) >= limit {
		return store.ErrLimit
	}
	if !d.Claim {
		s.owners[d.Name] = d.Tenant
	}
	d.Users, d.LastConnection = 0, time.Time{}
	s.domains[domainKey{d.Tenant, d.Name}] = d
	return nil
}

// Domain implements [store.Store].
func (s *Store) Domain(ctx context.Context, tenant store.TenantID, name string) (store.Domain, error) {
	if err := s.rlock(ctx); err != nil {
		return store.Domain{}, err
	}
	defer s.mu.RUnlock()
	if !s.owns(tenant, name) {
		return store.Domain{}, store.ErrNotFound
	}
	list := []store.Domain{s.domains[domainKey{tenant, name}]}
	s.count(list)
	return list[0], nil
}

// Domains implements [store.Store].
func (s *Store) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, store.Found{}, err
	}
	defer s.mu.RUnlock()
	all := s.domainsOf(tenant)
	s.count(all)
	list, found := q.Domains(all)
	return list, found, nil
}

// domainsOf returns the tenant's domains, in no order. The caller must hold s.mu.
func (s *Store) domainsOf(tenant store.TenantID) (all []store.Domain) {
	for _, d := range s.domains {
		if d.Tenant == tenant {
			all = append(all, d)
		}
	}
	return all
}

// DomainsNamed implements [store.Store].
func (s *Store) DomainsNamed(ctx context.Context, name string) ([]store.Domain, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var list []store.Domain
	for key, d := range s.domains {
		if key.name == name {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b store.Domain) int { return cmp.Compare(a.Tenant, b.Tenant) })
	s.count(list)
	return list, nil
}

// count sets Users and LastConnection of the domains in list. The caller must hold
// s.mu.
func (s *Store) count(list []store.Domain) {
	at := make(map[domainKey]*store.Domain, len(list))
	for i := range list {
		at[domainKey{list[i].Tenant, list[i].Name}] = &list[i]
	}
	for _, u := range s.users {
		if d := at[domainKey{u.Tenant, u.Domain}]; d != nil {
			d.Users++
			if u.LastConnection.After(d.LastConnection) {
				d.LastConnection = u.LastConnection
			}
		}
	}
}

// SuspendDomain implements [store.Store].
func (s *Store) SuspendDomain(ctx context.Context, tenant store.TenantID, name, reason string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.owns(tenant, name) {
		return store.ErrNotFound
	}
	key := domainKey{tenant, name}
	d := s.domains[key]
	d.Suspended = reason
	s.domains[key] = d
	return nil
}

// DeleteDomain implements [store.Store].
func (s *Store) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.owns(tenant, name) {
		return store.ErrNotFound
	}
	delete(s.domains, domainKey{tenant, name})
	if s.owners[name] == tenant {
		delete(s.owners, name)
	}
	for username, u := range s.users {
		if u.Tenant == tenant && u.Domain == name {
			delete(s.users, username)
		}
	}
	return nil
}

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
func (s *Store) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string) error {
	return s.change(ctx, tenant, username, func(u *user) error {
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

func (s *Store) owns(tenant store.TenantID, domain string) bool {
	_, ok := s.domains[domainKey{tenant, domain}]
	return ok
}

// lock locks s for writing, or returns ctx's error if ctx has ended. The first
// call makes the maps.
func (s *Store) lock(ctx context.Context) error {
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.domains == nil {
		s.domains = make(map[domainKey]store.Domain)
		s.owners = make(map[string]store.TenantID)
		s.users = make(map[string]user)
		s.issued = make(map[string]bool)
	}
	return nil
}

// rlock is lock for reading.
func (s *Store) rlock(ctx context.Context) error {
	s.mu.RLock()
	if err := ctx.Err(); err != nil {
		s.mu.RUnlock()
		return err
	}
	return nil
}
