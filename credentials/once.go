package credentials

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/gatepost-mail/gatepost/store"
)

// AddUserOnce is [Tenant.AddUser] for a request that may come twice: a form
// that is sent again by a reload, a call that is tried again after a timeout.
// The key stands for the request: any text of 1 to 255 bytes that is made anew,
// at random, for each user. For a key that the domain had before, the error is
// store.ErrTaken and there is no password; beside the error comes the user that
// was added then, or the zero User if that is deleted since.
//
// Nothing is remembered for this but the username, which is made from the key:
// it holds on every node, and for good. So who knows the tenant, the domain and
// the key knows the username.
func (t Tenant) AddUserOnce(ctx context.Context, domain, name, key string) (store.User, Password, error) {
	domain, err := t.domain(domain)
	if err != nil {
		return store.User{}, Password{}, err
	}
	if key == "" || len(key) > 255 {
		return store.User{}, Password{}, &InvalidError{Field: "key", Reason: "it is not of 1 to 255 bytes"}
	}
	username := t.usernameFrom(domain, key)
	if u, err := t.User(ctx, username); err == nil {
		return u, Password{}, fmt.Errorf("credentials: add user to %s: %w", domain, store.ErrTaken)
	} else if !errors.Is(err, store.ErrNotFound) {
		return store.User{}, Password{}, err
	}
	u, password, err := t.addUser(ctx, domain, name, username)
	if errors.Is(err, store.ErrTaken) { // a moment ago, or deleted since
		var unread error
		if u, unread = t.User(ctx, username); unread != nil && !errors.Is(unread, store.ErrNotFound) {
			err = unread
		}
	}
	return u, password, err
}

// usernameFrom returns the username that a key stands for. The tenant is part
// of it, so that nobody can use up a name of somebody else's.
func (t Tenant) usernameFrom(domain, key string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", t.id, domain, key))
	// 256 bits give 79 of them without favouring any letter to speak of.
	n, base, digit := new(big.Int).SetBytes(sum[:]), big.NewInt(int64(len(usernameLetters))), new(big.Int)
	name := []byte("smtp")
	for len(name) < 20 {
		n.DivMod(n, base, digit)
		name = append(name, usernameLetters[digit.Int64()])
	}
	return string(name)
}

// ResetPasswordOnce is [Tenant.ResetPassword] for a caller that knows which
// password it means to replace: the one of this generation (see store.User). If
// the user has another by now, the error is store.ErrConflict and nothing
// changes, so that a request that comes twice resets once.
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
