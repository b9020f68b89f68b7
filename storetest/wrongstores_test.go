package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Each type here is a correct store with one or two wrong methods; see mistakes.

type folded struct{ store.Store }

func (s folded) AddUser(ctx context.Context, u store.User, hash string) error {
	u.Username = strings.ToLower(u.Username)
	return s.Store.AddUser(ctx, u, hash)
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

func (s cut) RenameUser(ctx context.Context, tenant store.TenantID, username, name string) error {
	return s.Store.RenameUser(ctx, tenant, username, name[:min(len(name), 1024)])
}

type milliseconds struct{ store.Store }

func (s milliseconds) AddUser(ctx context.Context, u store.User, hash string) error {
	u.Created = u.Created.Truncate(time.Millisecond)
	return s.Store.AddUser(ctx, u, hash)
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

func (s reissues) AddUser(ctx context.Context, u store.User, hash string) error {
	err := s.Store.AddUser(ctx, u, hash)
	if _, _, _, gone := s.Lookup(ctx, u.Username); errors.Is(err, store.ErrTaken) && gone != nil {
		return nil
	}
	return err
}

type burns struct {
	store.Store
	used *sync.Map
}

func (s burns) AddUser(ctx context.Context, u store.User, hash string) error {
	if _, used := s.used.LoadOrStore(u.Username, true); used {
		return store.ErrTaken
	}
	return s.Store.AddUser(ctx, u, hash)
}

type anyTenant struct{ store.Store }

func (s anyTenant) User(ctx context.Context, _ store.TenantID, username string) (store.User, error) {
	u, _, _, err := s.Lookup(ctx, username)
	return u, err
}

type addsTwice struct{ store.Store }

func (s addsTwice) AddDomain(ctx context.Context, d store.Domain) error {
	err := s.Store.AddDomain(ctx, d)
	if _, foreign := s.Users(ctx, d.Tenant, d.Name, store.Page{}); errors.Is(err, store.ErrTaken) && foreign == nil {
		return nil
	}
	return err
}

// firstTenant gives a name to the first tenant that adds it.
type firstTenant struct {
	store.Store
	first *sync.Map
}

func (s firstTenant) AddDomain(ctx context.Context, d store.Domain) error {
	if first, _ := s.first.LoadOrStore(d.Name, d.Tenant); first != d.Tenant {
		return store.ErrTaken
	}
	return s.Store.AddDomain(ctx, d)
}

// claims lets several tenants have each domain.
type claims struct{ store.Store }

func (s claims) AddDomain(ctx context.Context, d store.Domain) error {
	d.Claim = true
	return s.Store.AddDomain(ctx, d)
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

type emptyList struct{ store.Store }

func (s emptyList) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) ([]store.User, error) {
	list, err := s.Store.Users(ctx, tenant, domain, page)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return list, err
}

type unlimited struct{ store.Store }

func (s unlimited) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) ([]store.User, error) {
	if page.Limit == 0 {
		page.Limit = 1 << 30
	}
	return s.Store.Users(ctx, tenant, domain, page)
}

// numbered keeps the position in the list at which each page ended.
type numbered struct {
	store.Store
	ends *sync.Map
}

func (s numbered) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) ([]store.User, error) {
	list, err := s.Store.Users(ctx, tenant, domain, store.Page{Limit: 1 << 30})
	if err != nil {
		return nil, err
	}
	start := 0
	if end, ok := s.ends.Load(page.After); ok {
		start = min(end.(int), len(list))
	}
	list = list[start:][:min(page.Size(), len(list)-start)]
	if len(list) > 0 {
		s.ends.Store(list[len(list)-1].Username, start+len(list))
	}
	return list, nil
}

type collated struct{ store.Store }

func (s collated) Domains(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Domain, error) {
	list, err := s.Store.Domains(ctx, tenant, page)
	slices.SortStableFunc(list, func(a, b store.Domain) int {
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list, err
}

// pattern searches as SQL's LIKE does.
type pattern struct{ store.Store }

func (s pattern) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) ([]store.User, error) {
	like := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(page.Search))
	return s.matching(ctx, tenant, domain, page, regexp.MustCompile("(?i)"+like))
}

func (s pattern) matching(ctx context.Context, tenant store.TenantID, domain string, page store.Page, re *regexp.Regexp) ([]store.User, error) {
	size := page.Size()
	list, err := s.Store.Users(ctx, tenant, domain, store.Page{After: page.After, Limit: 1 << 30})
	list = slices.DeleteFunc(list, func(u store.User) bool { return !re.MatchString(u.Name + "\x00" + u.Username) })
	return list[:min(len(list), size)], err
}

type caseful struct{ store.Store }

func (s caseful) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) ([]store.User, error) {
	return pattern(s).matching(ctx, tenant, domain, page, regexp.MustCompile(regexp.QuoteMeta(page.Search)))
}

// counter counts the users that were added.
type counter struct {
	store.Store
	added *atomic.Int64
}

func (s counter) AddUser(ctx context.Context, u store.User, hash string) error {
	err := s.Store.AddUser(ctx, u, hash)
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

func (s countsRows) RenameUser(ctx context.Context, tenant store.TenantID, username, name string) error {
	if u, err := s.User(ctx, tenant, username); err == nil && u.Name == name {
		return store.ErrNotFound
	}
	return s.Store.RenameUser(ctx, tenant, username, name)
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

func (s checksThenAdds) AddUser(ctx context.Context, u store.User, hash string) error {
	if _, err := s.Users(ctx, u.Tenant, u.Domain, store.Page{}); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	err := s.Store.AddUser(ctx, u, hash)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// This is what a store does whose table of users ignores the table of domains.
	const ghosts = "ghosts.example"
	if err := s.AddDomain(ctx, store.Domain{Tenant: u.Tenant, Name: ghosts}); err != nil && !errors.Is(err, store.ErrTaken) {
		return err
	}
	u.Domain = ghosts
	return s.Store.AddUser(ctx, u, hash)
}

type deaf struct{ store.Store }

func (s deaf) DeleteUser(ctx context.Context, tenant store.TenantID, username string) error {
	return s.Store.DeleteUser(context.WithoutCancel(ctx), tenant, username)
}

type busy struct{ store.Store }

func (busy) RenameUser(context.Context, store.TenantID, string, string) error {
	return errors.New("busy")
}

type inSteps struct{ store.Store }

func (s inSteps) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	users, err := s.Users(ctx, tenant, name, store.Page{})
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
