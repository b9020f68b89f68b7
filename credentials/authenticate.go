package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	maxUsername = 255  // bytes; the longest SMTP lets a name be (RFC 4616 section 2 names no less)
	maxPassword = 1024 // bytes

	// maxWait is how long a login waits at most, for the brakes and for its
	// turn to hash. It is well below the time after which tools give up.
	maxWait = 5 * time.Second

	// How many passwords are remembered that were verified, and refused.
	maxVerified = 1 << 16
	maxRefused  = 1 << 16
)

// Authenticate checks what a client at the address from (the zero Addr: none)
// presented, and records the login as the user's last connection.
//
// Whatever is wrong (the password, the username, a deleted user or domain), the
// error is [ErrDenied] after the same work. [ErrBusy] means that the password
// wasn't looked at; it also matches the error of a ctx that ended meanwhile. Any
// other error is trouble with the store.
//
// Every login reads the store, so a reset or delete on any node counts from the
// next login on. A password that this process verified or refused before is
// known again without hashing, whatever the brakes below say: such a login
// costs a store read and microseconds. Up to 65,536 of each are remembered.
//
// Other logins wait for a hash, at most 5 seconds. GOMAXPROCS hashes run at
// once, and addresses take turns. An address (IPv4), or /64 (IPv6), has 10
// wrong passwords for one username and 50 in all, then one more every 4 and 2
// seconds; logins above that wait, or are ErrBusy if they would wait too long.
// The 50 don't count at the address from which the user last connected.
//
// The time of the last connection is exact to the second: a login from the same
// address less than a second after the last isn't recorded. When recording fails
// the login is good all the same, and the failure is logged.
func (m *Manager) Authenticate(ctx context.Context, username string, password Password, from netip.Addr) (Identity, error) {
	if err := m.ready(); err != nil {
		return Identity{}, err
	}
	a := attempt{username: username, password: password.Reveal(), prefix: prefixOf(from)}
	if len(a.password) > maxPassword {
		return Identity{}, ErrDenied // nobody has such a one, so this tells nothing about the user
	}
	u, err := m.lookup(ctx, &a)
	if err != nil {
		return Identity{}, err
	}
	ok, fresh, err := m.decide(ctx, &a)
	if err != nil {
		return Identity{}, err
	}
	if !ok {
		return Identity{}, ErrDenied
	}
	id := identify(u)
	if fresh { // hashing took its time: was there a reset meanwhile?
		if err := m.Validate(ctx, id); errors.Is(err, ErrRevoked) {
			return Identity{}, ErrDenied
		} else if err != nil {
			return Identity{}, err
		}
	}
	if err := m.connected(ctx, u, from.Unmap()); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// An attempt is a login to be decided.
type attempt struct {
	username string
	password string
	prefix   netip.Prefix
	known    bool // there is such a user
	home     bool // and it last connected from this prefix
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
		a.known = true
		a.home = u.LastConnectionFrom.IsValid() && prefixOf(u.LastConnectionFrom) == a.prefix
		if a.hash, err = parsePHC(hash); err != nil {
			m.logger().ErrorContext(ctx, "credentials: the hash of a user can't be read",
				"tenant", string(u.Tenant), "domain", u.Domain, "username", u.Username)
			return u, err
		}
	case errors.Is(err, store.ErrNotFound):
		a.username = truncate(a.username)
		a.hash = m.decoy
	default:
		return u, fmt.Errorf("credentials: authenticate: %w", err)
	}
	a.digest = m.digest(a.username, hash, a.password)
	return u, nil
}

// A flight is a hash that is being waited for or computed. Attempts from one
// prefix with the same password share it: a stale tool that knocks a thousand
// times at once costs one hash.
type flight struct {
	digest digest
	prefix netip.Prefix
}

// decide reports whether the password is right, and whether that was found
// out afresh.
func (m *Manager) decide(ctx context.Context, a *attempt) (ok, fresh bool, err error) {
	if ok, known := m.remembered(a); known {
		return ok, false, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxWait, errWaited)
	defer cancel()
	key := flight{a.digest, a.prefix}
	for {
		m.mu.Lock()
		landed, ahead := m.flights[key]
		if !ahead {
			landed = make(chan struct{})
			m.flights[key] = landed
		}
		m.mu.Unlock()
		if !ahead {
			defer func() {
				m.mu.Lock()
				delete(m.flights, key)
				m.mu.Unlock()
				close(landed)
			}()
			ok, err = m.hash(ctx, a)
			return ok, true, err
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return false, false, busy(context.Cause(ctx))
		}
		if ok, known := m.remembered(a); known {
			return ok, true, nil
		}
	}
}

// hash waits until the brakes allow the attempt and its turn has come, and
// checks the password.
func (m *Manager) hash(ctx context.Context, a *attempt) (ok bool, err error) {
	c := stranger
	if a.home {
		c = resident
	}
	for {
		if err := m.brake(ctx, a); err != nil {
			return false, busy(err)
		}
		if err := m.queue.acquire(ctx, c, a.prefix, true); err != nil {
			return false, busy(err)
		}
		// Others may have guessed wrong since, or have found out the same.
		if ok, known := m.remembered(a); known {
			m.queue.release()
			return ok, nil
		}
		if m.delay(a) == 0 {
			break
		}
		m.queue.release()
	}
	defer m.queue.release()
	m.hashes.Add(1)
	ok = a.hash.matches(a.password) && a.known
	m.remember(a, ok)
	return ok, nil
}

func (m *Manager) remembered(a *attempt) (ok, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.verified.get(a.digest); ok {
		return true, true
	}
	_, known = m.refused.get(a.digest)
	return false, known
}

func (m *Manager) remember(a *attempt, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.verified.put(a.digest, struct{}{}, maxVerified)
		return
	}
	m.refused.put(a.digest, struct{}{}, maxRefused)
	m.brakes.guessed(a)
}

func (m *Manager) delay(a *attempt) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brakes.delay(a)
}

var (
	errWaited  = fmt.Errorf("no turn within %v", maxWait)
	errGuesses = errors.New("too many wrong passwords")
)

// brake waits until the brakes let the attempt go on, or fails at once if that
// would be too late.
func (m *Manager) brake(ctx context.Context, a *attempt) error {
	delay := m.delay(a)
	if delay == 0 {
		return nil
	}
	if end, _ := ctx.Deadline(); time.Until(end) <= delay {
		return errGuesses
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// busy returns ErrBusy with the cause, which may be the error of a context.
func busy(cause error) error { return fmt.Errorf("%w: %w", ErrBusy, cause) }

// connected records the login.
func (m *Manager) connected(ctx context.Context, u store.User, from netip.Addr) error {
	at := now()
	if at.Sub(u.LastConnection) < time.Second && from == u.LastConnectionFrom {
		return nil
	}
	err := m.Store.Connected(ctx, u.Username, at, from)
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

// truncate bounds what is kept of a username that doesn't exist.
func truncate(username string) string {
	return strings.Clone(username[:min(len(username), maxUsername)])
}
