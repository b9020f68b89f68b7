package main

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func (s Store) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	return s.change(ctx, username, func(r *record) error {
		if err := r.of(tenant, generation); err != nil {
			return err
		}
		r.setPassword(hash, at)
		r.endOverlap()
		return nil
	})
}

func (s Store) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, until time.Time) error {
	return s.change(ctx, username, func(r *record) error {
		if err := r.of(tenant, generation); err != nil {
			return err
		}
		u := &r.User
		r.Old, u.OldUntil, u.OldConnection, u.NewConnection = r.Hash, until, time.Time{}, time.Time{}
		if !u.LastConnection.Before(u.PasswordSet) {
			u.OldConnection = u.LastConnection
		}
		r.setPassword(hash, at)
		return nil
	})
}

func (s Store) EndOverlap(ctx context.Context, tenant store.TenantID, username string, generation int64) error {
	return s.change(ctx, username, func(r *record) error {
		if err := r.of(tenant, generation); err != nil {
			return err
		}
		r.endOverlap()
		return nil
	})
}

func (r *record) setPassword(hash string, at time.Time) {
	r.User.Generation++
	r.User.PasswordSet = at
	r.Hash = hash
}

func (r *record) endOverlap() {
	r.Old, r.User.OldUntil, r.User.OldConnection, r.User.NewConnection = "", time.Time{}, time.Time{}, time.Time{}
}

// of returns an error unless the user is the tenant's and has the generation.
func (r *record) of(tenant store.TenantID, generation int64) error {
	if r.User.Tenant != tenant {
		return store.ErrNotFound
	}
	if r.User.Generation != generation {
		return store.ErrConflict
	}
	return nil
}
