package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Suspend suspends a tenant, or a destination if s has no Tenant: its mail stays in the
// Spool, is not tried and not given up, and does not age. Nodes notice within seconds;
// attempts under way go on. It replaces a suspension of the relay's own.
func (a *Admin) Suspend(ctx context.Context, s store.Suspension) error {
	return a.suspension(ctx, s, func(now time.Time, old store.Suspension) error {
		s.By, s.Since, s.Version = a.by(), now, old.Version
		if old.By != "" {
			s.Since = old.Since
		}
		s.Until, s.Tried, s.Failures = time.Time{}, time.Time{}, 0
		if err := a.Queue.Spool.Suspend(ctx, s); err != nil {
			return err
		}
		a.Queue.emit(&Suspended{Tenant: s.Tenant, Destination: s.Destination, Reason: s.Reason, By: s.By})
		return nil
	})
}

// Resume ends the suspension of a tenant, or of a destination if s has no Tenant. It
// ends suspensions by any person and by the relay. It first records for the mail that
// waited how long that was: if it fails then, the mail stays suspended, and Resume can
// be repeated. [store.ErrNotFound]: there is no such suspension.
func (a *Admin) Resume(ctx context.Context, s store.Suspension) error {
	return a.suspension(ctx, s, func(now time.Time, old store.Suspension) error {
		if old.Version == 0 {
			return store.ErrNotFound
		}
		if err := a.rested(ctx, old, now); err != nil {
			return err
		}
		if err := a.Queue.Spool.Resume(ctx, old); err != nil {
			return err
		}
		a.Queue.emit(&Resumed{Tenant: s.Tenant, Destination: s.Destination, By: a.by()})
		a.Queue.noticed()
		return nil
	})
}

// Suspensions lists the tenants and destinations that are suspended, by a person or
// by the relay because no server was reached.
func (a *Admin) Suspensions(ctx context.Context) ([]store.Suspension, error) {
	spool, err := a.spool()
	if err != nil {
		return nil, err
	}
	return spool.Suspensions(ctx)
}

// suspension calls f with the suspension that there is, again if it changes at the
// same time.
func (a *Admin) suspension(ctx context.Context, s store.Suspension, f func(now time.Time, old store.Suspension) error) error {
	for try := 1; ; try++ {
		list, err := a.Suspensions(ctx)
		if err != nil {
			return err
		}
		var old store.Suspension
		for _, other := range list {
			if other.Tenant == s.Tenant && (s.Tenant != "" || other.Destination == s.Destination) {
				old = other
			}
		}
		if err := f(a.Queue.now(), old); !errors.Is(err, store.ErrConflict) || try == 10 {
			return err
		}
	}
}
