package credentials

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/store"
)

// A Manager keeps the rules for domains and SMTP users: it makes usernames and
// passwords, checks logins and says when a login is no longer good. A product
// needs one per process; any number of processes share one store.
//
// The fields are set before the first use and not changed afterwards. A
// Manager must not be copied after its first use. Its methods are safe for
// concurrent use. It starts no goroutine and needs no closing.
type Manager struct {
	// Store is where domains and users are kept. Required.
	Store store.Store

	// Cost is the cost of the hashes of new passwords. The zero Cost is
	// argon2id with 19 MiB, two passes, one thread.
	Cost Cost

	// OnEvent, if set, is called for every event, from the goroutine that caused
	// it: after the store has confirmed the change and before the method that
	// made it returns. It must be quick and safe for concurrent use. A panic in
	// it is logged.
	OnEvent func(Event)

	// Logger gets the events, and what an operator should know and no caller is
	// told, such as a hash that can't be read. Nil means slog.Default().
	Logger *slog.Logger

	once   sync.Once
	broken error  // why the Manager can't be used
	key    []byte // for digests; lives in this process only
	decoy  phc    // stands in for the hash of a user that doesn't exist

	mu       sync.Mutex // guards the next four
	verified lru.Cache[digest, struct{}]
	refused  lru.Cache[digest, struct{}]
	flights  map[flight]chan struct{}
	brakes   brakes

	queue queue

	work   atomic.Int64 // that went into hashes so far, for tests
	onHash func()       // called before each hash of a login, if set; for tests

	subscribersMu sync.Mutex
	subscribers   []*subscriber
}

// ready prepares the Manager on first use, and reports a mistake in its fields.
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
		m.decoy = newPHC(rand.Text(), cost)
		m.verified.Max, m.refused.Max = maxVerified, maxRefused
		m.brakes.users.Max, m.brakes.prefixes.Max = maxBrakes, maxBrakes
		m.flights = make(map[flight]chan struct{})
	})
	return m.broken
}

func (m *Manager) logger() *slog.Logger {
	if m.Logger == nil {
		return slog.Default()
	}
	return m.Logger
}

// now returns the time as stores keep it: UTC, whole microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
