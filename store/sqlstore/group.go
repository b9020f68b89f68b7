package sqlstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/yield"
)

// A group lets concurrent callers share their transactions (group commit). A caller
// that finds no leader becomes the leader. The leader does its own work and the work
// of all waiting callers in one transaction. Later callers wait, and the first of them leads
// next. So a Store has no goroutine that must be stopped. One transaction at a time is
// faster than several, on every database, because there are fewer commits.
type group struct {
	mu      sync.Mutex
	busy    bool // there is a leader
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

// commitTime is how long the work of a group may take. It takes milliseconds, unless
// another process keeps a SQLite file locked, or a connection has died without a
// sign. (Some drivers can't end a COMMIT, see the package's documentation.)
const commitTime = 30 * time.Second

// do runs op, together with others, and returns op's error. If ctx ends while another
// caller runs op, the outcome is unknown. A leader that carries other callers' work
// ignores the end of its ctx and finishes, after at most commitTime.
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

// lead does the work of m and of the waiting members. On a busy machine more members
// come while it yields.
func (g *group) lead(m *member, run func(context.Context, []*operation)) {
	yield.Briefly()
	others := g.take(m)
	ops := []*operation{m.op}
	for _, other := range others {
		ops = append(ops, other.op)
	}
	ctx := m.ctx
	if len(others) > 0 { // the end of one caller's context must not fail the others
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

// errUnfinished is what the other callers get if run panics.
var errUnfinished = errors.New("the caller that committed for this one panicked")

// take removes from the waiting members those whose work is done together with m's.
func (g *group) take(m *member) []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, m.op.size()
	for n < len(g.waiting) && n+1 < maxTogether {
		if size += g.waiting[n].op.size(); size > maxTogetherBytes {
			break
		}
		n++
	}
	taken := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return taken
}

// next makes the first waiting member the leader in the caller's place. The caller
// must hold g.mu.
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

// leave removes a member whose context has ended. If it was just made the leader,
// another member is.
func (g *group) leave(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, m); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else if m.leads {
		g.next()
	}
}
