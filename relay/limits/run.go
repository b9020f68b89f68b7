package limits

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// pace is how often Run looks at what this process holds.
const pace = time.Second

// unclaimTime and releaseTime are how long the last calls of the Store may take when Run
// ends: together 5 seconds.
const (
	unclaimTime = time.Second
	releaseTime = 4 * time.Second
)

// forgetTime is after how long without use an allowance is forgotten.
const forgetTime = 10 * time.Minute

// Run reserves ahead of what is needed, gives back what is not used for 30 seconds, and
// calls OnNotice, until ctx ends. Then it gives back all that this process holds, which
// takes at most 5 seconds; so shut the server down before ctx ends. Without Run the
// limits are still kept, but what this process does not use is free for others only
// after about 6 minutes.
//
// Run returns an error only if it cannot begin: Check returns one, or Run is being called
// already.
func (l *Limiter) Run(ctx context.Context) error {
	if err := l.Check(); err != nil {
		return err
	}
	if !l.begins() {
		return errors.New("limits: Run is being called already")
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running = false
	}()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for sleep(ctx, pace) {
			l.keepAhead(ctx)
		}
	})
	tasks.Go(func() {
		for wait := time.Minute; sleep(ctx, wait); wait = 24 * time.Hour {
			l.expire(ctx)
		}
	})
	if l.OnNotice != nil {
		tasks.Go(func() {
			for sleep(ctx, noticePace) {
				l.notify(ctx)
			}
		})
	}
	tasks.Wait()
	l.releaseAll(ctx)
	return nil
}

// keepUsages is for how long usages are kept after their periods have begun: also those
// of users, domains and tenants that are deleted.
const keepUsages = 62 * 24 * time.Hour

// expire removes usages that are too old.
func (l *Limiter) expire(ctx context.Context) {
	const some = 1000
	for n := some; n == some; {
		var err error
		if n, err = l.expireSome(ctx, some); err != nil && ctx.Err() == nil {
			l.logger().Warn("limits: old usages are not removed, trying again tomorrow", "error", err)
		}
	}
}

func (l *Limiter) expireSome(ctx context.Context, some int) (removed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return l.Store.ExpireUsages(ctx, time.Now().Add(-keepUsages), some)
}

// begins reports whether Run may begin, and names this process.
func (l *Limiter) begins() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return false
	}
	l.running, l.who = true, relay.NewID()
	return true
}

// keepAhead looks at each allowance once.
func (l *Limiter) keepAhead(ctx context.Context) {
	l.forgetPlans()
	for key, a := range l.all() {
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		a.mu.Lock()
		ahead := a.grant.ID != "" && (now.Sub(a.used) < 5*time.Second && a.left < a.enough(a.limit)/2 ||
			now.Sub(a.used) < idle && now.After(a.until.Add(-2*useMargin)))
		unused := a.left > 0 && now.Sub(a.used) >= idle
		old := a.old(l, now)
		a.mu.Unlock()
		switch {
		case ahead:
			a.moreOf(ctx, l)
		case unused:
			a.giveBackUnused(ctx, l, idle)
		case old:
			l.forget(key, a)
		}
	}
}

// old reports whether nothing is lost if the allowance is forgotten, unless a message has
// asked for it lately. The caller must hold a.mu.
func (a *allowance) old(l *Limiter, now time.Time) bool {
	return a.left == 0 && now.Sub(a.used) >= forgetTime && now.Sub(a.reserved) >= forgetTime && !(l.OnNotice != nil && a.mayNotify())
}

// forget forgets an allowance if it is old. A message that has just asked for it may be
// about to reserve: with a second allowance beside it, each would take what the other
// holds for held elsewhere.
func (l *Limiter) forget(key string, a *allowance) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(a.wanted) < forgetTime {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.old(l, now) {
		delete(l.allowances, key)
	}
}

// all returns the allowances of this process.
func (l *Limiter) all() map[string]*allowance {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]*allowance, len(l.allowances))
	for key, a := range l.allowances {
		all[key] = a
	}
	return all
}

// moreOf reserves a chunk before it is needed. If that fails, the next message tries.
func (a *allowance) moreOf(ctx context.Context, l *Limiter) {
	if err := a.reserving.lock(ctx); err != nil {
		return
	}
	defer a.reserving.unlock()
	a.mu.Lock()
	id, limit, period := a.id, a.limit, a.period
	a.mu.Unlock()
	if begin, _ := limit.Period(time.Now()); !begin.Equal(period) {
		return
	}
	if err := a.reserve(ctx, l, id, limit, 0); err != nil && ctx.Err() == nil {
		l.logger().Warn("limits: nothing can be reserved ahead", "error", err)
	}
}

// giveBackUnused gives back what the grant has left, if it was not used for a while.
func (a *allowance) giveBackUnused(ctx context.Context, l *Limiter, unused time.Duration) {
	if err := a.reserving.lock(ctx); err != nil {
		return
	}
	defer a.reserving.unlock()
	a.mu.Lock()
	g, left := a.grant, a.left
	if time.Since(a.used) < unused { // a message has used it since the caller looked
		left = 0
	} else {
		a.drop()
	}
	a.mu.Unlock()
	if left > 0 {
		a.release(ctx, l, g, left)
	}
}

// releaseAll gives back all that this process holds.
func (l *Limiter) releaseAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	for _, a := range l.all() {
		a.giveBackUnused(ctx, l, 0)
	}
}

// sleep waits. It returns false if ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
