package storetest_test

import (
	"context"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func init() {
	for name, m := range map[string]mistake{
		"the limit of domains is for all tenants": {
			make:  func(s store.Store) store.Store { return limitsAll{s, new(sync.Map)} },
			name:  "AddDomain/Limit",
			words: "ErrLimit: the tenant has limit domains or more",
		},
		"a limit of zero allows nothing": {
			make:  func(s store.Store) store.Store { return limitsZero{s} },
			name:  "AddUser/Limit",
			words: "and limit is above zero.",
		},
		"AddUser counts before it writes": {
			make:  func(s store.Store) store.Store { return countsThenAdds{s} },
			name:  "Race/LimitOfUsers",
			words: "Of calls at the same time no more succeed than limit allows.",
		},
		"AddDomain counts before it writes": {
			make:  func(s store.Store) store.Store { return countsThenAdds{s} },
			name:  "Race/LimitOfDomains",
			words: "Of calls at the same time no more succeed than limit allows.",
		},
	} {
		mistakes[name] = m
	}
}

// limitsAll counts the domains of all tenants.
type limitsAll struct {
	store.Store
	added *sync.Map
}

func (s limitsAll) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	n := 0
	for range s.added.Range {
		n++
	}
	if limit > 0 && n >= limit {
		return store.ErrLimit
	}
	err := s.Store.AddDomain(ctx, d, limit)
	if err == nil {
		s.added.Store(d, true)
	}
	return err
}

type limitsZero struct{ store.Store }

func (s limitsZero) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	if d, err := s.Domain(ctx, u.Tenant, u.Domain); err == nil && d.Users >= 3 && limit == 0 {
		return store.ErrLimit
	}
	return s.Store.AddUser(ctx, u, hash, limit)
}

// countsThenAdds counts, and does not write in the same step.
type countsThenAdds struct{ store.Store }

func (s countsThenAdds) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	d, err := s.Domain(ctx, u.Tenant, u.Domain)
	if err != nil {
		return err
	}
	if limit > 0 && d.Users >= limit {
		return store.ErrLimit
	}
	time.Sleep(time.Millisecond)
	return s.Store.AddUser(ctx, u, hash, 0)
}

func (s countsThenAdds) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	_, found, err := s.Domains(ctx, d.Tenant, store.Query{})
	if err != nil {
		return err
	}
	if limit > 0 && found.All >= limit {
		return store.ErrLimit
	}
	time.Sleep(time.Millisecond)
	return s.Store.AddDomain(ctx, d, 0)
}
