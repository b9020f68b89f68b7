package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A Period is a span of time for statistics: From is included, and Until is not. Both are
// required. It may be 10,000 hours long if Hourly is set, and otherwise 26 years.
//
// Counts are kept by the hour in UTC. So From and the beginnings of days are rounded
// down to a full hour in UTC, and Until is rounded up. In a zone that is off by half an
// hour, as in India, a day is counted from 23:30 to 23:30; [Statistics] has the
// hours that were counted. The day that a [Step] stands for is that of its From plus an hour
// less a nanosecond. In the last half hour of the present day, its step has what is counted
// for the next day so far.
type Period struct {
	From, Until time.Time

	// Location is the time zone that days belong to. Nil means UTC.
	Location *time.Location

	// Hourly makes each step of a chart an hour instead of a day.
	Hourly bool
}

// Last returns the last days up to now, the hour of now included. Today is the last of
// them, so Last(1, now, loc) is today. A days of less than 1 counts as 1. A nil loc means
// UTC.
func Last(days int, now time.Time, loc *time.Location) Period {
	if loc == nil {
		loc = time.UTC
	}
	y, m, d := now.In(loc).Date()
	return Period{From: beginning(y, m, d-max(days, 1)+1, loc), Until: fullHour(now).Add(time.Hour), Location: loc}
}

// beginning returns the first moment of a day, also where clocks are changed at
// midnight.
func beginning(y int, m time.Month, d int, loc *time.Location) time.Time {
	noon := time.Date(y, m, d, 12, 0, 0, 0, loc)
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	for t.Day() != noon.Day() { // there is no midnight
		t = t.Add(time.Hour)
	}
	if earlier := t.Add(-time.Hour); earlier.Day() == noon.Day() { // there are two
		return earlier
	}
	return t
}

// maxSteps is how many steps a chart may have.
const maxSteps = 10_000

// check returns the period in full hours, or an error.
func (p Period) check() (Period, error) {
	if p.Location == nil {
		p.Location = time.UTC
	}
	if p.From.IsZero() || p.Until.IsZero() {
		return p, errors.New("history: the period needs From and Until")
	}
	if !p.From.Before(p.Until) {
		return p, fmt.Errorf("history: the period from %v until %v is empty", p.From, p.Until)
	}
	p.From, p.Until = fullHour(p.From), fullHour(p.Until.Add(time.Hour-1))
	step := 23 * time.Hour
	if p.Hourly {
		step = time.Hour
	}
	if p.Until.Sub(p.From)/step > maxSteps {
		return p, fmt.Errorf("history: the period from %v until %v has more than %d steps: begin it later", p.From, p.Until, maxSteps)
	}
	return p, nil
}

