package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// What is longer, in bytes, is denied without a look: no user has such.
const (
	maxUsername = 255
	maxPassword = 1024
)

// Authenticate checks what a client at the address from (the zero Addr: none)
// presented, and records the login as the user's last connection.
//
// Whatever is wrong (the password, the username, a deleted user or domain), the
// error is [ErrDenied] after the same work. [ErrBusy] means that the password
// wasn't looked at, for one of the reasons below or because ctx ended while the
// login waited; the error then matches that of ctx too. Any other error is one of
// the store. Each is wrapped in a [*LoginError].
//
// Generated usernames are lower-case and contain no white space, and neither do
// passwords. People paste them with a line break behind them, and some tools
// change a username's case. So ASCII case in the username is ignored, as are
// white space and invisible characters around the username and the password. The
// case of the password counts.
//
// Every login reads the store, so a reset or delete on any node counts from the
// next login on. A password that this process has verified or refused before is
// recognised without hashing it again, and whatever the brakes say: that costs
// a store read and microseconds. Of each, the last 65,536 are remembered.
//
// A password that is new to this process is hashed, at most GOMAXPROCS at once.
// Hashes alternate between two classes: logins from the user's last address
// together with new passwords, and all other logins. Within a class they
// alternate between round robin and the owner (address or tenant) with the least
// demand: its waiting logins plus its wrong passwords of the last ten minutes.
// At most 256 logins per address (IPv6: /64) and 4,096 per class wait. A login
// from the user's last address waits at most 30 seconds, any other 5 seconds.
//
// Each address (IPv6: /64) may try 10 wrong passwords per username, then one
// every 4 seconds; and 50 over all usernames, then one every 2 seconds. The
// second limit does not apply to users who last connected from that address.
// Passwords that were refused before do not count. An attempt beyond a limit
// waits for it, at most 5 seconds in all, or gets ErrBusy. Attempts at one address
// never slow another address, and no limit applies to a username as a whole.
//
// The time of the last connection is exact to the second: a login from the same
// address less than a second after the last isn't recorded. When recording fails
// the login is good all the same, and the failure is logged.
func (m *Manager) Authenticate(ctx context.Context, username string, password Password, from netip.Addr) (Identity, error) {
	return m.AuthenticateIf(ctx, username, password, from, nil)
}

// AuthenticateIf is [Manager.Authenticate] with one more condition. When the
// password has proved right it calls allow, before it records the login. If allow
// returns an error, the login fails with a [*LoginError] that wraps it, and the
// user's last connection does not change. A nil allow allows every login.
func (m *Manager) AuthenticateIf(ctx context.Context, username string, password Password, from netip.Addr, allow func(context.Context, Identity) error) (Identity, error) {
	if err := m.ready(); err != nil {
		return Identity{}, err
	}
	a := attempt{username: canonical(username), password: trimmed(password.Reveal()), prefix: mailtext.Network(from)}
	if len(a.password) > maxPassword {
		return Identity{}, &LoginError{Err: ErrDenied} // whoever the user is, so this tells nothing
	}
	u, err := m.lookup(ctx, &a)
	if err != nil {
		return Identity{}, &LoginError{Claimed: identify(u), Err: err}
	}
	if err := m.decide(ctx, &a, u, from, allow); err != nil {
		return Identity{}, &LoginError{Claimed: identify(u), Err: err}
	}
	return identify(u), nil
}

// decide checks the password, asks allow, and records the login. For a user that
// does not exist it does the same work, and the error is always ErrDenied or
// ErrBusy.
func (m *Manager) decide(ctx context.Context, a *attempt, u store.User, from netip.Addr, allow func(context.Context, Identity) error) error {
	ok, fresh, err := m.verify(ctx, a)
	if err != nil {
		return err
	}
	if !ok {
		return ErrDenied
	}
	if fresh { // hashing took its time: was there a reset meanwhile?
		if err := m.Validate(ctx, identify(u)); errors.Is(err, ErrRevoked) {
			return ErrDenied
		} else if err != nil {
			return err
		}
	}
	if allow != nil {
		if err := allow(ctx, identify(u)); err != nil {
			return err
		}
	}
	return m.connected(ctx, u, from.Unmap())
}

// An attempt is a login to be decided.
type attempt struct {
	username string
	password string
	prefix   netip.Prefix
	home     bool // the user last connected from this prefix
	hash     phc
	digest   digest
}

// lookup reads the user and completes the attempt. A user that doesn't exist
// gets a decoy for a hash, so that everything from here on happens alike.
func (m *Manager) lookup(ctx context.Context, a *attempt) (u store.User, err error) {
	var hash string
	err = store.ErrNotFound
	if plausible(a.username) {
		u, hash, err = m.Store.Lookup(ctx, a.username)
	}
	switch {
	case err == nil:
		a.home = u.LastConnectionFrom.IsValid() && mailtext.Network(u.LastConnectionFrom) == a.prefix
		if a.hash, err = parsePHC(hash); err != nil {
			m.logger().ErrorContext(ctx, "credentials: the hash of a user can't be read",
				"tenant", string(u.Tenant), "domain", u.Domain, "username", u.Username)
			return u, err
		}
	case errors.Is(err, store.ErrNotFound):
		u, a.hash = store.User{}, m.decoy
	default:
		return store.User{}, fmt.Errorf("credentials: authenticate: %w", err)
	}
	a.digest = m.digest(a.username, hash, a.password)
	return u, nil
}

// connected records the login.
func (m *Manager) connected(ctx context.Context, u store.User, from netip.Addr) error {
	at := now()
	if at.Sub(u.LastConnection) < time.Second && from == u.LastConnectionFrom {
		return nil
	}
	err := m.Store.RecordLogin(ctx, u.Username, at, from)
	if errors.Is(err, store.ErrNotFound) { // deleted a moment ago
		return ErrDenied
	}
	if err != nil {
		m.logger().WarnContext(ctx, "credentials: last connection not recorded",
			"tenant", string(u.Tenant), "domain", u.Domain, "username", u.Username, "error", err)
	}
	return nil
}

// plausible reports whether a username is worth asking the store for. Some
// databases refuse NUL or what isn't UTF-8 with an error of their own.
func plausible(username string) bool {
	return username != "" && len(username) <= maxUsername &&
		utf8.ValidString(username) && !strings.ContainsRune(username, 0)
}

// canonical returns the form of a client's username in which it is looked up
// and remembered: trimmed, with ASCII letters in lower case, and cut to
// maxUsername+1 bytes, so that an overlong name still matches no user. It is a
// copy, because username may share memory with the password.
func canonical(username string) string {
	b := []byte(trimmed(username))
	b = b[:min(len(b), maxUsername+1)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// trimmed returns s without white space and invisible characters around it.
func trimmed(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return !visible(r) })
}
