package limits

import (
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A Scope is whose recipients a limit counts.
type Scope int

// The scopes.
const (
	PerTenant Scope = iota
	PerDomain       // of one tenant
	PerUser
)

// An Interval is how often a period begins.
type Interval int

// The intervals.
const (
	Monthly Interval = iota
	Daily
	Hourly
)

// A Limit is how many recipients may be accepted in a period.
type Limit struct {
	Scope    Scope
	Interval Interval
	Max      int64 // recipients in a period; zero and less let nothing pass

	// Anchor is when some period began, in the time zone in which its day and its
	// time of day are meant. A month begins on that day of each month, or on its
	// last day if it has fewer; a day begins at that time; an hour at that minute.
	// Zero means the first of the month, midnight, in UTC.
	Anchor time.Time
}

// Period returns when the period of a moment begins and ends, in the time zone of the
// Anchor. A beginning that a change of clocks leaves out is the moment of the change, and
// of two that are the same the first counts.
func (l Limit) Period(now time.Time) (begin, end time.Time) {
	anchor := l.Anchor
	if anchor.IsZero() {
		anchor = time.Unix(0, 0).UTC()
	}
	now = now.In(anchor.Location())
	if l.Interval == Hourly {
		into := (now.Unix() - anchor.Unix()) % 3600
		if into < 0 {
			into += 3600
		}
		begin = time.Unix(now.Unix()-into, 0).In(anchor.Location())
		return begin, begin.Add(time.Hour)
	}
	n := 2 // a period after the one of now, also if a change of clocks leaves a day out
	for begin = l.nth(anchor, now, n); begin.After(now); begin = l.nth(anchor, now, n) {
		end = begin
		n--
	}
	return begin, end
}

// nth returns the beginning that belongs to the month, or the day, n after that of now.
func (l Limit) nth(anchor, now time.Time, n int) time.Time {
	y, m, d := now.Date()
	if l.Interval == Daily {
		return clock(y, m, d+n, anchor)
	}
	last := time.Date(y, m+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return clock(y, m+time.Month(n), min(anchor.Day(), last), anchor)
}

// clock returns the first moment of a day at which, or after which, clocks show the time
// of the anchor.
func clock(y int, m time.Month, d int, anchor time.Time) time.Time {
	hour, minute, second := anchor.Clock()
	want := time.Date(y, m, d, hour, minute, second, 0, time.UTC)
	shown := func(t time.Time) time.Time { // what clocks show, as if it were UTC
		y, m, d := t.Date()
		h, mi, s := t.Clock()
		return time.Date(y, m, d, h, mi, s, 0, time.UTC)
	}
	t := time.Date(y, m, d, hour, minute, second, 0, anchor.Location())
	_, offset := t.Add(-24 * time.Hour).Zone() // before a change of this day
	if first := time.Unix(want.Unix()-int64(offset), 0).In(anchor.Location()); shown(first).Equal(want) {
		return first
	}
	if shown(t).Equal(want) {
		return t
	}
	lo, hi := t.Add(-24*time.Hour), t.Add(24*time.Hour) // the change is between them
	for hi.Sub(lo) > time.Second {
		middle := lo.Add(hi.Sub(lo) / 2).Truncate(time.Second)
		if shown(middle).Before(want) {
			lo = middle
		} else {
			hi = middle
		}
	}
	return hi
}

// check returns an error if a field has a value that is none of the constants.
func (l Limit) check() error {
	if l.Scope < PerTenant || l.Scope > PerUser || l.Interval < Monthly || l.Interval > Hourly {
		return fmt.Errorf("limits: unknown scope or interval in %+v", l)
	}
	return nil
}

var (
	intervalNames = [...]string{Monthly: "month", Daily: "day", Hourly: "hour"}
	adjectives    = [...]string{Monthly: "monthly", Daily: "daily", Hourly: "hourly"}
)

// key returns the name of a limit in the Store.
func (l Limit) key(id credentials.Identity) string {
	switch l.Scope {
	case PerDomain:
		return intervalNames[l.Interval] + "/domain/" + string(id.Tenant) + "/" + id.Domain
	case PerUser:
		return intervalNames[l.Interval] + "/user/" + string(id.Tenant) + "/" + id.Username
	}
	return intervalNames[l.Interval] + "/tenant/" + string(id.Tenant)
}

// of returns the part of an identity that a limit is for.
func (l Limit) of(id credentials.Identity) credentials.Identity {
	of := credentials.Identity{Tenant: id.Tenant}
	if l.Scope != PerTenant {
		of.Domain = id.Domain
	}
	if l.Scope == PerUser {
		of.Username = id.Username
	}
	return of
}

// keep is for how long usages of periods that have ended are kept.
func (l Limit) keep() time.Duration {
	day := 24 * time.Hour
	return map[Interval]time.Duration{Monthly: 62 * day, Daily: 7 * day, Hourly: 2 * day}[l.Interval]
}
