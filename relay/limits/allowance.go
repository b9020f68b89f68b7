package limits

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// hold is for how long a grant holds after it was last reserved of.
	hold = 5 * time.Minute

	// maxAge is for how long a grant is renewed. Recipients of it that were taken and
	// never recorded are free again after that.
	maxAge = time.Hour

	// useMargin is how long before its end a grant is not used any more, and
	// commitMargin how long before it Next must have answered. Then a message is
	// recorded before the end of the grant, even if the Spool answers late.
	useMargin    = 90 * time.Second
	commitMargin = 30 * time.Second

	// skew is by how much the clocks of processes may differ. A grant counts as ended
	// that much later.
	skew = time.Minute

	// minChunk and maxChunk are how many recipients are reserved at a time, if the
	// limit leaves enough. A chunk is meant to last for about ten seconds.
	minChunk = 50
	maxChunk = 50_000

	// share is the part of what is left that a process reserves: near the end
	// processes hold next to nothing.
	share = 8

	// idle is after how long without use a grant is given back.
	idle = 30 * time.Second

	// storeTime is how long a call of the Store or of Limits may take.
	storeTime = 20 * time.Second
)

// An allowance is what this process holds of a limit, and what it knows of it.
type allowance struct {
	reserving gate // held while the Store is asked

	wanted time.Time // when a message last asked for the allowance; Limiter.mu guards it

	mu     sync.Mutex
	id     credentials.Identity
	limit  Limit
	asked  Limit     // limit, or what was answered later when there was something to tell
	period time.Time // when it began; the rest is about this period
	end    time.Time // when the period ends, by the limit

	grant   store.Grant // with an empty ID there is none
	text    string      // the grant, as in Message.Grants
	born    time.Time
	until   time.Time
	left    int64 // of the grant
	pending int64 // taken from the grant, and Next has not answered yet

	known    int64       // at least so many recipients are used in the period
	usage    store.Usage // as the Store told last
	chunk    int64
	reserved time.Time // when the Store was last asked
	used     time.Time // when something was last taken
}

// A part is what a message has taken of an allowance.
type part struct {
	of    *allowance
	grant store.Grant
	text  string
	until time.Time
	n     int64
}

// grantSeparator is between the grants in the Grants of a message.
const grantSeparator = ";"

// grantsOf returns the Grants of a message.
func grantsOf(before string, parts []part) string {
	texts := make([]string, 0, len(parts)+1)
	if before != "" {
		texts = append(texts, before)
	}
	for i := range parts {
		texts = append(texts, parts[i].text)
	}
	return strings.Join(texts, grantSeparator)
}

// commitBy returns until when Next must have kept a message.
func commitBy(parts []part) time.Time {
	by := parts[0].until
	for _, p := range parts {
		if p.until.Before(by) {
			by = p.until
		}
	}
	return by.Add(-commitMargin)
}

// allowance returns what this process holds of a limit.
func (l *Limiter) allowance(id credentials.Identity, limit Limit) *allowance {
	key := limit.key(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.allowances[key]
	if a == nil {
		if l.allowances == nil {
			l.allowances = make(map[string]*allowance)
		}
		a = &allowance{chunk: minChunk}
		l.allowances[key] = a
	}
	a.wanted = time.Now() // so that forget leaves it
	return a
}

// take takes n recipients. If this process holds too few, it reserves more.
func (a *allowance) take(ctx context.Context, l *Limiter, id credentials.Identity, limit Limit, n int64) (part, error) {
	if n > limit.Max {
		return part{}, tooMany(limit, n)
	}
	if p, ok := a.takeHeld(limit, n); ok {
		return p, nil
	}
	if err := a.reserving.lock(ctx); err != nil {
		return part{}, err
	}
	defer a.reserving.unlock()
	if p, ok := a.takeHeld(limit, n); ok {
		return p, nil
	}
	if err := a.usedUpFor(limit, n); err != nil {
		return part{}, err
	}
	if err := a.reserve(ctx, l, id, limit, n); err != nil {
		return part{}, err
	}
	if p, ok := a.takeHeld(limit, n); ok {
		return p, nil
	}
	if err := a.usedUpFor(limit, n); err != nil {
		return part{}, err
	}
	return part{}, heldElsewhere(limit)
}

// takeHeld takes n recipients of what this process holds, if that is for the present
// period and was reserved under a Max that is not greater.
func (a *allowance) takeHeld(limit Limit, n int64) (part, bool) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left < n || limit.Max < a.limit.Max || !now.Before(a.until.Add(-useMargin)) || !a.isIn(limit, now) {
		return part{}, false
	}
	a.left -= n
	a.pending += n
	a.used = now
	return part{of: a, grant: a.grant, text: a.text, until: a.until, n: n}, true
}

// isIn reports whether the allowance is for the period of a moment. The caller must hold
// a.mu.
func (a *allowance) isIn(limit Limit, now time.Time) bool {
	if limit.Anchor == a.limit.Anchor && limit.Interval == a.limit.Interval { // the usual case, which needs no calendar
		return !now.Before(a.period) && now.Before(a.end)
	}
	begin, _ := limit.Period(now)
	return a.period.Equal(begin)
}

