// Package memory keeps a relay's domains, users and mail in memory. It is for tests
// and trials, and it is the shortest adapter to read before you write your own. All
// data is lost when the process ends.
package memory

import (
	"cmp"
	"context"
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
