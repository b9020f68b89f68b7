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

// The maximum lengths in bytes. Longer usernames and passwords are denied.
const (
	maxUsername = 255
	maxPassword = 1024
)

// Authenticate checks the username and password that a client at the address from
// sent, and records the login as the user's last connection. The zero Addr is a
// client without an address.
//
// If the username or password is wrong, or the user or domain was deleted, the
// error is [ErrDenied], after the same work. If the user may not log in from there, it
// is [ErrNetwork], which matches ErrDenied. If the password could not be checked
// in time, the error is [ErrBusy]; if that is because ctx ended, the error also
// matches the error of ctx. Any other error is a failure of the store. Each of
// them is wrapped in a [*LoginError].
//
// Generated usernames are lower-case, and neither they nor passwords contain
// white space. Copying may add a line break, and some tools change the case of a
// username. So Authenticate ignores the case of ASCII letters in the username, and
// white space and invisible characters around the username and the password. The
// case of the password matters.
//
// Every login reads the store, so a reset or delete on any node applies to the
// next login. A password that this process has verified or refused before is not
// hashed again and is not rate limited: it costs one store read and microseconds.
// The last 65,536 of each are remembered.
//
// Any other password is hashed, at most GOMAXPROCS at once. Hashes alternate
// between two classes: logins from the address of the user's last connection
// together with new passwords, and all other logins. Within a class they
// alternate between round robin and the owner (address or tenant) with the least
// demand: its waiting logins plus its wrong passwords of the last ten minutes.
// At most 256 logins per address (IPv6: /64) and 4,096 per class wait. A login
// from the address of the user's last connection waits at most 30 seconds, any
// other 5 seconds.
//
// Each address (IPv6: /64) may try 10 wrong passwords per username, then one
// every 4 seconds; and 50 over all usernames, then one every 2 seconds. The
// second limit does not apply to users who last connected from that address.
// Passwords that were refused before do not count. An attempt beyond a limit
// waits at most 5 seconds for it, or gets ErrBusy. Attempts at one address never
// slow down another address, and no limit applies to a username as a whole.
//
// The time of the last connection is exact to the second: a login less than a
// second after the last one, from the same address, is not recorded. If recording
// fails, the login succeeds and the failure is logged.
func (m *Manager) Authenticate(ctx context.Context, username string, password Password, from netip.Addr) (Identity, error) {
	return m.AuthenticateIf(ctx, username, password, from, nil)
}

// AuthenticateIf is [Manager.Authenticate] with a condition. If the password is
// right, it calls allow before it records the login. If allow returns an error,
// the login fails with a [*LoginError] that wraps it, and the user's last
// connection does not change. A nil allow allows every login.
func (m *Manager) AuthenticateIf(ctx context.Context, username string, password Password, from netip.Addr, allow func(context.Context, Identity) error) (Identity, error) {
	if err := m.ready(); err != nil {
		return Identity{}, err
	}
	a := attempt{username: canonical(username), password: trimmed(password.Reveal()), network: mailtext.Network(from), from: from}
	if len(a.password) > maxPassword {
		return Identity{}, &LoginError{Err: ErrDenied} // the same for every user, so this reveals nothing
	}
	u, err := m.lookup(ctx, &a)
	if err != nil {
		return Identity{}, &LoginError{Claimed: IdentityOf(u), Err: err}
	}
	id, err := m.decide(ctx, &a, u, from, allow)
	if err != nil {
		return Identity{}, &LoginError{Claimed: IdentityOf(u), Err: err}
	}
	return id, nil
}

// decide checks the password, calls allow, and records the login. For a user that
// does not exist it does the same work and returns ErrDenied or ErrBusy.
func (m *Manager) decide(ctx context.Context, a *attempt, u store.User, from netip.Addr, allow func(context.Context, Identity) error) (Identity, error) {
	ok, fresh, err := m.verify(ctx, a)
	if err != nil {
		return Identity{}, err
	}
	if !ok {
		return Identity{}, ErrDenied
	}
	if a.elsewhere {
		return Identity{}, ErrNetwork
	}
	id := IdentityOf(u)
	if a.isOld {
		id = old(u)
	}
	if fresh { // the password may have been reset while it was hashed
		if _, err := m.current(ctx, id); errors.Is(err, ErrRevoked) {
			return Identity{}, ErrDenied
		} else if err != nil {
			return Identity{}, err
		}
	}
	if allow != nil {
		if err := allow(ctx, id); err != nil {
			return Identity{}, err
		}
	}
	return id, m.recordLogin(ctx, u, id.Generation, from.Unmap())
}

// An attempt is a login that is being decided.
type attempt struct {
	username string
	password string
	from     netip.Addr   // of the client
	network  netip.Prefix // of the client
	known    bool         // the user last connected from this network
	hash     phc
	digest   digest

	old       *phc // the password before, if it works as well
	oldDigest digest
	isOld     bool // the password is the one before; set with the verdict

	// elsewhere means that the user may not log in from there. Its passwords are
	// remembered apart, and right ones count as wrong ones: neither time nor rate
	// limits tell which they are.
	elsewhere bool
}

// lookup reads the user and completes the attempt. If the user does not exist, the
// attempt gets a dummy hash, so that all further work is the same.
func (m *Manager) lookup(ctx context.Context, a *attempt) (u store.User, err error) {
	var hash, old string
	err = store.ErrNotFound
	if plausible(a.username) {
		u, hash, old, err = m.reads.lookup(ctx, m.Store, a.username)
	}
	switch {
	case err == nil:
		a.known = u.LastConnectionFrom.IsValid() && mailtext.Network(u.LastConnectionFrom) == a.network
		a.elsewhere = !mayLogInFrom(u, a.from)
		a.hash, err = parsePHC(hash)
		if err == nil && overlaps(u) {
			a.old = new(phc)
			*a.old, err = parsePHC(old)
		}
		if err != nil {
			m.logger().ErrorContext(ctx, "credentials: malformed hash in the store; reset the user's password",
				"tenant", string(u.Tenant), "domain", u.Domain, "username", u.Username)
			return u, err
		}
	case errors.Is(err, store.ErrNotFound):
		u, a.hash = store.User{}, m.dummy
	default:
		return store.User{}, fmt.Errorf("credentials: authenticate: %w", err)
	}
	if a.elsewhere {
		hash, old = "elsewhere "+hash, "elsewhere "+old
	}
	a.digest = m.digest(a.username, hash, a.password)
	if a.old != nil {
		a.oldDigest = m.digest(a.username, old, a.password)
	}
	return u, nil
}

// recordLogin records the user's last connection, with the password of the generation.
func (m *Manager) recordLogin(ctx context.Context, u store.User, generation int64, from netip.Addr) error {
	at, last := now(), u.LastConnection
	if overlaps(u) && generation == u.Generation {
		last = u.NewConnection
	} else if overlaps(u) {
		last = u.OldConnection
	}
	if at.Sub(last) < time.Second && from == u.LastConnectionFrom {
		return nil
	}
	err := m.Store.RecordLogin(ctx, u.Username, generation, at, from)
	if errors.Is(err, store.ErrNotFound) { // the user was deleted since lookup
		return ErrDenied
	}
	if err != nil {
		m.logger().WarnContext(ctx, "credentials: last connection not recorded",
			"tenant", string(u.Tenant), "domain", u.Domain, "username", u.Username, "error", err)
	}
	return nil
}

// plausible reports whether a user may have the username. The store is not asked
// for others: some databases return an error of their own for NUL and for invalid
// UTF-8.
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
