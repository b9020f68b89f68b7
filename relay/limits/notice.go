package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A Notice says how much of a limit is used.
type Notice struct {
	Identity credentials.Identity // the tenant, domain or user that the limit is for; other fields are empty
	Percent  int                  // 80, 90 or 100: the highest that is reached and was not told
	Usage    Usage                // of the limit as it is now, which may be more
}

// percentages are those that are told.
var percentages = [...]int{80, 90, 100}

const (
	// noticePace is how often Run looks whether there is something to tell.
	noticePace = 2 * time.Second

	// noticeTime is how long a call of OnNotice may take.
	noticeTime = 20 * time.Second

	// claimOf is the piece of work that one process does at a time.
	claimOf   = "limits"
	claimTime = 2 * time.Minute
)

// due returns the highest percentage of a limit that is reached by a number of recipients,
// or 0 if there is none or it was told.
func due(u store.Usage, limit Limit, used int64) (percent int) {
	for _, p := range percentages {
		if limit.Max > 0 && float64(used)*100 >= float64(limit.Max)*float64(p) {
			percent = p
		}
	}
	if u.NoticedMax == limit.Max && u.Noticed >= percent {
		return 0
	}
	return percent
}

// mayNotify reports whether a percentage may be reached that was not told. The caller
// must hold a.mu.
func (a *allowance) mayNotify() bool {
	return a.asked.Interval != Hourly && due(a.usage, a.asked, a.usage.Used+a.usage.Held) > 0
}

// notify tells what is to be told of all limits.
func (l *Limiter) notify(ctx context.Context) {
	for _, a := range l.all() {
		a.mu.Lock()
		may, id, limit := a.mayNotify(), a.id, a.asked
		a.mu.Unlock()
		if !may {
			continue
		}
		if err := l.notifyOf(ctx, a, id, limit); err != nil && ctx.Err() == nil {
			l.logger().Error("limits: a notice is not given, trying again", "scope", limit.key(id), "error", err)
		}
	}
}

// notifyOf looks at the usage of a limit, and tells what is to be told of it.
func (l *Limiter) notifyOf(ctx context.Context, a *allowance, id credentials.Identity, limit Limit) error {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	u, err := l.look(ctx, a, id, limit)
	if err != nil || due(u, limit, u.Used) == 0 {
		return err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	mine, err := l.Store.Claim(ctx, claimOf, l.who, now, now.Add(claimTime))
	if err != nil || !mine {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unclaimTime)
		defer cancel()
		now := time.Now().UTC().Truncate(time.Microsecond)
		l.Store.Claim(ctx, claimOf, l.who, now, now) // else it ends by itself
	}()
	if limit, err = l.present(ctx, a, id, limit); err != nil {
		return err
	}
	if u, err = l.look(ctx, a, id, limit); err != nil { // another process may have told it
		return err
	}
	n := Notice{Identity: limit.of(id), Percent: due(u, limit, u.Used), Usage: Usage{Limit: limit, Used: u.Used}}
	if n.Percent == 0 {
		return nil
	}
	n.Usage.Begin, n.Usage.End = limit.Period(u.Period)
	if err := l.tell(ctx, n); err != nil {
		return err
	}
	if err := l.Store.SetNoticed(ctx, u.Scope, u.Period, n.Percent, limit.Max); err != nil {
		return err
	}
	_, err = l.look(ctx, a, id, limit)
	return err
}

// present returns the limit of an allowance as it is now, and remembers it for the next
// look. If the limit is gone, or its periods begin at other times than that of the
// allowance, it returns a Limit that leaves nothing to tell. The grant of the allowance
// stays one of the limit under which it was reserved.
func (l *Limiter) present(ctx context.Context, a *allowance, id credentials.Identity, limit Limit) (Limit, error) {
	a.mu.Lock()
	was, period := a.asked, a.period
	a.mu.Unlock()
	limits, err := l.limits(ctx, id, true)
	if err != nil {
		return Limit{}, err
	}
	present := Limit{Scope: limit.Scope, Interval: limit.Interval}
	for _, now := range limits {
		if now.Scope == limit.Scope && now.Interval == limit.Interval {
			if begin, _ := now.Period(period); begin.Equal(period) {
				present = now
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == was { // otherwise a message has brought a limit
		a.asked = present
	}
	return present, nil
}

// look reads the usage of the period of an allowance and remembers it. The allowance
// may know of more that is used, until that is reserved of.
func (l *Limiter) look(ctx context.Context, a *allowance, id credentials.Identity, limit Limit) (u store.Usage, err error) {
	a.mu.Lock()
	begin := a.period
	a.mu.Unlock()
	list, err := l.Store.Usages(ctx, limit.key(id))
	found := slices.IndexFunc(list, func(u store.Usage) bool { return u.Period.Equal(begin) })
	if err != nil || found < 0 {
		return store.Usage{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u = list[found]
	if a.period.Equal(begin) {
		u.Used = max(u.Used, a.usage.Used)
		a.usage = u
	}
	return u, nil
}

// tell calls OnNotice. A panic in it is an error.
func (l *Limiter) tell(ctx context.Context, n Notice) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.logger().LogAttrs(context.Background(), slog.LevelError, "limits: panic in OnNotice",
				slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			err = errors.New("limits: OnNotice panicked")
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	return l.OnNotice(ctx, n)
}
