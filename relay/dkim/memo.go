package dkim

import (
	"errors"
	"hash/maphash"
	"io"
	"sync"

	"github.com/gatepost-mail/gatepost/relay"
)

var errUnfinished = errors.New("signing did not come to an end")

// maxMemo is how many messages a memo remembers: a few hundred bytes each.
const maxMemo = 1024

// A memo remembers the outcome of signing the latest messages. Of several calls
// for one message at once, one does the work; if that fails, each does its own.
type memo struct {
	seeded sync.Once
	seed   maphash.Seed

	mu    sync.Mutex
	known map[memoKey]*memoEntry
	ring  [maxMemo]memoKey // the keys, in the order they came
	next  int
}

// A memoKey says what was signed. The content counts, not only the name: a
// Forwarder in front may make several messages of one.
type memoKey struct {
	id   string
	size int64
	hash uint64
}

type memoEntry struct {
	once   sync.Once
	fields []byte
	err    error
}

func (m *memo) get(msg *relay.Message, sign func() ([]byte, error)) ([]byte, error) {
	key, err := m.key(msg)
	if err != nil {
		return nil, err
	}
	e, mine := m.entry(key), false
	e.once.Do(func() {
		mine = true
		e.err = errUnfinished // should sign panic
		e.fields, e.err = sign()
	})
	if e.err == nil {
		return e.fields, nil
	}
	m.forget(key, e) // the next try may fare better
	if !mine {
		return sign() // what another caller failed with may be the end of its context
	}
	return nil, e.err
}

// key reads the message to its end.
func (m *memo) key(msg *relay.Message) (memoKey, error) {
	m.seeded.Do(func() { m.seed = maphash.MakeSeed() })
	var h maphash.Hash
	h.SetSeed(m.seed)
	_, err := io.Copy(&h, msg.Content())
	return memoKey{msg.ID, msg.Size(), h.Sum64()}, err
}

func (m *memo) entry(key memoKey) *memoEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[key]; ok {
		return e
	}
	if m.known == nil {
		m.known = make(map[memoKey]*memoEntry)
	}
	delete(m.known, m.ring[m.next])
	m.ring[m.next] = key
	m.next = (m.next + 1) % maxMemo
	e := new(memoEntry)
	m.known[key] = e
	return e
}

func (m *memo) forget(key memoKey, e *memoEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[key] == e {
		delete(m.known, key)
	}
}
