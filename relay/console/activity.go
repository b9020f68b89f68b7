package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// The actions on the mail that was sent.
const (
	ViewActivity   Action = "view-activity"   // what became of each message, with its subject and recipients
	ViewStatistics Action = "view-statistics" // counts
	RetryMail      Action = "retry-mail"      // try a message that waits at once
	CancelMail     Action = "cancel-mail"     // take a message that waits out of the queue
)

func (h *Handler) activityRoutes() []route {
	const mail = "/activity/{mail}"
	recipient := []input{{name: "recipient"}}
	if h.History == nil {
		return nil
	}
	routes := []route{
		{path: "/activity", part: Activity, action: ViewActivity, first: true, get: (*request).activity},
		{path: mail, part: Activity, action: ViewActivity, get: (*request).message},
		{path: "/statistics", part: Statistics, action: ViewStatistics, first: true, get: (*request).statistics},
	}
	if h.Queue != nil {
		routes = append(routes,
			route{path: mail + "/retry", part: Activity, action: RetryMail, post: (*request).retry, inputs: recipient},
			route{path: mail + "/cancel", part: Activity, action: CancelMail, get: (*request).cancelForm, post: (*request).cancel, form: true, inputs: recipient})
	}
	return routes
}

type activityData struct {
	Filter   activityFilter
	Problem  string // what is wrong with the filter
	List     []store.Activity
	Older    string // address of the next page
	Newest   string // address of the first page, on others
	Searched bool   // the page has fewer entries than it has room for, and there may be more
}

// activity lists recipients and refusals, newest first.
func (req *request) activity() (response, error) {
	f, err := req.activityFilter()
	if err != nil {
		return response{}, err
	}
	page, err := req.activitiesOf(f.store)
	if err != nil {
		return response{}, req.badAfter(f.store, err)
	}
	data := activityData{Filter: f, List: page.List, Searched: page.Next != "" && len(page.List) < f.store.Limit}
	if page.Next != "" {
		data.Older = query(append(f.pairs, "after", page.Next)...)
	}
	if f.store.After != "" {
		data.Newest = query(f.pairs...)
	}
	return response{
		template: "activity",
		title:    req.T("activity"),
		data:     data,
		document: activitiesDocument{documentsOf(page.List, req.documentOfActivity), nullable(page.Next)},
	}, nil
}

// searchTime is how long one page searches on. A call of the History looks at a bounded
// number of activities, often in less than this time.
const searchTime = 20 * time.Millisecond

// activitiesOf returns a page of activities. It goes on searching while the page is not
// full, for a moment.
func (req *request) activitiesOf(f store.ActivityFilter) (all store.ActivityPage, err error) {
	began, size := time.Now(), f.Limit
	for {
		page, err := req.h.History.Tenant(req.tenantID).Activities(req.ctx(), f)
		if err != nil {
			return all, err
		}
		all.List, all.Next = append(all.List, page.List...), page.Next
		if page.Next == "" || len(all.List) == size || time.Since(began) > searchTime {
			return all, nil
		}
		f.After, f.Limit = page.Next, size-len(all.List)
	}
}

// badAfter returns what to tell of an error: that the query has an after which is of no
// page, if the same question without it has an answer.
func (req *request) badAfter(f store.ActivityFilter, err error) error {
	if f.After == "" {
		return err
	}
	f.After, f.Limit = "", 1
	if _, other := req.h.History.Tenant(req.tenantID).Activities(req.ctx(), f); other == nil {
		return req.invalid("after", req.T("reason.after"))
	}
	return err
}

// An activityFilter is what the visitor wants to see, as a filter of the store and as
// the form shows it.
type activityFilter struct {
	store store.ActivityFilter
	pairs []string // for links that keep the filter

	Search, State, Recipient, Domain, Username string
	Period                                     period
	Domains                                    []store.Domain // to choose from; nil if there are too many
	More                                       bool           // a filter is set that the form folds up
	Any                                        bool           // a filter is set
}

// activityFilter reads the filter of the query.
func (req *request) activityFilter() (f activityFilter, err error) {
	page, err := req.page()
	if err != nil {
		return f, err
	}
	if f.Period, err = req.period(""); err != nil {
		return f, err
	}
	f.Search, f.State = page.Search, req.queried("state")
	f.Recipient, f.Domain, f.Username = req.queried("recipient"), req.queriedDomain(), req.queried("username")
	states, ok := stateGroups[f.State]
	if !ok && f.State != "" {
		return f, req.invalid("state", req.T("reason.state"))
	}
	f.store = store.ActivityFilter{
		From: f.Period.From, Until: f.Period.Until, Domain: f.Domain, Username: f.Username, Recipient: f.Recipient,
		Contains: f.Search, States: states, After: page.After, Limit: page.Limit - 1,
	}
	f.pairs = append([]string{
		"search", f.Search, "state", f.State, "recipient", f.Recipient, "domain", f.Domain, "username", f.Username, "limit", req.queried("limit"),
	}, f.Period.pairs()...)
	f.More = f.Recipient != "" || f.Domain != "" || f.Username != "" || f.Period.Name == customPeriod
	f.Any = f.More || f.Search != "" || f.State != "" || f.Period.Name != ""
	return f, nil
}

// queried returns a value of the query, without what a database refuses.
func (req *request) queried(name string) string {
	return cleanText(req.r.URL.Query().Get(name), maxQuery)
}

// invalid returns the problem of a value of the query, which leads back to the part.
func (req *request) invalid(field, why string) *problem {
	p := &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: field, args: []string{why}}
	for _, rt := range req.site.routes {
		if rt.part == req.part && rt.first {
			p.actions = []link{{req.T(string(req.part)), rt.path[1:]}}
		}
	}
	return p
}

// Sender returns what the recipient is shown as the sender of an activity.
func (req *request) Sender(a store.Activity) string { return cmp.Or(a.From, a.Author) }
