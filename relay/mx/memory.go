package mx

import (
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
)

// The memory is bounded: so many domains, with their hosts and MTA-STS policy, and so
// many hosts and addresses.
const (
	maxDomains = 5_000
	maxRecords = 10_000
)

// A table is a map of bounded size. Its methods are safe for concurrent use; the values
// have locks of their own.
type table[V any] struct {
	mu    sync.Mutex
	cache lru.Cache[string, *V]
}

// get returns the value of a key. It is a zero V if the key is new or was
// forgotten.
func (t *table[V]) get(key string) *V {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.cache.Get(key)
	if !ok {
		v = new(V)
		t.cache.Put(key, v)
	}
	return v
}

// silentTime is how long a host or an address that did not answer is asked last.
const silentTime = 10 * time.Minute

// silence remembers hosts and addresses that did not answer.
type silence struct {
	mu    sync.Mutex
	cache lru.Cache[string, time.Time] // until when
}

// note records that a host or an address did not answer, or that it did.
func (s *silence) note(name string, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if silent {
		s.cache.Put(name, time.Now().Add(silentTime))
	} else {
		s.cache.Delete(name)
	}
}

// last returns the names with those at the end that did not answer a moment ago.
func last[N any](s *silence, names []N, key func(N) string) []N {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache.Len() == 0 {
		return names
	}
	var good, silent []N
	for _, n := range names {
		if until, ok := s.cache.Get(key(n)); ok && time.Now().Before(until) {
			silent = append(silent, n)
		} else {
			good = append(good, n)
		}
	}
	return append(good, silent...)
}
