package credentials

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
)

// Bounds on those of a class that wait for a hash. More logins than these would
// only wait in vain: maxWait is over before their turn comes.
const (
	maxWaitingPerLine = 256
	maxWaiting        = 4096
)

// A class is a kind of work in the queue. As long as work of both classes
// waits, each gets every other turn.
type class int

const (
	// stranger is a login from an address that is new for the user.
	stranger class = iota
	// resident is a login from where the user last connected from, and
	// hashing a new password for a tenant. A flood of strangers, from
	// however many addresses, can't keep it waiting.
	resident
	classes
)

var errQueueFull = errors.New("too many are waiting")

// A claim is what somebody has to a turn.
type claim struct {
	class   class
	owner   any // of the turn: a netip.Prefix, or for a new password a store.TenantID
	guesses int // wrong passwords of late, see brakes.guesses
}

// A queue lets at most GOMAXPROCS hashes be computed at once, each of which
// takes the memory of a [Cost]. Every other turn goes to the owner that asks
// for least, so that one login from a quiet address doesn't wait for a thousand
// from others; the turns between go round, so that everybody has some. The zero
// queue is ready.
type queue struct {
	mu      sync.Mutex
	running int
	waiting int
	next    class // whose turn it is
	rings   [classes]ring
}

// A ring holds the lines of a class, in the order in which turns go round.
type ring struct {
	order   []*line
	lines   map[any]*line // by owner
	waiting int
	round   bool // the next turn is one that goes round
}

// A line holds the waiters of one owner, first come first. It is never empty.
type line struct {
	owner   any
	guesses int             // of the latest claim
	waiters []chan struct{} // closed when their turn has come
}

// demand is how much the owner asks for.
func (l *line) demand() int { return l.guesses + len(l.waiters) }

// acquire waits for a turn. The caller calls release after its hash. An error
// is errQueueFull or the cause of the end of ctx.
func (q *queue) acquire(ctx context.Context, c claim) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	if q.waiting == 0 && q.running < runtime.GOMAXPROCS(0) {
		q.running++
		q.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if err := q.push(c, turn); err != nil {
		q.mu.Unlock()
		return err
	}
	q.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	left := q.rings[c.class].remove(c.owner, turn)
	if left {
		q.waiting--
	}
	q.mu.Unlock()
	if !left { // the turn came meanwhile, and goes to the next
		q.release()
	}
	return context.Cause(ctx)
}

// release ends a turn and gives it on.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	for q.waiting > 0 && q.running < runtime.GOMAXPROCS(0) {
		close(q.pop())
		q.running++
	}
}

func (q *queue) push(c claim, turn chan struct{}) error {
	r := &q.rings[c.class]
	l := r.lines[c.owner]
	if r.waiting >= maxWaiting || l != nil && len(l.waiters) >= maxWaitingPerLine {
		return errQueueFull
	}
	if l == nil {
		l = &line{owner: c.owner}
		if r.lines == nil {
			r.lines = make(map[any]*line)
		}
		r.lines[c.owner] = l
		r.order = append(r.order, l)
	}
	l.guesses = c.guesses
	l.waiters = append(l.waiters, turn)
	r.waiting++
	q.waiting++
	return nil
}

// pop returns the waiter whose turn is next. There must be one.
func (q *queue) pop() chan struct{} {
	c := q.next
	if len(q.rings[c].order) == 0 {
		c = 1 - c
	}
	q.next = 1 - c
	q.waiting--
	return q.rings[c].pop()
}

func (r *ring) pop() chan struct{} {
	l := r.order[0]
	if !r.round { // the first of those that ask for least
		l = slices.MinFunc(r.order, func(a, b *line) int { return a.demand() - b.demand() })
	}
	r.round = !r.round
	turn := l.waiters[0]
	l.waiters = l.waiters[1:]
	r.waiting--
	r.leave(l)
	if len(l.waiters) > 0 {
		r.order = append(r.order, l)
		r.lines[l.owner] = l
	}
	return turn
}

// leave takes a line out.
func (r *ring) leave(l *line) {
	i := slices.Index(r.order, l)
	r.order = slices.Delete(r.order, i, i+1)
	delete(r.lines, l.owner)
}

// remove takes a waiter out, and reports whether it was still waiting.
func (r *ring) remove(owner any, turn chan struct{}) bool {
	l := r.lines[owner]
	if l == nil {
		return false
	}
	i := slices.Index(l.waiters, turn)
	if i < 0 {
		return false
	}
	l.waiters = slices.Delete(l.waiters, i, i+1)
	r.waiting--
	if len(l.waiters) == 0 {
		r.leave(l)
	}
	return true
}
