package storetest_test

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func init() {
	for name, m := range map[string]mistake{
		"a rotation is a reset": {
			make:  func(s store.Store) store.Store { return forgetsOld{s} },
			name:  "RotatePassword/KeepsTheOldHash",
			words: "keeps the hash before as the old one",
		},
		"a rotation keeps the oldest hash": {
			make:  func(s store.Store) store.Store { return keepsOldest{s, new(sync.Map)} },
			name:  "RotatePassword/NeverThree",
			words: "in place of an older one",
		},
		"any generation is rotated": {
			make:  func(s store.Store) store.Store { return rotatesAny{s} },
			name:  "RotatePassword/Conflict",
			words: "ErrConflict: the user's Generation is not the given one.",
		},
		"an overlap has no early end": {
			make:  func(s store.Store) store.Store { return neverEnds{s} },
			name:  "EndOverlap/ForgetsTheOldHash",
			words: "EndOverlap forgets the old hash",
		},
		"a reset keeps the old password": {
			make:  func(s store.Store) store.Store { return resetsKeep{s} },
			name:  "SetPassword/EndsARotation",
			words: "ends a rotation as EndOverlap does",
		},
		"networks are sorted": {
			make:  func(s store.Store) store.Store { return sortsNetworks{s} },
			name:  "SetNetworks/AsGiven",
			words: "in the given order",
		},
		"networks of any tenant's user are set": {
			make:  func(s store.Store) store.Store { return networksOfAny{s} },
			name:  "SetNetworks/NotFound",
			words: "the tenant has no such user",
		},
		"a login is of either password": {
			make:  func(s store.Store) store.Store { return anyPassword{s} },
			name:  "RecordLogin/OldAndNew",
			words: "OldConnection if it is one less",
		},
	} {
		mistakes[name] = m
	}
}

type sortsNetworks struct{ store.Store }

func (s sortsNetworks) SetNetworks(ctx context.Context, tenant store.TenantID, username string, networks []netip.Prefix) error {
	sorted := slices.SortedFunc(slices.Values(networks), netip.Prefix.Compare)
	return s.Store.SetNetworks(ctx, tenant, username, sorted)
}

type networksOfAny struct{ store.Store }

func (s networksOfAny) SetNetworks(ctx context.Context, tenant store.TenantID, username string, networks []netip.Prefix) error {
	if u, _, _, err := s.Lookup(ctx, username); err == nil {
		tenant = u.Tenant
	}
	return s.Store.SetNetworks(ctx, tenant, username, networks)
}

type forgetsOld struct{ store.Store }

func (s forgetsOld) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, _ time.Time) error {
	return s.Store.SetPassword(ctx, tenant, username, generation, hash, at)
}

type keepsOldest struct {
	store.Store
	first *sync.Map
}

func (s keepsOldest) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, until time.Time) error {
	if _, old, _, err := s.Store.Lookup(ctx, username); err == nil {
		s.first.LoadOrStore(username, old)
	}
	return s.Store.RotatePassword(ctx, tenant, username, generation, hash, at, until)
}

func (s keepsOldest) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	u, hash, old, err := s.Store.Lookup(ctx, username)
	if first, ok := s.first.Load(username); ok && err == nil {
		old = first.(string)
	}
	return u, hash, old, err
}

type rotatesAny struct{ store.Store }

func (s rotatesAny) RotatePassword(ctx context.Context, tenant store.TenantID, username string, _ int64, hash string, at, until time.Time) error {
	u, err := s.User(ctx, tenant, username)
	if err != nil {
		return err
	}
	return s.Store.RotatePassword(ctx, tenant, username, u.Generation, hash, at, until)
}

type neverEnds struct{ store.Store }

func (s neverEnds) EndOverlap(ctx context.Context, tenant store.TenantID, username string, _ int64) error {
	_, err := s.User(ctx, tenant, username)
	return err
}

type resetsKeep struct{ store.Store }

func (s resetsKeep) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	u, err := s.User(ctx, tenant, username)
	if err == nil && !u.OldUntil.IsZero() {
		return s.Store.RotatePassword(ctx, tenant, username, generation, hash, at, u.OldUntil)
	}
	return s.Store.SetPassword(ctx, tenant, username, generation, hash, at)
}

type anyPassword struct{ store.Store }

func (s anyPassword) RecordLogin(ctx context.Context, username string, _ int64, at time.Time, from netip.Addr) error {
	u, _, _, err := s.Lookup(ctx, username)
	if err != nil {
		return err
	}
	return s.Store.RecordLogin(ctx, username, u.Generation, at, from)
}