// giveBack says that Next has answered, and has not taken n of the recipients of a part.
func (a *allowance) giveBack(ctx context.Context, l *Limiter, p part, n int64) {
	a.mu.Lock()
	mine := p.grant == a.grant
	if mine {
		a.pending -= p.n
		a.left += n
		a.known += p.n - n
	}
	a.mu.Unlock()
	if !mine && n > 0 {
		a.release(context.WithoutCancel(ctx), l, p.grant, n)
	}
}

// retire stops the use of the grant of a part, because the part may be used or not. The
// Store drops the rest of the grant when it has ended.
func (a *allowance) retire(ctx context.Context, l *Limiter, p part) {
	a.mu.Lock()
	left := a.left
	mine := p.grant == a.grant
	if mine {
		a.drop()
	}
	a.mu.Unlock()
	if mine && left > 0 {
		a.release(context.WithoutCancel(ctx), l, p.grant, left)
	}
}

// drop forgets the grant. The caller must hold a.mu.
func (a *allowance) drop() {
	a.grant, a.until, a.left, a.pending = store.Grant{}, time.Time{}, 0, 0
}

// release gives recipients back to the Store. If that fails they are free again when the
// grant has ended.
func (a *allowance) release(ctx context.Context, l *Limiter, g store.Grant, n int64) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := l.Store.Release(ctx, g, n); err != nil {
		l.logger().Warn("limits: what was not used is not given back, it is free when its grant ends", "scope", g.Scope, "recipients", n, "error", err)
	}
}

// reserve reserves what n recipients need, and some more. The caller must hold
// a.reserving.
func (a *allowance) reserve(ctx context.Context, l *Limiter, id credentials.Identity, limit Limit, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	begin, end := limit.Period(time.Now())
	if err := a.enter(ctx, l, id, limit, begin.UTC(), end); err != nil {
		return err
	}
	r := a.request(limit, n)
	got, err := l.Store.Reserve(ctx, r)
	a.mu.Lock()
	retired := a.grant.ID != r.ID // by a message that used it
	if err == nil && !retired {
		a.add(r, got)
	} else if !retired { // the grant may hold more than this process knows
		a.drop()
	}
	a.mu.Unlock()
	if err != nil {
		return fmt.Errorf("limits: reserve of %s: %w", r.Scope, err)
	}
	if retired && got.Given > 0 {
		a.release(ctx, l, r.Grant, got.Given)
	}
	return nil
}

// add adds what was reserved. The caller must hold a.mu.
func (a *allowance) add(r store.Reservation, got store.Reserved) {
	a.left += got.Given
	a.until = r.Until
	a.usage = got.Usage
	a.known = max(a.known, got.Usage.Used+got.Mine-a.left-a.pending)
}

// enter makes the allowance one of the period, and of the limit as it is now. It gives
// back what was reserved for another period, or under a greater Max.
func (a *allowance) enter(ctx context.Context, l *Limiter, id credentials.Identity, limit Limit, begin, end time.Time) error {
	a.mu.Lock()
	other := !a.period.Equal(begin)
	g, left := a.grant, a.left
	now := time.Now()
	expired := !now.Before(a.until.Add(-useMargin)) || now.Sub(a.born) > maxAge
	if other || expired || limit.Max < a.limit.Max {
		a.drop()
	} else {
		left = 0
	}
	if other {
		a.period, a.known = time.Time{}, 0 // until its usage is read
	}
	a.id, a.limit, a.asked, a.end = id, limit, limit, end
	a.mu.Unlock()
	if g.ID != "" && left > 0 {
		a.release(ctx, l, g, left)
	}
	if !other {
		return nil
	}
	u, err := l.begin(ctx, id, limit, begin)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.period, a.usage = begin, u
	return nil
}

// enough returns how many recipients this process reserves, with those that it holds: a
// chunk, or its share of what it holds and what is free. The caller must hold a.mu.
func (a *allowance) enough(limit Limit) int64 {
	free := max(0, limit.Max-a.usage.Used-a.usage.Held)
	return min(a.chunk, (free+a.left)/share)
}

// request returns the next reservation. It adds to the grant, or begins one.
func (a *allowance) request(limit Limit, n int64) store.Reservation {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Microsecond)
	if a.grant.ID == "" {
		a.grant = store.Grant{ID: relay.NewID(), Scope: limit.key(a.id), Period: a.period}
		a.text, a.born = store.FormatGrants([]store.Grant{a.grant}), now
	}
	switch since := now.Sub(a.reserved); { // so that a chunk lasts for about ten seconds
	case since < 10*time.Second && a.enough(limit) == a.chunk: // otherwise a greater one is of no use
		a.chunk = min(2*a.chunk, maxChunk)
	case since > 30*time.Second:
		a.chunk = max(a.chunk/2, minChunk)
	}
	a.reserved = now
	return store.Reservation{
		Grant: a.grant, Want: max(0, n-a.left, a.enough(limit)-a.left), Max: limit.Max, Used: a.usage.Used,
		Until: now.Add(hold), Ended: now.Add(-skew), Forget: a.period.Add(-limit.keep()),
	}
}
