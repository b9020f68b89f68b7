package sqlstore

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A group lets concurrent callers share their transactions. A caller that
// finds nobody at work leads: it does its own work and that of all who wait,
// in one go. Those who come meanwhile wait, and when it is done the first of
// them leads. So there is no goroutine that would have to be stopped. One at a
// time is faster than several, on every database: there are fewer commits.
type group struct {
	mu      sync.Mutex
	busy    bool // somebody leads
	waiting []*member
}

// A member is a caller of do and what it wants done.
type member struct {
	ctx   context.Context
	op    *operation
	leads bool      // it waited and was made a leader
	turn  chan bool // receives true for that, or false when op is done
}

// The limits of what is committed together.
const (
	maxTogether      = 256
	maxTogetherBytes = 4 << 20
)

// commitTime is how long the work of a group may take. It takes milliseconds,
// unless another process keeps a SQLite file locked, or a connection has died
// without a sign; then those who wait needn't wait for longer than that. (Some
// drivers can't end a COMMIT, see the package's documentation.)
const commitTime = 30 * time.Second

// do has op done by run, together with others, and returns op's error. If ctx
// ends while others do it, nothing is known about the outcome. Who leads others
// stays until the work is done, or its time is up, whatever becomes of ctx.
func (g *group) do(ctx context.Context, op *operation, run func(context.Context, []*operation)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := &member{ctx: ctx, op: op, turn: make(chan bool, 1)}
	if !g.enter(m) {
		select {
		case lead := <-m.turn:
			if !lead {
				return op.err
			}
		case <-ctx.Done():
			g.leave(m)
			return ctx.Err()
		}
	}
	g.lead(m, run)
	return op.err
}

// enter reports whether m leads. If not, it waits for its turn.
func (g *group) enter(m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy {
		g.waiting = append(g.waiting, m)
		return false
	}
	g.busy = true
	return true
}

// yields is how often a leader lets other goroutines run before it begins: on a
// busy machine more callers come by then, on an idle one it takes no time.
const yields = 10

// lead does the work of m and of those who wait.
func (g *group) lead(m *member, run func(context.Context, []*operation)) {
	for range yields {
		runtime.Gosched()
	}
	others := g.take(m)
	ops := []*operation{m.op}
	for _, other := range others {
		ops = append(ops, other.op)
	}
	ctx := m.ctx
	if len(others) > 0 { // nobody's haste is another's failure
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	done := false
	defer func() {
		cancel()
		g.mu.Lock()
		g.next()
		g.mu.Unlock()
		for _, other := range others {
			if !done && other.op.err == nil {
				other.op.err = errUnfinished
			}
			other.turn <- false
		}
	}()
	run(ctx, ops)
	done = true
}

// errUnfinished is what others are told if run panics.
var errUnfinished = errors.New("whoever committed for all panicked")

// take removes those from the waiting whose work is done with m's.
func (g *group) take(m *member) []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, len(m.op.content)
	for n < len(g.waiting) && n+1 < maxTogether {
		if size += len(g.waiting[n].op.content); size > maxTogetherBytes {
			break
		}
		n++
	}
	taken := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return taken
}

// next makes the first of those who wait a leader in the caller's place.
func (g *group) next() {
	if len(g.waiting) == 0 {
		g.busy = false
		return
	}
	m := g.waiting[0]
	g.waiting = slices.Delete(g.waiting, 0, 1)
	m.leads = true
	m.turn <- true
}

// leave removes a member whose context has ended. If it was just made a
// leader, somebody else is.
func (g *group) leave(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, m); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else if m.leads {
		g.next()
	}
}
