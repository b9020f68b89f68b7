package console

import (
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
)

// A period is a span of days in the visitor's time zone. The zero period is all time.
type period struct {
	Name        string    // today, yesterday, 7, 30, custom; "" is all time
	From, Until time.Time // From is included, Until is not; zero is without a bound
	First, Last string    // of a custom period: its days, as in the query
}

const customPeriod = "custom"

// pairs returns the period for the query of a link.
func (p period) pairs() []string {
	if p.Name == customPeriod {
		return []string{"from", p.First, "until", p.Last}
	}
	return []string{"period", p.Name}
}

// period reads the period of the query. If there is none, it is the given one.
func (req *request) period(usual string) (p period, err error) {
	name, first, last := req.queried("period"), req.queried("from"), req.queried("until")
	if name == "" || name == customPeriod {
		if first != "" || last != "" {
			return req.customPeriod(first, last)
		}
		name = usual
	}
	now := time.Now()
	p.Name = name
	switch name {
	case "":
	case "today":
		p.From, p.Until = days(1, now, req.loc)
	case "yesterday":
		p.Until, _ = days(1, now, req.loc)
		p.From, _ = days(2, now, req.loc)
	case "7":
		p.From, p.Until = days(7, now, req.loc)
	case "30":
		p.From, p.Until = days(30, now, req.loc)
	default:
		return p, req.invalid("period", req.T("reason.period"))
	}
	return p, nil
}

// days returns the beginning of the last days up to now, and the end of the hour of now.
func days(n int, now time.Time, loc *time.Location) (from, until time.Time) {
	p := history.Last(n, now, loc)
	return p.From, p.Until
}

// customPeriod returns the period from one day to another, both included, which may be in
// either order. If a day is missing, the period has no beginning or no end.
func (req *request) customPeriod(first, last string) (p period, err error) {
	for name, day := range map[string]string{"from": first, "until": last} {
		if _, err := time.Parse(time.DateOnly, day); err != nil && day != "" {
			return p, req.invalid(name, req.T("reason.day"))
		}
	}
	if first != "" && last != "" && last < first {
		first, last = last, first
	}
	p = period{Name: customPeriod, First: first, Last: last}
	if first != "" {
		p.From = dayOf(first, 0, req.loc)
	}
	if last != "" {
		p.Until = dayOf(last, 1, req.loc)
	}
	return p, nil
}

// dayOf returns the beginning of a day such as 2026-11-30, or of one that is so many
// days later. A day of a change of clocks may begin at another time than midnight.
func dayOf(text string, ahead int, loc *time.Location) time.Time {
	day, _ := time.Parse(time.DateOnly, text) // the caller has checked it
	noon := time.Date(day.Year(), day.Month(), day.Day()+ahead, 12, 0, 0, 0, loc)
	return history.Last(1, noon, loc).From
}

// Periods returns the options of the filter by period.
func (req *request) Periods(chosen string) []choice {
	return []choice{
		{"today", req.T("period.today"), chosen == "today"},
		{"yesterday", req.T("period.yesterday"), chosen == "yesterday"},
		{"7", req.T("period.7"), chosen == "7"},
		{"30", req.T("period.30"), chosen == "30"},
	}
}
