package memory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Setups = (*Store)(nil)

// A setups is the part of a Store that is a [store.Setups].
type setups struct {
	mu      sync.Mutex
	all     map[setupKey]store.Setup
	holders map[string]setupKey // by domain
	domains map[string]map[setupKey]bool
}

type setupKey struct {
	domain string
	tenant store.TenantID
	added  int64 // in microseconds, so that equal times are equal keys
}

func setupKeyOf(s *store.Setup) setupKey { return setupKey{s.Domain, s.Tenant, s.Added.UnixMicro()} }

// Setup implements [store.Setups].
func (s *Store) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	return s.setups.get(ctx, func(*setups) setupKey { return setupKey{domain, tenant, added.UnixMicro()} })
}

// HoldingSetup implements [store.Setups].
func (s *Store) HoldingSetup(ctx context.Context, domain string) (store.Setup, error) {
	return s.setups.get(ctx, func(p *setups) setupKey { return p.holders[domain] })
}

func (p *setups) get(ctx context.Context, key func(*setups) setupKey) (store.Setup, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return store.Setup{}, err
	}
	s, ok := p.all[key(p)]
	if !ok {
		return store.Setup{}, store.ErrNotFound
	}
	return s, nil
}

// SetupsOf implements [store.Setups].
func (s *Store) SetupsOf(ctx context.Context, tenant store.TenantID, domains []string) ([]store.Setup, error) {
	wanted := make(map[string]bool)
	for _, d := range domains {
		wanted[d] = true
	}
	return s.setups.list(ctx, func(su *store.Setup) bool { return su.Tenant == tenant && wanted[su.Domain] })
}

// OpenSetups implements [store.Setups].
func (s *Store) OpenSetups(ctx context.Context, tenant store.TenantID, settled string, limit int) ([]store.Setup, error) {
	list, err := s.setups.list(ctx, func(su *store.Setup) bool { return su.Tenant == tenant && !(su.Holds && su.State == settled) })
	slices.SortFunc(list, func(a, b store.Setup) int {
		switch {
		case a.Holds && b.Holds:
			return cmp.Compare(a.State, b.State)
		case a.Holds:
			return -1
		case b.Holds:
			return 1
		}
		return 0
	})
	return list[:min(len(list), max(limit, 0))], err
}

// list returns the setups that match.
func (p *setups) list(ctx context.Context, match func(*store.Setup) bool) ([]store.Setup, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var list []store.Setup
	for _, su := range p.all {
		if match(&su) {
			list = append(list, su)
		}
	}
	return list, nil
}

// SetSetup implements [store.Setups].
func (s *Store) SetSetup(ctx context.Context, new store.Setup) error {
	p, key := &s.setups, setupKeyOf(&new)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.all == nil {
		p.all, p.holders, p.domains = make(map[setupKey]store.Setup), make(map[string]setupKey), make(map[string]map[setupKey]bool)
	}
	if p.all[key].Version != new.Version {
		return store.ErrConflict
	}
	if new.Holds && new.Version == 0 {
		return errors.New("memory: set setup: a new setup cannot hold its domain")
	}
	holder, held := p.holders[new.Domain]
	switch {
	case new.Holds && (!held || holder != key):
		p.take(key, new.Checked)
	case !new.Holds && held && holder == key:
		delete(p.holders, new.Domain)
	}
	new.Version++
	p.keep(key, new)
	return nil
}

// take gives a domain to one of its setups. It changes the others. The caller must hold
// p.mu.
func (p *setups) take(key setupKey, checked time.Time) {
	for other := range p.domains[key.domain] {
		s := p.all[other]
		s.Holds, s.Token, s.Next = false, "", checked
		s.Version++
		p.all[other] = s
	}
	p.holders[key.domain] = key
}

// keep writes a setup. The caller must hold p.mu.
func (p *setups) keep(key setupKey, s store.Setup) {
	if p.domains[key.domain] == nil {
		p.domains[key.domain] = make(map[setupKey]bool)
	}
	p.domains[key.domain][key] = true
	p.all[key] = s
}

// DropSetup implements [store.Setups].
func (s *Store) DropSetup(ctx context.Context, old store.Setup) error {
	p, key := &s.setups, setupKeyOf(&old)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if is, ok := p.all[key]; !ok || is.Version != old.Version {
		return store.ErrConflict
	}
	if p.holders[old.Domain] == key {
		delete(p.holders, old.Domain)
	}
	delete(p.all, key)
	if delete(p.domains[key.domain], key); len(p.domains[key.domain]) == 0 {
		delete(p.domains, key.domain)
	}
	return nil
}

// DueSetups implements [store.Setups].
func (s *Store) DueSetups(ctx context.Context, now, until time.Time, limit int) ([]store.Setup, error) {
	p := &s.setups
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var due []store.Setup
	for _, s := range p.all {
		if !s.Next.After(now) {
			due = append(due, s)
		}
	}
	slices.SortFunc(due, func(a, b store.Setup) int { return a.Next.Compare(b.Next) })
	due = due[:min(len(due), max(limit, 0))]
	for i := range due {
		due[i].Next = until
		p.all[setupKeyOf(&due[i])] = due[i]
	}
	return due, nil
}