func fullHour(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

// before returns the period before: the same span of as many whole days earlier as it
// is long. An hour by which a day was rounded is no day more. The caller must have
// checked p.
func (p Period) before() Period {
	from, until := p.From.In(p.Location), p.Until.In(p.Location)
	end := until
	if from.Minute() != 0 {
		end = end.Add(-time.Hour)
	}
	days := 1
	for from.AddDate(0, 0, days).Before(end) {
		days++
	}
	begin := p.From
	p.From, p.Until = fullHour(from.AddDate(0, 0, -days)), fullHour(until.AddDate(0, 0, -days))
	if p.Until.After(begin) {
		p.Until = begin
	}
	return p
}

func (p Period) local() Period {
	p.From, p.Until = p.From.In(p.Location), p.Until.In(p.Location)
	return p
}

// steps returns the empty columns of a chart. The caller must have checked p.
func (p Period) steps(now time.Time) (steps []Step) {
	for at := p.From; at.Before(p.Until); {
		next := at.Add(time.Hour)
		if !p.Hourly {
			next = p.nextDay(at)
		}
		if next.After(p.Until) || !p.Hourly && p.Until.Sub(next) <= time.Hour && p.isAhead(next, now) {
			next = p.Until
		}
		steps = append(steps, Step{From: at.In(p.Location), Until: next.In(p.Location)})
		at = next
	}
	return steps
}

// isAhead reports whether the day that is counted from a full hour begins within that hour,
// and has not begun yet.
func (p Period) isAhead(hour, now time.Time) bool {
	y, m, d := hour.Add(time.Hour - 1).In(p.Location).Date()
	begin := beginning(y, m, d, p.Location)
	return begin.After(hour) && begin.After(now)
}

// nextDay returns the full hour at which the day after the one of at begins.
func (p Period) nextDay(at time.Time) time.Time {
	y, m, d := at.Add(time.Hour - 1).In(p.Location).Date() // the day may begin within the hour
	for ahead := 1; ; ahead++ {
		if next := fullHour(beginning(y, m, d+ahead, p.Location)); next.After(at) {
			return next
		}
	}
}

// Statistics are what a tenant sent in a period, and in the one before it.
type Statistics struct {
	Period   Period // in full hours
	Total    store.Count
	Previous Period // the period before, in full hours
	Before   store.Count

	Steps []Step // of the period, without gaps; for a chart
}

// A Step is an hour or a day of a period, or what the period has of it.
type Step struct {
	From, Until time.Time // in full hours, and in the Location of the period
	store.Count           // its Hour is zero
}

// Statistics returns what the tenant sent in a period, and in the one before it. The
// period before begins as many whole days earlier as the period is long, rounded up:
// for today until now it is yesterday until the same time. Both end with a full hour. So
// yesterday has up to an hour more than today, which has not seen the rest of its last
// hour yet.
//
// If domain or username is not empty, only mail of that domain or user counts; the domain
// may be in upper case and have Unicode labels. A recipient counts in the hour in which
// its message was accepted, whenever it was delivered or bounced. So a late bounce changes
// the hour it belongs to, and no rate is greater than 100 percent in the end.
func (t Tenant) Statistics(ctx context.Context, p Period, domain, username string) (Statistics, error) {
	p, err := p.check()
	if err != nil {
		return Statistics{}, err
	}
	before, domain := p.before(), domainName(domain)
	counts, err := t.counts(ctx, store.CountFilter{From: before.From, Until: p.Until, Domain: domain, Username: username, By: store.ByHour})
	if err != nil {
		return Statistics{}, err
	}
	s := Statistics{
		Period: p.local(), Previous: before.local(), Steps: p.steps(time.Now()),
		Total: store.Count{Tenant: t.id, Domain: domain, Username: username},
	}
	s.Before = s.Total
	for i := range s.Steps {
		s.Steps[i].Count = s.Total
	}
	step := 0
	for i := range counts {
		c := &counts[i]
		if c.Hour.Before(before.Until) {
			s.Before.Add(*c)
		}
		if c.Hour.Before(p.From) {
			continue
		}
		s.Total.Add(*c)
		for !c.Hour.Before(s.Steps[step].Until) {
			step++
		}
		s.Steps[step].Add(*c)
	}
	return s, nil
}

// Domains returns what the tenant sent in a period from each domain, by name.
func (t Tenant) Domains(ctx context.Context, p Period) ([]store.Count, error) {
	return t.grouped(ctx, p, store.CountFilter{By: store.ByDomain})
}

// Users returns what each user of the tenant sent in a period, by domain and username.
// If domain is not empty, it returns only the users of that domain.
func (t Tenant) Users(ctx context.Context, p Period, domain string) ([]store.Count, error) {
	return t.grouped(ctx, p, store.CountFilter{Domain: domainName(domain), By: store.ByUser})
}

func (t Tenant) grouped(ctx context.Context, p Period, f store.CountFilter) ([]store.Count, error) {
	p, err := p.check()
	if err != nil {
		return nil, err
	}
	f.From, f.Until = p.From, p.Until
	return t.counts(ctx, f)
}

func (t Tenant) counts(ctx context.Context, f store.CountFilter) ([]store.Count, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	counts, err := t.h.Store.Counts(ctx, t.id, f)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return counts, nil
}

// Rate returns n of accepted in percent, such as 97.5. It is 0 if accepted is 0.
func Rate(n, accepted int64) float64 {
	if accepted <= 0 {
		return 0
	}
	return 100 * float64(max(n, 0)) / float64(accepted)
}
