package credentials

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// AddUserOnce is [Tenant.AddUser] with an idempotency key, for a request that may
// arrive twice: a browser reloads a form, or a client retries after a timeout.
// The key is a random text of 1 to 255 bytes, a new one for each user. If the
// domain has had a user with this key, the error is store.ErrTaken and there is
// no password. AddUserOnce then also returns that user, or the zero User if it
// was deleted.
//
// The username is derived from the key and is all that is stored, so the key
// works on every node and never expires. Anyone who knows the tenant, the domain
// and the key can compute the username.
func (t Tenant) AddUserOnce(ctx context.Context, domain, name, key string) (store.User, Password, error) {
	domain, err := t.domain(domain)
	if err != nil {
		return store.User{}, Password{}, err
	}
	if key == "" || len(key) > 255 {
		return store.User{}, Password{}, &InvalidError{Field: "key", Reason: "it must have 1 to 255 bytes"}
	}
	username := t.usernameFrom(domain, key)
	if u, err := t.User(ctx, username); err == nil {
		return u, Password{}, fmt.Errorf("credentials: add user to %s: %w", domain, store.ErrTaken)
	} else if !errors.Is(err, store.ErrNotFound) {
		return store.User{}, Password{}, err
	}
	u, password, err := t.addUser(ctx, domain, name, username)
	if errors.Is(err, store.ErrTaken) { // by another call, or by a user that was deleted
		var unread error
		if u, unread = t.User(ctx, username); unread != nil && !errors.Is(unread, store.ErrNotFound) {
			err = unread
		}
	}
	return u, password, err
}

// usernameFrom derives a username from a key. It includes the tenant, so that one
// tenant cannot take a username from another.
func (t Tenant) usernameFrom(domain, key string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", t.id, domain, key))
	// Of 256 bits 79 are used, so the bias towards some letters is negligible.
	n, base, digit := new(big.Int).SetBytes(sum[:]), big.NewInt(int64(len(usernameLetters))), new(big.Int)
	name := []byte("smtp")
	for len(name) < 20 {
		n.DivMod(n, base, digit)
		name = append(name, usernameLetters[digit.Int64()])
	}
	return string(name)
}

// ResetPasswordOnce is [Tenant.ResetPassword] for the password of the given
// generation (see store.User). If the user has another password, the error is
// store.ErrConflict and nothing changes. So a request that arrives twice resets
// the password once.
func (t Tenant) ResetPasswordOnce(ctx context.Context, username string, generation int64) (Password, error) {
	u, err := t.User(ctx, username)
	if err != nil {
		return Password{}, err
	}
	if u.Generation != generation {
		return Password{}, fmt.Errorf("credentials: reset password of %s: %w", username, store.ErrConflict)
	}
	return t.reset(ctx, u)
}

// RotatePasswordOnce is [Tenant.RotatePassword] for the password of the given generation,
// as [Tenant.ResetPasswordOnce] is of ResetPassword. If the user has another password by
// now, the error is store.ErrConflict, also while the user has two.
func (t Tenant) RotatePasswordOnce(ctx context.Context, username string, overlap time.Duration, generation int64) (Password, error) {
	return t.rotate(ctx, username, overlap, func(u store.User) error {
		if u.Generation != generation {
			return store.ErrConflict
		}
		return nil
	})
}
