package memory

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Endpoints = (*Store)(nil)

// An endpoints is the part of a Store that is a [store.Endpoints].
type endpoints struct {
	mu  sync.Mutex
	all map[store.TenantID]map[string]*endpoint // by ID
}

type endpoint struct {
	store.Endpoint
	attempts []store.EndpointAttempt // by ID
}

// SetEndpoint implements [store.Endpoints].
func (s *Store) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	p := &s.endpoints
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	of := p.all[e.Tenant]
	is := of[e.ID]
	switch {
	case e.Version == 0 && (is != nil || hasSlot(of, e.Slot)), e.Version != 0 && (is == nil || is.Version != e.Version):
		return store.ErrConflict
	case of == nil:
		if p.all == nil {
			p.all = make(map[store.TenantID]map[string]*endpoint)
		}
		of = make(map[string]*endpoint)
		p.all[e.Tenant] = of
	}
	if is == nil {
		is = new(endpoint)
		of[e.ID] = is
	} else {
		e.Slot, e.Created = is.Slot, is.Created
	}
	e.Version++
	is.Endpoint = e
	return nil
}

func hasSlot(of map[string]*endpoint, slot int) bool {
	for _, e := range of {
		if e.Slot == slot {
			return true
		}
	}
	return false
}

// DropEndpoint implements [store.Endpoints].
func (s *Store) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	p := &s.endpoints
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.all[tenant][id] == nil {
		return store.ErrNotFound
	}
	if delete(p.all[tenant], id); len(p.all[tenant]) == 0 {
		delete(p.all, tenant)
	}
	return nil
}

// ListEndpoints implements [store.Endpoints].
func (s *Store) ListEndpoints(ctx context.Context, tenants []store.TenantID) (list []store.Endpoint, err error) {
	p := &s.endpoints
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, tenant := range tenants {
		for _, e := range p.all[tenant] {
			list = append(list, e.Endpoint)
		}
	}
	slices.SortFunc(list, func(a, b store.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Slot, b.Slot))
	})
	return list, nil
}

// AddEndpointAttempts implements [store.Endpoints].
func (s *Store) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	p := &s.endpoints
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, a := range list {
		e := p.all[a.Tenant][a.Endpoint]
		if e == nil {
			continue
		}
		i, is := slices.BinarySearchFunc(e.attempts, a, func(a, b store.EndpointAttempt) int { return cmp.Compare(a.ID, b.ID) })
		if !is {
			e.attempts = slices.Insert(e.attempts, i, a)
		}
	}
	for _, a := range list {
		if e := p.all[a.Tenant][a.Endpoint]; e != nil {
			e.attempts = slices.Delete(e.attempts, 0, max(len(e.attempts)-max(keep, 0), 0))
		}
	}
	return nil
}

// ListEndpointAttempts implements [store.Endpoints].
func (s *Store) ListEndpointAttempts(ctx context.Context, tenant store.TenantID, endpoint string, limit int) ([]store.EndpointAttempt, error) {
	p := &s.endpoints
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := p.all[tenant][endpoint]
	if e == nil {
		return nil, nil
	}
	list := slices.Clone(e.attempts)
	slices.Reverse(list)
	return list[:min(len(list), max(limit, 0))], nil
}
