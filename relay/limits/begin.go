package limits

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// begin returns the usage of a period. If the Store has none yet, it is what the hourly
// counts say was accepted since the period began. So a limit that is new, or whose
// Anchor or time zone is, starts no fresh count. What grants of the limit's other
// periods hold counts too, unless that is the period before: some of it is accepted and
// in no count yet.
func (l *Limiter) begin(ctx context.Context, id credentials.Identity, limit Limit, begin time.Time) (store.Usage, error) {
	begin = begin.UTC()
	key := limit.key(id)
	list, err := l.Store.Usages(ctx, key)
	if err != nil {
		return store.Usage{}, fmt.Errorf("limits: usage of %s: %w", key, err)
	}
	before, _ := limit.Period(begin.Add(-time.Second))
	var held int64
	for _, u := range list {
		if u.Period.Equal(begin) {
			return u, nil
		}
		if u.Period.After(before) {
			held += u.Held
		}
	}
	counted, err := l.counted(ctx, limit.of(id), begin)
	if err != nil {
		return store.Usage{}, fmt.Errorf("limits: what was used before %s is not known: %w", key, err)
	}
	return store.Usage{Scope: key, Period: begin, Used: counted + held}, nil
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
