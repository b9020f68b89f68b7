package limits

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/reencode"
	"github.com/gatepost-mail/gatepost/store"
)

// A Limiter is a [relay.Forwarder] that hands a message on if none of the limits of its
// user would be exceeded by its recipients, and refuses it otherwise.
//
// Fill in the fields, and call Run in a goroutine of its own. The fields must not be
// changed after that. All methods may be called from many goroutines at once, whether
// Run works or not. Any number of processes may have a Limiter on one Store; their
// clocks must agree to a minute.
type Limiter struct {
	// Store counts. It must be the Spool of the queue that Next leads to, and of the
	// history.History that applies what the queue records. Required.
	Store store.Allowances

	// Limits returns the limits of a user: what its plan says. No two of them may
	// have the same Scope and Interval. Its answer is used for up to a minute, see
	// Forget; before a message is refused it is called again. An error refuses the
	// message for now: 451 4.3.0. Required.
	Limits func(ctx context.Context, id credentials.Identity) ([]Limit, error)

	// Next takes the messages. It must lead to a queue with queue.Queue.Record set,
	// which counts what it keeps. Check says so if it does not. Required.
	Next relay.Forwarder

	// OnNotice, if set, is called when 80, 90 and 100 percent of a limit are used, and
	// again after a change of Max. If a message brings the use over several of them, it is
	// called for the highest only. Hourly limits have no notices. It is called at least
	// once for each: again if it returns an error or takes more than 20 seconds, and
	// perhaps after a crash. One process calls it at a time. It needs Run.
	OnNotice func(ctx context.Context, n Notice) error

	// Logger gets errors. Nil means slog.Default().
	Logger *slog.Logger

	mu         sync.Mutex
	plans      map[planKey]*plan
	allowances map[string]*allowance // by Limit.key
	running    bool
	who        string // names this process in Claim
}

// A Usage is a limit and what is used of it in the present period.
type Usage struct {
	Limit
	Used       int64     // recipients that were accepted, about a second ago
	Begin, End time.Time // of the period, in the time zone of the Anchor
}

// Percent returns Used in percent of Max, rounded down. It is 100 if Max is 0 or less.
func (u Usage) Percent() int {
	if u.Max <= 0 {
		return 100
	}
	return int(float64(u.Used) / float64(u.Max) * 100)
}

// Check returns what is wrong with the fields of the Limiter or of Next. It knows a queue
// that is Next, or behind the Forwarder of package reencode. Behind another Forwarder a
// queue without Record says so when it refuses the first message.
func (l *Limiter) Check() error {
	if l.Store == nil || l.Limits == nil || l.Next == nil {
		return errFields
	}
	next := l.Next
	if wrap, ok := next.(*reencode.Forwarder); ok {
		next = wrap.Next
	}
	if q, ok := next.(*queue.Queue); ok && !q.Record {
		return errors.New("limits: set Record of the queue that Limiter.Next leads to: what it records is counted")
	}
	return relay.CheckForwarder(l.Next)
}

// Forward takes the recipients of a message from what this process holds of the limits,
// and hands the message on. If a limit leaves too few, the message is refused for all
// its recipients:
//
//   - 550 5.7.1 if the limit is used up until its period ends, with the limit, what is
//     used and when it begins anew;
//   - 451 4.7.1 if the limit is Hourly, or if the rest may be free again soon, because
//     other messages and processes hold it.
//
// Recipients that Next does not take are not counted.
func (l *Limiter) Forward(ctx context.Context, m *relay.Message) error {
	if l.Store == nil || l.Limits == nil || l.Next == nil {
		return errFields
	}
	parts, err := l.take(ctx, m.Identity, int64(len(m.To)))
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return l.Next.Forward(ctx, m)
	}
	charged := *m
	charged.Grants = grantsOf(m.Grants, parts)
	limited, cancel := context.WithDeadline(ctx, commitBy(parts))
	defer cancel()
	err = errPanicked
	defer func() { l.settle(ctx, parts, int64(len(m.To)), err) }()
	err = l.Next.Forward(limited, &charged)
	return err
}

// errPanicked stands for the error of a Next that has panicked.
var errPanicked = errors.New("limits: Next panicked")

var errFields = errors.New("limits: Limiter.Store, Limits and Next are required")

