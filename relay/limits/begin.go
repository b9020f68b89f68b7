package limits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// begin returns the usage of a period. If the Store has none yet, it is what the hourly
// counts say was accepted since the period began. So a limit that is new, or whose
// Anchor or time zone is, starts no fresh count. If the Anchor has changed in between,
// some recipients of the period may be charged to another usage. Then the usage is at
// least what was accepted, also if the Store has one.
func (l *Limiter) begin(ctx context.Context, id credentials.Identity, limit Limit, begin time.Time) (store.Usage, error) {
	begin = begin.UTC()
	key := limit.key(id)
	list, err := l.Store.Usages(ctx, key)
	if err != nil {
		return store.Usage{}, fmt.Errorf("limits: usage of %s: %w", key, err)
	}
	before, _ := limit.Period(begin.Add(-time.Second))
	usage, found := store.Usage{Scope: key, Period: begin}, false
	moved := false // another period has begun since the one before, so the Anchor was another
	for _, u := range list {
		if u.Period.Equal(begin) {
			usage, found = u, true
		} else {
			moved = moved || u.Period.After(before)
		}
	}
	var n int64
	switch {
	case moved:
		n, err = l.countedAll(ctx, limit.of(id), usage)
	case !found:
		n, err = l.counted(ctx, limit.of(id), begin)
	}
	if err != nil {
		return store.Usage{}, fmt.Errorf("limits: what was used before of %s is not known: %w", key, err)
	}
	usage.Used = max(usage.Used, n)
	return usage, nil
}

// maxWaiting is how many events that wait to be applied are read.
const maxWaiting = 100_000

// countedAll returns how many recipients were accepted since a period began, with those
// that wait to be applied. Those that will be charged to its usage are left out, because
// grants of it hold them. If something is applied in between, it starts again.
func (l *Limiter) countedAll(ctx context.Context, of credentials.Identity, usage store.Usage) (n int64, err error) {
	for range 5 {
		records, err := l.Store.Records(ctx, maxWaiting)
		if err != nil {
			return 0, err
		}
		if n, err = l.counted(ctx, of, usage.Period); err != nil {
			return 0, err
		}
		waiting, events := int64(0), 0
		for _, r := range records {
			events += len(r.Events)
			waiting += acceptedOf(r.Events, of, usage)
		}
		if events >= maxWaiting {
			return 0, errors.New("too much waits to be applied by history")
		}
		again, err := l.Store.Records(ctx, 1)
		if err != nil {
			return 0, err
		}
		if len(records) == 0 || len(again) > 0 && again[0].ID == records[0].ID {
			return n + waiting, nil
		}
	}
	return 0, errors.New("history changes too fast")
}

// acceptedOf returns how many events are of recipients that were accepted since a period
// began and will not be charged to its usage.
func acceptedOf(events []store.Event, of credentials.Identity, usage store.Usage) (n int64) {
	for i := range events {
		e := &events[i]
		if e.Kind == store.EventAccepted && e.Tenant == of.Tenant && !e.Received.Before(usage.Period) &&
			(of.Domain == "" || e.Domain == of.Domain) && (of.Username == "" || e.Username == of.Username) && !chargedTo(e, usage) {
			n++
		}
	}
	return n
}

// chargedTo reports whether a grant of a usage is among those of an event.
func chargedTo(e *store.Event, usage store.Usage) bool {
	grants, _ := store.ParseGrants(e.Grants) // history sets the others aside
	return slices.ContainsFunc(grants, func(g store.Grant) bool { return g.Scope == usage.Scope && g.Period.Equal(usage.Period) })
}

// counted returns how many recipients were accepted since a time.
func (l *Limiter) counted(ctx context.Context, of credentials.Identity, since time.Time) (n int64, err error) {
	hour := since.Truncate(time.Hour)
	from := hour
	if !since.Equal(hour) {
		from = hour.Add(time.Hour)
		if n, err = l.countedIn(ctx, of, since, from); err != nil {
			return 0, err
		}
	}
	rest, err := l.sum(ctx, of, from, time.Time{})
	return n + rest, err
}

// sum returns how many recipients the counts of some hours have.
func (l *Limiter) sum(ctx context.Context, of credentials.Identity, from, until time.Time) (n int64, err error) {
	counts, err := l.Store.Counts(ctx, of.Tenant, store.CountFilter{From: from, Until: until, Domain: of.Domain, Username: of.Username})
	for _, c := range counts {
		n += c.Accepted
	}
	return n, err
}

// maxPages is how many pages of a thousand activities are read.
const maxPages = 10

// countedIn returns how many recipients were accepted in a part of an hour, of which
// there are activities. If they are too many to read, all of the hour counts.
func (l *Limiter) countedIn(ctx context.Context, of credentials.Identity, since, until time.Time) (n int64, err error) {
	f := store.ActivityFilter{From: since, Until: until, Domain: of.Domain, Username: of.Username, Limit: 1000}
	for range maxPages {
		page, err := l.Store.Activities(ctx, of.Tenant, f)
		if err != nil {
			return 0, err
		}
		for _, a := range page.List {
			if a.State != store.ActivityRejected {
				n++
			}
		}
		if f.After = page.Next; f.After == "" {
			return n, nil
		}
	}
	return l.sum(ctx, of, since.Truncate(time.Hour), until)
}
