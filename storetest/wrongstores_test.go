package storetest_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Each type here is a correct store with one or two wrong methods; see mistakes.

type folded struct{ store.Store }

func (s folded) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	u.Username = strings.ToLower(u.Username)
	return s.Store.AddUser(ctx, u, hash, limit)
}

func (s folded) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	return s.Store.Lookup(ctx, strings.ToLower(username))
}

type noClaims struct{ store.Store }

func (s noClaims) DomainsNamed(ctx context.Context, name string) ([]store.Domain, error) {
	list, err := s.Store.DomainsNamed(ctx, name)
	return slices.DeleteFunc(list, func(d store.Domain) bool { return d.Claim }), err
}

type trimmed struct{ store.Store }

func (s trimmed) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	return s.Store.Lookup(ctx, strings.TrimRight(username, " "))
}

type cut struct{ store.Store }

func (s cut) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	return s.Store.RenameUser(ctx, tenant, username, name[:min(len(name), 1024)], sortName)
}

type milliseconds struct{ store.Store }

func (s milliseconds) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	u.Created = u.Created.Truncate(time.Millisecond)
	return s.Store.AddUser(ctx, u, hash, limit)
}

// lastReport keeps the connections outside of the store.
type lastReport struct {
	store.Store
	last *sync.Map
}

type connection struct {
	at   time.Time
	from netip.Addr
}

func (s lastReport) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	if _, _, _, err := s.Store.Lookup(ctx, username); err != nil {
		return err
	}
	s.last.Store(username, connection{at, from})
	return nil
}

func (s lastReport) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	u, hash, old, err := s.Store.Lookup(ctx, username)
	if c, ok := s.last.Load(username); ok && err == nil {
		u.LastConnection, u.LastConnectionFrom = c.(connection).at, c.(connection).from
	}
	return u, hash, old, err
}

type ignoresUnknown struct{ store.Store }

func (s ignoresUnknown) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	err := s.Store.RecordLogin(ctx, username, generation, at, from)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

type reissues struct{ store.Store }

func (s reissues) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	err := s.Store.AddUser(ctx, u, hash, limit)
	if _, _, _, gone := s.Lookup(ctx, u.Username); errors.Is(err, store.ErrTaken) && gone != nil {
		return nil
	}
	return err
}

type burns struct {
	store.Store
	used *sync.Map
}

func (s burns) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	if _, used := s.used.LoadOrStore(u.Username, true); used {
		return store.ErrTaken
	}
	return s.Store.AddUser(ctx, u, hash, limit)
}

type anyTenant struct{ store.Store }

func (s anyTenant) User(ctx context.Context, _ store.TenantID, username string) (store.User, error) {
	u, _, _, err := s.Lookup(ctx, username)
	return u, err
}

type addsTwice struct{ store.Store }

func (s addsTwice) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	err := s.Store.AddDomain(ctx, d, limit)
	if _, _, foreign := s.Users(ctx, d.Tenant, d.Name, store.Query{}); errors.Is(err, store.ErrTaken) && foreign == nil {
		return nil
	}
	return err
}

// firstTenant gives a name to the first tenant that adds it.
type firstTenant struct {
	store.Store
	first *sync.Map
}

func (s firstTenant) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	if first, _ := s.first.LoadOrStore(d.Name, d.Tenant); first != d.Tenant {
		return store.ErrTaken
	}
	return s.Store.AddDomain(ctx, d, limit)
}

// claims lets several tenants have each domain.
type claims struct{ store.Store }

func (s claims) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	d.Claim = true
	return s.Store.AddDomain(ctx, d, limit)
}

type cached struct {
	store.Store
	hashes *sync.Map
}

func (s cached) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	u, hash, old, err := s.Store.Lookup(ctx, username)
	if err == nil {
		first, _ := s.hashes.LoadOrStore(username, hash)
		hash = first.(string)
	}
	return u, hash, old, err
}

// counter counts the users that were added.
type counter struct {
	store.Store
	added *atomic.Int64
}

func (s counter) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	err := s.Store.AddUser(ctx, u, hash, limit)
	if err == nil {
		s.added.Add(1)
	}
	return err
}

func (s counter) Domain(ctx context.Context, tenant store.TenantID, name string) (store.Domain, error) {
	d, err := s.Store.Domain(ctx, tenant, name)
	d.Users = int(s.added.Load())
	return d, err
}

type countsRows struct{ store.Store }

func (s countsRows) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	if u, err := s.User(ctx, tenant, username); err == nil && u.Name == name {
		return store.ErrNotFound
	}
	return s.Store.RenameUser(ctx, tenant, username, name, sortName)
}

type anyGeneration struct{ store.Store }

func (s anyGeneration) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	err := s.Store.SetPassword(ctx, tenant, username, generation, hash, at)
	for errors.Is(err, store.ErrConflict) {
		var u store.User
		if u, err = s.User(ctx, tenant, username); err == nil {
			err = s.Store.SetPassword(ctx, tenant, username, u.Generation, hash, at)
		}
	}
	return err
}

type checksThenSets struct{ store.Store }

func (s checksThenSets) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	u, err := s.User(ctx, tenant, username)
	if err != nil {
		return err
	}
	if u.Generation != generation {
		return store.ErrConflict
	}
	time.Sleep(time.Millisecond)
	return anyGeneration(s).SetPassword(ctx, tenant, username, generation, hash, at)
}

type checksThenAdds struct{ store.Store }

func (s checksThenAdds) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	if _, _, err := s.Users(ctx, u.Tenant, u.Domain, store.Query{}); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	err := s.Store.AddUser(ctx, u, hash, limit)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// This is what a store does whose table of users ignores the table of domains.
	const ghosts = "ghosts.example"
	if err := s.AddDomain(ctx, store.Domain{Tenant: u.Tenant, Name: ghosts}, 0); err != nil && !errors.Is(err, store.ErrTaken) {
		return err
	}
	u.Domain = ghosts
	return s.Store.AddUser(ctx, u, hash, limit)
}

type deaf struct{ store.Store }

func (s deaf) DeleteUser(ctx context.Context, tenant store.TenantID, username string) error {
	return s.Store.DeleteUser(context.WithoutCancel(ctx), tenant, username)
}

type busy struct{ store.Store }

func (busy) RenameUser(context.Context, store.TenantID, string, string, string) error {
	return errors.New("busy")
}

type inSteps struct{ store.Store }

func (s inSteps) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	users, _, err := s.Users(ctx, tenant, name, store.Query{})
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := s.DeleteUser(ctx, tenant, u.Username); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return s.Store.DeleteDomain(ctx, tenant, name)
}
