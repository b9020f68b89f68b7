package mx

import (
	"container/list"
	"sync"
)

// An lru holds what is remembered under a key, of the keys that were used last. Its
// methods are safe for concurrent use; the values look after themselves.
type lru[V any] struct {
	max int // how many keys

	mu    sync.Mutex
	order list.List // of *lruEntry[V], the last used in front
	byKey map[string]*list.Element
}

type lruEntry[V any] struct {
	key   string
	value V
}

// get returns what is under a key: the zero V if that was never asked for, or is
// forgotten.
func (c *lru[V]) get(key string) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		c.order.MoveToFront(e)
		return &e.Value.(*lruEntry[V]).value
	}
	if c.byKey == nil {
		c.byKey = make(map[string]*list.Element)
	}
	if len(c.byKey) >= c.max {
		oldest := c.order.Back()
		delete(c.byKey, oldest.Value.(*lruEntry[V]).key)
		c.order.Remove(oldest)
	}
	entry := &lruEntry[V]{key: key}
	c.byKey[key] = c.order.PushFront(entry)
	return &entry.value
}
