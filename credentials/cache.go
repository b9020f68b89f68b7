package credentials

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// A digest stands for one password tried on one user with one hash, without
// giving any of them away: HMAC-SHA256 under a key that lives in this process
// only. What is remembered under it needs no forgetting after a reset or a
// delete, because the store then answers with another hash or none.
type digest [sha256.Size]byte

// digest covers the hash and not only the generation, so that a database that
// was restored from a backup can't bring an old verdict back to life.
func (m *Manager) digest(username, hash, password string) (d digest) {
	mac := hmac.New(sha256.New, m.key)
	for _, s := range []string{username, hash, password} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		mac.Write([]byte(s))
	}
	mac.Sum(d[:0])
	return d
}

// An lru is a map of bounded size that forgets what wasn't asked for longest.
// The zero lru is empty.
type lru[K comparable, V any] struct {
	order   list.List // of *entry[K, V], latest first
	entries map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	e, ok := l.entries[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// put sets the value of key, and forgets another entry if there are more than
// limit.
func (l *lru[K, V]) put(key K, value V, limit int) {
	if e, ok := l.entries[key]; ok {
		e.Value.(*entry[K, V]).value = value
		l.order.MoveToFront(e)
		return
	}
	if l.entries == nil {
		l.entries = make(map[K]*list.Element)
	}
	l.entries[key] = l.order.PushFront(&entry[K, V]{key, value})
	if len(l.entries) > limit {
		last := l.order.Back()
		delete(l.entries, l.order.Remove(last).(*entry[K, V]).key)
	}
}
