package limits

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// planTime is for how long an answer of Limiter.Limits is used.
const planTime = time.Minute

// maxPlans is how many answers are remembered.
const maxPlans = 20_000

type planKey struct {
	tenant           store.TenantID
	domain, username string
}

// A plan is what Limiter.Limits has answered for a user.
type plan struct {
	asking gate // held during a call of Limits

	mu     sync.Mutex
	calls  int       // how many have begun
	began  time.Time // when the last one did, or the plan was made
	limits []Limit
	asked  time.Time // when the last call that had an answer began; zero if none had
	call   int       // its number
}

// answer returns the last answer, unless it is too old.
func (p *plan) answer() (limits []Limit, calls int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits, p.calls, !p.asked.IsZero() && time.Since(p.asked) < planTime
}

// after returns the answer of a call after the given one, if there was such a call.
func (p *plan) after(call int) (limits []Limit, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits, p.call > call
}

// limits returns the limits of a user: an answer that may be a minute old, or one to a
// question that is asked after the call of limits. If several callers need an answer,
// one asks and the others wait.
func (l *Limiter) limits(ctx context.Context, id credentials.Identity, anew bool) ([]Limit, error) {
	p := l.plan(planKey{id.Tenant, id.Domain, id.Username})
	limits, call, ok := p.answer()
	if ok && !anew {
		return limits, nil
	}
	if err := p.asking.lock(ctx); err != nil {
		return nil, err
	}
	defer p.asking.unlock()
	if limits, ok := p.after(call); ok {
		return limits, nil
	}
	return l.ask(ctx, id, p)
}

// ask calls Limiter.Limits. The caller must hold p.asking.
func (l *Limiter) ask(ctx context.Context, id credentials.Identity, p *plan) ([]Limit, error) {
	p.mu.Lock()
	p.calls++
	call, asked := p.calls, time.Now()
	p.began = asked
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	limits, err := l.Limits(ctx, id)
	if err == nil {
		err = check(limits)
	}
	if err != nil {
		return nil, fmt.Errorf("limits: the limits of %s are not known: %w", id.Username, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits, p.asked, p.call = limits, asked, call
	return limits, nil
}

func (l *Limiter) plan(key planKey) *plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.plans[key]
	if p == nil {
		if l.plans == nil || len(l.plans) >= maxPlans {
			l.plans = make(map[planKey]*plan)
		}
		p = &plan{began: time.Now()}
		l.plans[key] = p
	}
	return p
}

// inUse reports whether a call may be under way, or has an answer that is not too old. A
// call takes less than planTime.
func (p *plan) inUse() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.began) < planTime
}

// forgetPlans forgets answers that are not used any more.
func (l *Limiter) forgetPlans() {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.plans, func(_ planKey, p *plan) bool { return !p.inUse() })
}

// check returns an error if limits cannot be told apart.
func check(limits []Limit) error {
	seen := make(map[[2]int]bool, len(limits))
	for _, l := range limits {
		if err := l.check(); err != nil {
			return err
		}
		of := [2]int{int(l.Scope), int(l.Interval)}
		if seen[of] {
			return fmt.Errorf("limits: two limits have the scope and the interval of %+v", l)
		}
		seen[of] = true
	}
	return nil
}

// equal reports whether two answers say the same.
func equal(a, b []Limit) bool {
	return slices.EqualFunc(a, b, func(a, b Limit) bool {
		return a.Scope == b.Scope && a.Interval == b.Interval && a.Max == b.Max && a.Anchor.Equal(b.Anchor) &&
			a.Anchor.Location().String() == b.Anchor.Location().String()
	})
}

// A gate is a lock that a caller need not wait for longer than its context lasts.
type gate struct {
	once sync.Once
	held chan struct{}
}

func (g *gate) lock(ctx context.Context) error {
	g.once.Do(func() { g.held = make(chan struct{}, 1) })
	select {
	case g.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) unlock() { <-g.held }
