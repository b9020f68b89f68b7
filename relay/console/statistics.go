package console

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// usualPeriod is the period of the statistics if the query has none.
const usualPeriod = "7"

// maxDays is the longest period of the statistics.
const maxDays = 400

type statisticsData struct {
	Period           period
	Domain, Username string
	User             *store.User
	Domains          []store.Domain
	Statistics       history.Statistics
	Indicators       []indicator
	Chart            chart
	Parts            []countOf // the domains of the tenant, or the users of a domain
	Left             int       // how many parts are left out
	ByUser           bool
}

// A countOf is the count of a domain or a user.
type countOf struct {
	store.Count
	Name string
	To   string // address of its statistics
}

// statistics shows counts of a period, compared with the period before.
func (req *request) statistics() (response, error) {
	p, err := req.statisticsPeriod()
	if err != nil {
		return response{}, err
	}
	d := statisticsData{Period: p, Domain: req.queriedDomain(), Username: req.queried("username")}
	tenant := req.h.History.Tenant(req.tenantID)
	asked := history.Period{From: p.From, Until: p.Until.Truncate(time.Hour), Location: req.loc, Hourly: p.Name == "today" || p.Name == "yesterday" || p.First != "" && p.First == p.Last}
	if d.Statistics, err = tenant.Statistics(req.ctx(), asked, d.Domain, d.Username); err != nil {
		return response{}, err
	}
	counts, err := partsOf(req, tenant, asked, &d)
	if err != nil {
		return response{}, err
	}
	document := req.documentOfStatistics(&d, counts)
	if req.asJSON {
		return response{document: document}, nil
	}
	err = req.fill(&d, counts)
	return response{template: "statistics", title: req.T("statistics"), data: d}, err
}

// statisticsPeriod reads the period of the query.
func (req *request) statisticsPeriod() (period, error) {
	p, err := req.period(usualPeriod)
	if err != nil {
		return p, err
	}
	if now := time.Now(); p.Until.IsZero() || p.Until.After(now) { // the future has no counts
		_, p.Until = days(1, now, req.loc)
		if p.Name == customPeriod && p.Last == "" {
			p.Last = now.In(req.loc).Format(time.DateOnly)
		}
		if !p.From.Before(p.Until) {
			return p, req.invalid("from", req.T("reason.future"))
		}
	}
	if p.First != "" && p.From.Unix() < 0 {
		return p, req.invalid("from", req.T("reason.past"))
	}
	if p.Until.Sub(p.From) > (maxDays+1)*24*time.Hour {
		return p, req.invalid("from", req.T("reason.days", strconv.Itoa(maxDays)))
	}
	return p, nil
}

// partsOf returns the counts of each domain; of each user, if the filter has a domain.
func partsOf(req *request, tenant history.Tenant, p history.Period, d *statisticsData) ([]store.Count, error) {
	var list []store.Count
	var err error
	switch {
	case d.Username != "":
		return nil, nil
	case d.Domain != "":
		d.ByUser = true
		list, err = tenant.Users(req.ctx(), p, d.Domain)
	default:
		list, err = tenant.Domains(req.ctx(), p)
	}
	slices.SortStableFunc(list, func(a, b store.Count) int { return cmp.Compare(b.Accepted+b.Rejected, a.Accepted+a.Rejected) })
	return list, err
}

// maxParts is how many domains or users the page of the statistics has.
const maxParts = 25

// fill adds what only the page has.
func (req *request) fill(d *statisticsData, counts []store.Count) error {
	d.Indicators = req.indicators(d)
	d.Chart = req.newChart(d.Statistics)
	if len(counts) > maxParts {
		counts, d.Left = counts[:maxParts], len(counts)-maxParts
	}
	for _, c := range counts {
		part := countOf{Count: c, Name: req.Unicode(c.Domain), To: req.statisticsQuery(d, c.Domain, c.Username)}
		if d.ByUser {
			name, err := req.userName(c.Username)
			if err != nil {
				return err
			}
			part.Name = name
		}
		d.Parts = append(d.Parts, part)
	}
	if d.Username == "" {
		return nil
	}
	u, err := req.tenant.User(req.ctx(), d.Username)
	if err == nil {
		d.User = &u
	} else if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return err
}

// userName returns the name of a user; of one that is deleted it is the username.
func (req *request) userName(username string) (string, error) {
	u, err := req.tenant.User(req.ctx(), username)
	if errors.Is(err, store.ErrNotFound) {
		return username, nil
	}
	return u.Name, err
}

// statisticsQuery returns the query of the same period for a domain or a user.
func (req *request) statisticsQuery(d *statisticsData, domain, username string) string {
	return query(append([]string{"domain", domain, "username", username}, d.Period.pairs()...)...)
}

