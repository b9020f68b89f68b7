package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// maxOverlap is the longest overlap of a rotation.
const maxOverlap = 30 * 24 * time.Hour

// ErrOverlap means that a user already has two passwords. If a tool uses the new one,
// end the overlap with [Tenant.EndOverlap] and rotate again. If the new one was lost,
// use [Tenant.ResetPassword] instead: EndOverlap would leave only the lost password.
var ErrOverlap = errors.New("credentials: the user has two passwords already: EndOverlap ends the old one, ResetPassword replaces both if the new one was lost")

// RotatePassword is [Tenant.ResetPassword], except that the old password works for
// the time overlap as well, at most 30 days; otherwise the error is an
// [InvalidError]. Use it to give a tool its new password while it goes on sending. If
// the password may be known to others, use ResetPassword.
//
// Until the overlap ends, store.User.OldConnection and NewConnection are the last
// logins with either password: when NewConnection is set and OldConnection does not
// move any more, the old one can end. A user has at most two passwords: until the
// overlap ends the error is [ErrOverlap].
//
// If the process dies before it has the answer, or the store fails, the rotation may
// have happened all the same, with a new password that is lost. The old one works until
// store.User.OldUntil. Replace both with ResetPassword; EndOverlap would leave only the
// lost one and lock the tool out.
//
// Sessions that logged in with the old password go on until the end of the overlap,
// and get no further message accepted after it, on any node whose clock is right.
//
// The new password has the Manager's Cost. If the old one has another Cost, a login
// with the old one costs two hashes until the overlap ends, and so does a login with a
// wrong one; otherwise each costs one.
func (t Tenant) RotatePassword(ctx context.Context, username string, overlap time.Duration) (Password, error) {
	return t.rotate(ctx, username, overlap, func(store.User) error { return nil })
}

// rotate is RotatePassword, if check returns nil for the user.
func (t Tenant) rotate(ctx context.Context, username string, overlap time.Duration, check func(store.User) error) (Password, error) {
	if overlap <= 0 || overlap > maxOverlap {
		return Password{}, &InvalidError{Field: "overlap", Reason: "it must be longer than 0 and at most 30 days"}
	}
	if err := t.username(username); err != nil {
		return Password{}, err
	}
	u, stored, _, err := t.m.Store.Lookup(ctx, username)
	if err == nil && u.Tenant != t.id {
		err = store.ErrNotFound
	}
	if err == nil {
		err = check(u)
	}
	if err == nil && overlaps(u) {
		err = ErrOverlap
	}
	if err != nil {
		return Password{}, fmt.Errorf("credentials: rotate password of %s: %w", username, err)
	}
	old, err := parsePHC(stored)
	if err != nil {
		return Password{}, err
	}
	hash := old.beside
	if old.cost != t.m.Cost.orDefault() {
		hash = t.m.newPHC
	}
	password, fresh, err := t.newPassword(ctx, hash)
	if err != nil {
		return Password{}, err
	}
	at := now()
	until := at.Add(overlap).Truncate(time.Microsecond)
	if err := t.m.Store.RotatePassword(ctx, t.id, username, u.Generation, fresh, at, until); err != nil {
		return Password{}, fmt.Errorf("credentials: rotate password of %s: %w", username, err)
	}
	t.m.emit(&PasswordRotated{Tenant: t.id, Domain: u.Domain, Username: username, Generation: u.Generation + 1, OldUntil: until})
	return password, nil
}

// EndOverlap ends the overlap of a rotation: the old password stops working at once
// and its sessions end, as after a reset. The present password does not change. If
// there is only one password, EndOverlap does nothing. If the password is changed at
// the same time, the error is store.ErrConflict.
func (t Tenant) EndOverlap(ctx context.Context, username string) error {
	u, err := t.User(ctx, username)
	if err != nil || u.OldUntil.IsZero() {
		return err
	}
	if err := t.m.Store.EndOverlap(ctx, t.id, username, u.Generation); err != nil {
		return fmt.Errorf("credentials: end the overlap of %s: %w", username, err)
	}
	t.m.emit(&OverlapEnded{Tenant: t.id, Domain: u.Domain, Username: username, Generation: u.Generation})
	return nil
}

// overlaps reports whether the password before works as well.
func overlaps(u store.User) bool { return u.OldUntil.After(time.Now()) }

// PasswordRotated reports that a user has a new password, beside the one before.
// Generation is the number of the new one.
type PasswordRotated struct {
	Tenant     store.TenantID
	Domain     string
	Username   string
	Generation int64
	OldUntil   time.Time // when the password before stops working
}

// OverlapEnded reports that [Tenant.EndOverlap] has ended the password before.
// Generation is the number of the one that is left. An overlap that ends by itself
// causes no event.
type OverlapEnded struct {
	Tenant     store.TenantID
	Domain     string
	Username   string
	Generation int64
}

// Revokes reports whether id belongs to the user and a password that is older than
// the two.
func (e *PasswordRotated) Revokes(id Identity) bool {
	return (&PasswordReset{e.Tenant, e.Domain, e.Username, e.Generation - 1}).Revokes(id)
}

// Revokes reports whether id belongs to the user and an older password.
func (e *OverlapEnded) Revokes(id Identity) bool { return (*PasswordReset)(e).Revokes(id) }

func (*PasswordRotated) event() string { return "password rotated" }
func (*OverlapEnded) event() string    { return "overlap ended" }

func (e *PasswordRotated) attrs() []slog.Attr {
	return append((&PasswordReset{e.Tenant, e.Domain, e.Username, e.Generation}).attrs(), slog.Time("old_until", e.OldUntil))
}

func (e *OverlapEnded) attrs() []slog.Attr { return (*PasswordReset)(e).attrs() }
