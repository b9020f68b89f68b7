package storetest_test

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func init() {
	const sameStep = "the DomainSuspended of every user that the domain has or gets"
	for name, m := range map[string]mistake{
		"a suspended domain suspends the users that it has": {
			make:  func(s store.Store) store.Store { return suspendsEach{s} },
			name:  "SuspendDomain/WithItsUsers",
			words: sameStep,
		},
		"users copy the suspension of their domain": {
			make:  func(s store.Store) store.Store { return copiesSuspension{s} },
			name:  "Race/DomainSuspendedWhileUsersAreAdded",
			words: sameStep,
		},
		"a suspension for the same reason changes no row": {
			make:  func(s store.Store) store.Store { return countsSuspensions{s} },
			name:  "SuspendUser/SameReason",
			words: "The reason may be the same as before.",
		},
		"a suspension changes the password": {
			make:  func(s store.Store) store.Store { return suspendsByReset{s} },
			name:  "SuspendUser/ThatOne",
			words: "and changes nothing else",
		},
		"any tenant suspends a user": {
			make:  func(s store.Store) store.Store { return suspendsAny{s} },
			name:  "SuspendUser/NotFound",
			words: "the tenant has no such user",
		},
		"a suspension looks before it writes": {
			make:  func(s store.Store) store.Store { return looksFirst{s} },
			name:  "Race/Suspensions",
			words: "exactly one call succeeds",
		},
		"a suspension replaces one that the caller has not seen": {
			make:  func(s store.Store) store.Store { return suspendsUnseen{s} },
			name:  "SuspendUser/Conflict",
			words: "the user's Suspended is not *seen",
		},
		"an unknown domain is suspended": {
			make:  func(s store.Store) store.Store { return suspendsUnknown{s} },
			name:  "SuspendDomain/NotFound",
			words: "the tenant has no such domain",
		},
	} {
		mistakes[name] = m
	}
}

type suspendsEach struct{ store.Store }

func (s suspendsEach) SuspendDomain(ctx context.Context, tenant store.TenantID, name, reason string) error {
	users, _, err := s.Users(ctx, tenant, name, store.Query{Limit: 1 << 30})
	for _, u := range users {
		if err := s.SuspendUser(ctx, tenant, u.Username, reason, nil); err != nil {
			return err
		}
	}
	return err
}

// copiesSuspension keeps the suspension of a domain with each user, and reads it
// before it adds one.
type copiesSuspension struct{ store.Store }

func (s copiesSuspension) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	d, err := s.Domain(ctx, u.Tenant, u.Domain)
	if err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	u.Suspended = d.Suspended
	return s.Store.AddUser(ctx, u, hash, limit)
}

func (s copiesSuspension) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	u, hash, old, err := s.Store.Lookup(ctx, username)
	u.DomainSuspended, u.Suspended = u.Suspended, ""
	return u, hash, old, err
}

type countsSuspensions struct{ store.Store }

func (s countsSuspensions) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	if u, err := s.User(ctx, tenant, username); err == nil && u.Suspended == reason {
		return store.ErrNotFound
	}
	return s.Store.SuspendUser(ctx, tenant, username, reason, seen)
}

type suspendsByReset struct{ store.Store }

func (s suspendsByReset) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	u, err := s.User(ctx, tenant, username)
	if err != nil {
		return err
	}
	if err := s.SetPassword(ctx, tenant, username, u.Generation, "", u.PasswordSet); err != nil {
		return err
	}
	return s.Store.SuspendUser(ctx, tenant, username, reason, seen)
}

type suspendsAny struct{ store.Store }

func (s suspendsAny) SuspendUser(ctx context.Context, _ store.TenantID, username, reason string, seen *string) error {
	u, _, _, err := s.Lookup(ctx, username)
	if err != nil {
		return err
	}
	return s.Store.SuspendUser(ctx, u.Tenant, username, reason, seen)
}

type suspendsUnseen struct{ store.Store }

func (s suspendsUnseen) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, _ *string) error {
	return s.Store.SuspendUser(ctx, tenant, username, reason, nil)
}

type looksFirst struct{ store.Store }

func (s looksFirst) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	u, err := s.User(ctx, tenant, username)
	if err != nil {
		return err
	}
	if seen != nil && u.Suspended != *seen {
		return store.ErrConflict
	}
	time.Sleep(time.Millisecond)
	return s.Store.SuspendUser(ctx, tenant, username, reason, nil)
}

type suspendsUnknown struct{ store.Store }

func (s suspendsUnknown) SuspendDomain(ctx context.Context, tenant store.TenantID, name, reason string) error {
	s.Store.SuspendDomain(ctx, tenant, name, reason)
	return ctx.Err()
}

type sortsAgain struct{ store.Store }

func (s sortsAgain) SetSortNames(ctx context.Context, tenant store.TenantID, sortNames map[string]string) error {
	for username, sortName := range sortNames {
		if u, err := s.User(ctx, tenant, username); err == nil {
			if err := s.Store.RenameUser(ctx, tenant, username, u.Name, sortName); err != nil {
				return err
			}
		}
	}
	return nil
}
