package credentials

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// Limits on the waiting requests of a class. Further logins would time out before
// they are hashed.
const (
	maxWaitingPerOwner = 256
	maxWaiting         = 4096
)

// A class is a kind of request. While requests of both classes wait, hashes
// alternate between the classes.
type class int

const (
	// unknownNetwork is a login from a network that is not the one of the user's
	// last connection.
	unknownNetwork class = iota

	// knownNetwork is a login from the network of the user's last connection, or
	// the hash of a new password. A flood from any number of unknown networks
	// leaves half of the hashes to this class.
	knownNetwork

	classes
)

var errQueueFull = errors.New("too many are waiting")

// A request asks for a hash.
type request struct {
	class    class
	owner    any // a netip.Prefix, or for a new password a store.TenantID
	failures int // see rateLimits.failures
}

// A hashQueue lets at most GOMAXPROCS goroutines hash at the same time, because
// each hash takes the memory of a [Cost].
//
// Within a class, every other hash goes to the owner with the least demand, so
// that a single login from a quiet network does not wait for a thousand from
// other networks. The hashes between go round robin, so that every owner gets
// some. The zero hashQueue is ready to use.
type hashQueue struct {
	mu      sync.Mutex
	running int
	waiting int
	next    class // the class that is served next
	classes [classes]classQueue
}

// A classQueue holds the waiting requests of a class.
type classQueue struct {
	order      []*ownerQueue // in round-robin order
	owners     map[any]*ownerQueue
	waiting    int
	roundRobin bool // the next hash goes to order[0]
}

// An ownerQueue holds the waiting requests of one owner in FIFO order. It is
// never empty.
type ownerQueue struct {
	owner    any
	failures int             // of the latest request
	waiters  []chan struct{} // closed when the waiter may hash
}

// demand is what the owner waits for, plus its recent failures.
func (o *ownerQueue) demand() int { return o.failures + len(o.waiters) }

// acquire waits until the caller may hash. The caller then calls release. The
// error is errQueueFull or the cause of the end of ctx.
func (q *hashQueue) acquire(ctx context.Context, r request) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	if q.waiting == 0 && q.running < runtime.GOMAXPROCS(0) {
		q.running++
		q.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	if err := q.push(r, ready); err != nil {
		q.mu.Unlock()
		return err
	}
	q.mu.Unlock()

	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	removed := q.classes[r.class].remove(r.owner, ready)
	if removed {
		q.waiting--
	}
	q.mu.Unlock()
	if !removed { // pop has returned it before
		q.release()
	}
	return context.Cause(ctx)
}

// release ends a hash and starts the next ones.
func (q *hashQueue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	for q.waiting > 0 && q.running < runtime.GOMAXPROCS(0) {
		close(q.pop())
		q.running++
	}
}

// push adds a waiter. The caller must hold mu, as for pop.
func (q *hashQueue) push(r request, ready chan struct{}) error {
	c := &q.classes[r.class]
	o := c.owners[r.owner]
	if c.waiting >= maxWaiting || o != nil && len(o.waiters) >= maxWaitingPerOwner {
		return errQueueFull
	}
	if o == nil {
		o = &ownerQueue{owner: r.owner}
		if c.owners == nil {
			c.owners = make(map[any]*ownerQueue)
		}
		c.owners[r.owner] = o
		c.order = append(c.order, o)
	}
	o.failures = r.failures
	o.waiters = append(o.waiters, ready)
	c.waiting++
	q.waiting++
	return nil
}

// pop removes the waiter that is served next and returns it. There must be one.
func (q *hashQueue) pop() chan struct{} {
	c := q.next
	if len(q.classes[c].order) == 0 {
		c = 1 - c
	}
	q.next = 1 - c
	q.waiting--
	return q.classes[c].pop()
}

func (c *classQueue) pop() chan struct{} {
	o := c.order[0]
	if !c.roundRobin { // the first of those with the least demand
		o = slices.MinFunc(c.order, func(a, b *ownerQueue) int { return a.demand() - b.demand() })
	}
	c.roundRobin = !c.roundRobin
	ready := o.waiters[0]
	o.waiters = o.waiters[1:]
	c.waiting--
	c.removeOwner(o)
	if len(o.waiters) > 0 { // it goes to the end of the round
		c.order = append(c.order, o)
		c.owners[o.owner] = o
	}
	return ready
}

func (c *classQueue) removeOwner(o *ownerQueue) {
	i := slices.Index(c.order, o)
	c.order = slices.Delete(c.order, i, i+1)
	delete(c.owners, o.owner)
}

// remove removes a waiter. It reports false if the waiter was not in the queue.
func (c *classQueue) remove(owner any, ready chan struct{}) bool {
	o := c.owners[owner]
	if o == nil {
		return false
	}
	i := slices.Index(o.waiters, ready)
	if i < 0 {
		return false
	}
	o.waiters = slices.Delete(o.waiters, i, i+1)
	c.waiting--
	if len(o.waiters) == 0 {
		c.removeOwner(o)
	}
	return true
}
