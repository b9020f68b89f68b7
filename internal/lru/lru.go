// Package lru provides a map of bounded size. When it is full, a new entry
// replaces the one that was used least recently.
package lru

import "container/list"

// A Cache is a map with at most Max entries. Get and Put count as a use of an
// entry. All methods take constant time.
//
// A Cache is not safe for concurrent use. The zero Cache keeps no entries.
type Cache[K comparable, V any] struct {
	// Max is the maximum number of entries. If it is zero or negative, Put
	// has no effect. It must not be changed after the first Put.
	Max int

	order   list.List // of *entry[K, V]; the front was used last
	entries map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// Get returns the value of key. ok is false if key has no entry.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	e, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the value of key. If the Cache was full and key is new, Put removes
// the least recently used entry.
func (c *Cache[K, V]) Put(key K, value V) {
	if e, ok := c.entries[key]; ok {
		e.Value.(*entry[K, V]).value = value
		c.order.MoveToFront(e)
		return
	}
	if c.Max <= 0 {
		return
	}
	if c.entries == nil {
		c.entries = make(map[K]*list.Element)
	}
	if len(c.entries) >= c.Max {
		oldest := c.order.Back()
		delete(c.entries, c.order.Remove(oldest).(*entry[K, V]).key)
	}
	c.entries[key] = c.order.PushFront(&entry[K, V]{key, value})
}

// All iterates over the entries, in no order. It does not count as a use. The Cache must
// not be changed meanwhile.
func (c *Cache[K, V]) All() func(yield func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for key, e := range c.entries {
			if !yield(key, e.Value.(*entry[K, V]).value) {
				return
			}
		}
	}
}

// Delete removes the entry of key, if there is one.
func (c *Cache[K, V]) Delete(key K) {
	if e, ok := c.entries[key]; ok {
		c.order.Remove(e)
		delete(c.entries, key)
	}
}

// Oldest returns the entry that was used least recently. ok is false if there is
// none. It does not count as a use.
func (c *Cache[K, V]) Oldest() (key K, value V, ok bool) {
	e := c.order.Back()
	if e == nil {
		return key, value, false
	}
	oldest := e.Value.(*entry[K, V])
	return oldest.key, oldest.value, true
}

// Len returns the number of entries.
func (c *Cache[K, V]) Len() int { return len(c.entries) }