// StatisticsOf returns the query of the same domain or user for a period.
func (req *request) StatisticsOf(d statisticsData, period string) string {
	return query("domain", d.Domain, "username", d.Username, "period", period)
}

// ActivityOf returns the address of the activities that the statistics count, in one
// state or in all; "" if there is no such part.
func (req *request) ActivityOf(d statisticsData, state string) string {
	return req.ActivityLink(append([]string{"state", state, "domain", d.Domain, "username", d.Username}, d.Period.pairs()...)...)
}

// ActivityOn is ActivityOf for one day of the period.
func (req *request) ActivityOn(d statisticsData, b bar) string {
	const layout = time.DateOnly
	first, last := firstOf(b.From).In(req.loc).Format(layout), lastOf(b.Until).In(req.loc).Format(layout)
	return req.ActivityLink("from", first, "until", last, "domain", d.Domain, "username", d.Username)
}

// An indicator is one of the numbers at the top of the statistics.
type indicator struct {
	Label, Value string
	Share        string // the value in percent of all
	Change       string // compared with the period before, in words
	Shape        string // up, down or same
	State        string // of the activities that it counts
}

func (req *request) indicators(d *statisticsData) []indicator {
	now, before := &d.Statistics.Total, &d.Statistics.Before
	list := []indicator{
		{Label: req.T("statistics.recipients"), Value: req.Number(now.Accepted)},
		{Label: req.T("statistics.delivered"), Value: req.Number(now.Delivered), State: "delivered"},
		{Label: req.T("statistics.soft"), Value: req.Number(now.SoftBounced), State: "soft-bounced"},
		{Label: req.T("statistics.hard"), Value: req.Number(now.HardBounced), State: "hard-bounced"},
		{Label: req.T("statistics.rejected"), Value: req.Number(now.Rejected), State: "rejected"},
	}
	list[0].Shape, list[0].Change = req.changeOf(now.Accepted, before.Accepted)
	for i, n := range []int64{now.Delivered, now.SoftBounced, now.HardBounced} {
		if now.Accepted > 0 {
			list[i+1].Share = req.Percent(history.Rate(n, now.Accepted))
		}
		was := []int64{before.Delivered, before.SoftBounced, before.HardBounced}[i]
		list[i+1].Shape, list[i+1].Change = req.changeOfRate(n, now.Accepted, was, before.Accepted)
	}
	list[4].Shape, list[4].Change = req.changeOf(now.Rejected, before.Rejected)
	return list
}

// changeOf compares a count with that of the period before.
func (req *request) changeOf(now, before int64) (shape, words string) {
	was := req.Number(before)
	switch {
	case now == before:
		return "same", req.T("change.same", was)
	case before == 0:
		return "up", req.T("change.none")
	}
	change := 100 * float64(now-before) / float64(before)
	if now > before {
		return "up", req.T("change.more", req.Percent(rounded(change)), was)
	}
	return "down", req.T("change.less", req.Percent(rounded(-change)), was)
}

// changeOfRate compares the rate of a count with that of the period before, in
// percentage points.
func (req *request) changeOfRate(now, of, before, ofBefore int64) (shape, words string) {
	if ofBefore == 0 || of == 0 {
		return "same", req.T("change.no-rate")
	}
	rate, was := history.Rate(now, of), history.Rate(before, ofBefore)
	switch points := math.Round(10*rate)/10 - math.Round(10*was)/10; {
	case points > 0.01:
		return "up", req.T("change.points-more", req.decimal(points), req.Percent(was))
	case points < -0.01:
		return "down", req.T("change.points-less", req.decimal(-points), req.Percent(was))
	}
	return "same", req.T("change.same", req.Percent(was))
}

// rounded returns a percentage without digits behind the point if it is large.
func rounded(x float64) float64 {
	if x >= 10 {
		return math.Round(x)
	}
	return x
}

// Rate returns a part of a count in percent, or a dash if the count is 0.
func (req *request) Rate(n, of int64) string {
	if of == 0 {
		return "–"
	}
	return req.Percent(history.Rate(n, of))
}

// firstOf returns a time of the day that is counted from a full hour in UTC: the day may
// begin within that hour.
func firstOf(from time.Time) time.Time { return from.Add(time.Hour - 1) }

// lastOf returns a time of the last day before a full hour in UTC: the present day, if the
// next one begins within the present hour.
func lastOf(until time.Time) time.Time {
	last, now := until.Add(-time.Second), time.Now()
	if last.After(now) && !last.After(now.Add(time.Hour)) {
		return now
	}
	return last
}

// Span returns the days of a period in words.
func (req *request) Span(p history.Period) string {
	first, last := req.Day(firstOf(p.From)), req.Day(lastOf(p.Until))
	if first == last {
		return first
	}
	return req.T("time.span", first, last)
}
