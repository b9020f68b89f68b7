package dkim

import (
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/relay"
)

var errUnfinished = errors.New("signing did not come to an end")

// maxMemo is how many messages a memo remembers, with a few hundred bytes each.
const maxMemo = 1024

// A memo remembers the outcome of signing the latest messages, each until its time.
// It is a singleflight: of several calls for one message at once, one signs. If
// that call fails, the others sign for themselves.
type memo struct {
	seeded sync.Once
	seed   maphash.Seed

	mu    sync.Mutex
	known lru.Cache[memoKey, *memoEntry]
}

// A memoKey says what was signed. The content counts, not only the ID: a Forwarder
// in front may make several messages of one.
type memoKey struct {
	id   string
	size int64
	hash uint64
}

type memoEntry struct {
	once    sync.Once
	outcome outcome
	err     error
	until   time.Time // guarded by memo.mu; zero until the outcome is there
}

func (m *memo) get(msg *relay.Message, sign func() (outcome, error)) ([]byte, error) {
	key, err := m.key(msg)
	if err != nil {
		return nil, err
	}
	e, mine := m.entry(key), false
	e.once.Do(func() {
		mine = true
		e.err = errUnfinished // should sign panic
		defer func() { m.settle(key, e) }()
		e.outcome, e.err = sign()
	})
	if e.err == nil || mine {
		return e.outcome.fields, e.err
	}
	own, err := sign() // the other call may have failed because its context ended
	return own.fields, err
}

// key reads the message to its end.
func (m *memo) key(msg *relay.Message) (memoKey, error) {
	m.seeded.Do(func() { m.seed = maphash.MakeSeed() })
	var h maphash.Hash
	h.SetSeed(m.seed)
	_, err := io.Copy(&h, msg.Content())
	return memoKey{msg.ID, msg.Size(), h.Sum64()}, err
}

// entry returns the entry of a message, a new one if the outcome has expired.
func (m *memo) entry(key memoKey) *memoEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known.Get(key); ok && (e.until.IsZero() || time.Now().Before(e.until)) {
		return e
	}
	e := new(memoEntry)
	m.known.Max = maxMemo
	m.known.Put(key, e)
	return e
}

// settle keeps the outcome until its time, or forgets it at once.
func (m *memo) settle(key memoKey, e *memoEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.until = e.outcome.until
	if current, ok := m.known.Get(key); ok && current == e && (e.err != nil || e.until.IsZero()) {
		m.known.Delete(key)
	}
}
