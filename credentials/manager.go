package credentials

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/store"
)

// A Manager applies the rules for domains and SMTP users: it generates usernames
// and passwords, checks logins, and reports when a login has been revoked. A
// product needs one Manager per process. Any number of processes share a store.
//
// Set the fields before the first use and do not change them afterwards. A
// Manager must not be copied after its first use. Its methods are safe for
// concurrent use. It starts no goroutines and need not be closed.
type Manager struct {
	// Store keeps domains and users. Required.
	Store store.Store

	// ClaimDomains lets several tenants add a domain of the same name. Set it if
	// package relay/domains decides which of them has proved it: then a tenant can't
	// keep the owner out by adding a domain first, and AddDomain tells nobody who is
	// a customer. If it is false, a domain belongs to the first tenant that adds it.
	ClaimDomains bool

	// Limits, if set, returns how many domains a tenant may have, and how many users
	// each of its domains. Zero means any number. AddDomain and AddUser call it and
	// return store.ErrLimit when the number is reached, exactly also when several
	// nodes add at once. Domains and users that there are stay when a limit falls.
	Limits func(ctx context.Context, tenant store.TenantID) (domains, users int, err error)

	// Cost is the argon2id cost of new passwords. Zero means 19 MiB, two
	// passes, one thread.
	Cost Cost

	// OnEvent, if set, is called for every event. The method that caused the
	// event calls it after the store has confirmed the change, and before it
	// returns. So OnEvent must return quickly and be safe for concurrent use. A
	// panic in it is logged.
	OnEvent func(Event)

	// Logger receives the events, and what an operator needs to know and callers
	// are not told, such as a malformed hash in the store. Nil means
	// slog.Default().
	Logger *slog.Logger

	once   sync.Once
	broken error  // why the Manager cannot be used
	key    []byte // for digests; never leaves this process
	dummy  phc    // checked instead of the hash of a user that does not exist

	mu       sync.Mutex // guards the next four
	verified lru.Cache[digest, struct{}]
	refused  lru.Cache[digest, struct{}]
	flights  map[flightKey]chan struct{}
	limits   rateLimits

	queue hashQueue
	reads sharedReads

	work   atomic.Int64 // sum of Cost.work of all hashes, for tests
	onHash func()       // called before each hash of a login, if set; for tests

	subscribersMu sync.Mutex
	subscribers   []*subscriber
}

// ready prepares the Manager on its first use. It returns an error if a field is
// invalid.
func (m *Manager) ready() error {
	m.once.Do(func() {
		if m.Store == nil {
			m.broken = errors.New("credentials: Manager.Store is required")
			return
		}
		cost := m.Cost.orDefault()
		if m.broken = cost.check(); m.broken != nil {
			return
		}
		m.key = make([]byte, 32)
		rand.Read(m.key)
		m.dummy = newPHC(rand.Text(), cost)
		m.verified.Max, m.refused.Max = maxVerified, maxRefused
		m.limits.users.Max, m.limits.networks.Max = maxLimited, maxLimited
		m.flights = make(map[flightKey]chan struct{})
	})
	return m.broken
}

func (m *Manager) logger() *slog.Logger {
	if m.Logger == nil {
		return slog.Default()
	}
	return m.Logger
}

// now returns the current time as stores keep it: in UTC and whole microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
