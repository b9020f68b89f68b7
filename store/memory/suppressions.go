package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Suppressions = (*Store)(nil)

// A suppressions is the part of a Store that is a [store.Suppressions].
type suppressions struct {
	mu  sync.RWMutex
	all map[store.TenantID]map[string]store.Suppression
}

// Suppress implements [store.Suppressions].
func (s *Store) Suppress(ctx context.Context, list []store.Suppression) (lost []store.Suppression, err error) {
	p := &s.suppressions
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.all == nil {
		p.all = make(map[store.TenantID]map[string]store.Suppression)
	}
	for _, su := range list {
		of := p.all[su.Tenant]
		if of[su.Address].Version != su.Version {
			lost = append(lost, su)
			continue
		}
		if of == nil {
			of = make(map[string]store.Suppression)
			p.all[su.Tenant] = of
		}
		su.Version++
		of[su.Address] = su
	}
	return lost, nil
}

// Suppression implements [store.Suppressions].
func (s *Store) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	p := &s.suppressions
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return store.Suppression{}, err
	}
	su, ok := p.all[tenant][address]
	if !ok {
		return store.Suppression{}, store.ErrNotFound
	}
	return su, nil
}

// SuppressionsByKey implements [store.Suppressions].
func (s *Store) SuppressionsByKey(ctx context.Context, keys []store.SuppressionKey) (list []store.Suppression, err error) {
	p := &s.suppressions
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if su, ok := p.all[key.Tenant][key.Address]; ok {
			list = append(list, su)
		}
	}
	return list, nil
}

// ListSuppressions implements [store.Suppressions].
func (s *Store) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) ([]store.Suppression, error) {
	list, err := s.suppressionsIf(ctx, tenant, func(su *store.Suppression) bool {
		return su.Address > page.After && contains(su.Address, page.Search) && f.Match(su)
	})
	slices.SortFunc(list, func(a, b store.Suppression) int { return cmp.Compare(a.Address, b.Address) })
	return list[:min(len(list), page.Size())], err
}

// SuppressionsSince implements [store.Suppressions].
func (s *Store) SuppressionsSince(ctx context.Context, tenant store.TenantID, changed time.Time, limit int) ([]store.Suppression, error) {
	list, err := s.suppressionsIf(ctx, tenant, func(su *store.Suppression) bool { return !su.Changed.Before(changed) })
	slices.SortFunc(list, func(a, b store.Suppression) int { return a.Changed.Compare(b.Changed) })
	return list[:min(len(list), max(limit, 0))], err
}

// suppressionsIf returns the suppressions of a tenant for which match is true.
func (s *Store) suppressionsIf(ctx context.Context, tenant store.TenantID, match func(*store.Suppression) bool) (list []store.Suppression, err error) {
	p := &s.suppressions
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, su := range p.all[tenant] {
		if match(&su) {
			list = append(list, su)
		}
	}
	return list, nil
}

// ExpireSuppressions implements [store.Suppressions].
func (s *Store) ExpireSuppressions(ctx context.Context, now time.Time, limit int) (removed int, err error) {
	p := &s.suppressions
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for tenant, of := range p.all {
		for address, su := range of {
			if removed < limit && !su.Until.IsZero() && !now.Before(su.Until) {
				delete(of, address)
				removed++
			}
		}
		if len(of) == 0 {
			delete(p.all, tenant)
		}
	}
	return removed, nil
}

// contains reports whether text contains search. It ignores case.
func contains(text, search string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(search))
}
