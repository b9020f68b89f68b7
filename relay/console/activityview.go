package console

import (
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// The templates of activity and statistics call the exported methods of this file.

// An ofActivity is an activity with the methods of a request.
type ofActivity struct {
	*request
	store.Activity
	key   string // of the advice; "" is none
	here  bool   // the page is about the user
	Aside bool   // the page must not be left: links open another tab
}

// Of returns the data for the templates about one activity.
func (req *request) Of(a store.Activity) ofActivity {
	return ofActivity{request: req, Activity: a, key: adviceOf(&a)}
}

// OfRefusal is Of for a refusal on a page about its user.
func (req *request) OfRefusal(r refusal, aside bool) ofActivity {
	return ofActivity{req, r.Activity, r.Key, true, aside}
}

// Advice returns what an activity means and what to do, or "".
func (o ofActivity) Advice() string {
	if o.key == "" {
		return ""
	}
	return o.T(o.key, o.Both(o.Activity.Domain))
}

// AdviceLink returns where the visitor can do what the advice about a refusal says, or
// nil.
func (o ofActivity) AdviceLink() *link {
	switch o.key {
	case "advice.suppressed":
		if to, ok := o.PartLink(Suppressions); ok {
			return &link{o.T("advice.suppressions"), to}
		}
	case "advice.unverified":
		if to, ok := o.PartLink(Domains); ok {
			return &link{o.T("advice.domain"), strings.TrimSuffix(to, "/") + "/" + domainPath(o.Activity.Domain)}
		}
	case "advice.password", "advice.no-tls", "advice.network", "advice.login":
		if o.here {
			return nil
		}
		if to := o.UserLink(store.User{Domain: o.Activity.Domain, Username: o.Activity.Username}); to != "" {
			return &link{o.T("advice.user"), to}
		}
	}
	return nil
}

// An ofMail names what waits of a message: to one recipient, or all.
type ofMail struct {
	*request
	ID, Recipient string
}

// OfMail returns the data for the buttons about mail of this page.
func (req *request) OfMail(recipient string) ofMail {
	return ofMail{req, req.pathValues["mail"], recipient}
}

// Query returns the query for the page that asks before mail is canceled.
func (o ofMail) Query() string { return query("recipient", o.Recipient) }

// A counted is a count with the methods of a request.
type counted struct {
	*request
	store.Count
}

// Counted returns the data for the template "count".
func (req *request) Counted(c store.Count) counted { return counted{req, c} }

// Ahead returns a time that is soon, such as "06:14" of today.
func (req *request) Ahead(t time.Time) string {
	local := t.In(req.loc)
	if local.Format(time.DateOnly) == time.Now().In(req.loc).Format(time.DateOnly) {
		return local.Format("15:04")
	}
	return req.T("time.at", req.Day(t), local.Format("15:04"))
}

// Link returns the address of the first page of a part, or "".
func (req *request) Link(p Part) string {
	to, _ := req.PartLink(p)
	return to
}

// Mine returns the address of the page without its query.
func (req *request) Mine() string {
	path := req.r.URL.EscapedPath()
	return "./" + path[strings.LastIndexByte(path, '/')+1:]
}

// DomainNames returns the names of the tenant's first domains, to choose from.
func (req *request) DomainNames() (names []string) {
	if !req.May(ViewDomains) {
		return nil
	}
	list, _, err := req.tenant.Domains(req.ctx(), store.Query{Limit: 50})
	if err != nil {
		return nil // the name can be typed
	}
	for _, d := range list {
		names = append(names, d.Name)
	}
	return names
}

// StatisticsAll returns the query of the statistics of all domains for the same period.
func (req *request) StatisticsAll(d statisticsData) string { return req.statisticsQuery(&d, "", "") }

// Legend returns what the parts of the bars of a chart are.
func (req *request) Legend() []choice {
	return []choice{
		{"delivered", req.T("chart.delivered"), true}, {"waiting", req.T("chart.waiting"), false}, {"bounced", req.T("chart.bounced"), false},
		{"canceled", req.T("chart.canceled"), false},
	}
}

// BarWords says what a bar shows.
func (req *request) BarWords(b bar) string {
	var words []string
	for _, part := range []struct {
		key string
		n   int64
	}{
		{"chart.n-delivered", b.Delivered}, {"chart.n-waiting", b.Waiting()}, {"chart.n-bounced", b.SoftBounced + b.HardBounced},
		{"chart.n-canceled", b.Canceled},
	} {
		if part.n > 0 {
			words = append(words, req.T(part.key, req.Number(part.n)))
		}
	}
	if words == nil {
		return req.T("chart.nothing")
	}
	return strings.Join(words, ", ")
}

// ChartWords says what the chart shows, for people who do not see it.
func (v view) ChartWords() string {
	d, ok := v.Data.(statisticsData)
	if !ok || len(d.Chart.Bars) == 0 {
		return ""
	}
	highest := d.Chart.Bars[0]
	for _, b := range d.Chart.Bars {
		if b.Accepted > highest.Accepted {
			highest = b
		}
	}
	all := bar{Count: d.Statistics.Total}
	if highest.Accepted == 0 {
		return v.BarWords(all)
	}
	return v.T("chart.words", v.BarWords(all), highest.Text, v.BarWords(highest))
}