// take takes n recipients from each limit of a user, or from none. Before it refuses a
// message it asks for the limits again.
func (l *Limiter) take(ctx context.Context, id credentials.Identity, n int64) ([]part, error) {
	limits, err := l.limits(ctx, id, false)
	if err != nil {
		return nil, err
	}
	parts, err := l.takeAll(ctx, id, limits, n)
	var refused *relay.ReplyError
	if !errors.As(err, &refused) {
		return parts, err
	}
	again, asked := l.limits(ctx, id, true)
	switch {
	case asked != nil:
		return nil, asked
	case equal(limits, again):
		return nil, err
	}
	return l.takeAll(ctx, id, again, n)
}

func (l *Limiter) takeAll(ctx context.Context, id credentials.Identity, limits []Limit, n int64) (parts []part, err error) {
	parts = make([]part, 0, len(limits))
	for _, limit := range limits {
		p, err := l.allowance(id, limit).take(ctx, l, id, limit, n)
		if err != nil {
			for _, p := range parts {
				p.of.giveBack(ctx, l, p, p.n)
			}
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// settle says what became of n recipients that were taken.
func (l *Limiter) settle(ctx context.Context, parts []part, n int64, err error) {
	back, known := notTaken(n, err)
	for _, p := range parts {
		if !known {
			p.of.retire(ctx, l, p)
			continue
		}
		p.of.giveBack(ctx, l, p, back)
	}
}

// notTaken returns how many of n recipients Next has not taken. It is known only if Next
// refused the message, or the Spool is full: after any other error it may have been kept.
func notTaken(n int64, err error) (back int64, known bool) {
	var refused *relay.RefusedError
	var busy *relay.BusyError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &refused) && refused.Partial:
		return min(n, int64(len(refused.Recipients))), true
	case errors.As(err, &refused), errors.As(err, &busy), errors.Is(err, store.ErrTaken), errors.Is(err, store.ErrFull), !relay.Temporary(err):
		return n, true
	}
	return 0, false
}

// AllowUser refuses a user whose limit is known to be used up, as Forward does, so that
// the client is told at MAIL. It is for [relay.Server].AllowUser. It looks at memory
// only, but before it refuses it asks for the limits again.
func (l *Limiter) AllowUser(ctx context.Context, r *relay.PolicyRequest) error {
	if l.Limits == nil {
		return errFields
	}
	limits, err := l.limits(ctx, r.Identity, false)
	if err == nil && l.usedUp(r.Identity, limits) != nil {
		limits, err = l.limits(ctx, r.Identity, true)
	}
	if err != nil {
		return err
	}
	return l.usedUp(r.Identity, limits)
}

// usedUp returns the reply of the first limit that leaves no recipient.
func (l *Limiter) usedUp(id credentials.Identity, limits []Limit) error {
	for _, limit := range limits {
		if limit.Max <= 0 {
			return tooMany(limit, 1)
		}
		l.mu.Lock()
		a := l.allowances[limit.key(id)]
		l.mu.Unlock()
		if a == nil {
			continue
		}
		if err := a.usedUp(limit); err != nil {
			return err
		}
	}
	return nil
}

// Usage returns what is used of each limit of a user. An identity without a Username or
// a Domain gets what Limits says about it.
func (l *Limiter) Usage(ctx context.Context, id credentials.Identity) ([]Usage, error) {
	if l.Store == nil || l.Limits == nil {
		return nil, errFields
	}
	limits, err := l.limits(ctx, id, true)
	if err != nil {
		return nil, err
	}
	list := make([]Usage, 0, len(limits))
	for _, limit := range limits {
		u := Usage{Limit: limit}
		u.Begin, u.End = limit.Period(time.Now())
		usage, err := l.begin(ctx, id, limit, u.Begin)
		if err != nil {
			return nil, err
		}
		u.Used = usage.Used
		list = append(list, u)
	}
	return list, nil
}

// Forget makes this process ask for the limits of a tenant's users again.
func (l *Limiter) Forget(tenant store.TenantID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.plans, func(key planKey, _ *plan) bool { return key.tenant == tenant })
}

func (l *Limiter) logger() *slog.Logger {
	if l.Logger != nil {
		return l.Logger
	}
	return slog.Default()
}
