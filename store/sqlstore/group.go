package sqlstore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A group lets concurrent callers share their transactions. A caller that
// finds nobody at work leads: it does its own work and that of all who wait,
// in one go. Those who come meanwhile wait, and when it is done the first of
// them leads. So there is no goroutine that would have to be stopped.
type group struct {
	mu      sync.Mutex
	busy    bool // somebody leads
	waiting []*member
}

// A member is a caller of do and what it wants done.
type member struct {
	ctx   context.Context
	op    *operation
	leads bool      // it was chosen to lead
	turn  chan bool // receives true when it is to lead, false when op is done
}

// The limits of what is committed together.
const (
	maxTogether      = 256
	maxTogetherBytes = 4 << 20
)

// do has op done by run, together with others, and returns op's error. If ctx
// ends while others do it, nothing is known about the outcome.
func (g *group) do(ctx context.Context, op *operation, run func(context.Context, []*operation)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := &member{ctx: ctx, op: op, turn: make(chan bool, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	wait := g.busy
	g.busy, m.leads = true, !g.busy
	g.mu.Unlock()
	if wait {
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
	g.lead(run)
	return op.err
}

// lead does the work of those who wait, the caller first.
func (g *group) lead(run func(context.Context, []*operation)) {
	g.mu.Lock()
	batch := g.take()
	g.mu.Unlock()

	ctx, cancel := whileAnyLasts(batch)
	ops := make([]*operation, len(batch))
	for i, m := range batch {
		ops[i] = m.op
	}
	run(ctx, ops)
	cancel()

	g.mu.Lock()
	g.next()
	g.mu.Unlock()
	for _, m := range batch {
		m.turn <- false
	}
}

// take removes the members of the next transaction from those who wait.
func (g *group) take() []*member {
	n, size := 0, 0
	for _, m := range g.waiting {
		size += len(m.op.content)
		if n > 0 && (n == maxTogether || size > maxTogetherBytes) {
			break
		}
		n++
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return batch
}

// next chooses who leads next.
func (g *group) next() {
	if len(g.waiting) == 0 {
		g.busy = false
		return
	}
	g.waiting[0].leads = true
	g.waiting[0].turn <- true
}

// leave removes a member whose context has ended. If it was just chosen to
// lead, somebody else does.
func (g *group) leave(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, m)
	if i < 0 {
		return // somebody is doing its work
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	if m.leads {
		g.next()
	}
}

// whileAnyLasts returns a context that ends when all of the members' contexts
// have ended: nobody's haste is another's failure.
func whileAnyLasts(batch []*member) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		return context.WithCancel(batch[0].ctx)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(batch)))
	stops := make([]func() bool, len(batch))
	for i, m := range batch {
		stops[i] = context.AfterFunc(m.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
