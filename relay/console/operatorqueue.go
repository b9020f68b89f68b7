package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is the overview, and what waits by tenant and by destination.

type overviewData struct {
	Depth       store.Depth
	Journal     *store.Journal // nil without a history
	Nodes       []string
	Suspensions []suspension
	Brakes      []relay.Brake
}

// A suspension is a store.Suspension as pages show it.
type suspension struct {
	store.Suspension
	State suspensionState
}

// A suspensionState says whether mail is held back: "" if it is not.
type suspensionState string

const (
	pausedState      suspensionState = "paused"      // by a person
	unreachableState suspensionState = "unreachable" // by the relay
)

func stateOf(s store.Suspension) suspensionState {
	if s.By != "" {
		return pausedState
	}
	return unreachableState
}

// SuspensionPill returns the state for the template "pill".
func (req *request) SuspensionPill(s suspensionState) pill {
	return pill{Kind: "bad", Word: req.T("op.suspension." + string(s))}
}

func (req *request) overview() (response, error) {
	data, err := req.overviewData()
	if err != nil {
		return response{}, err
	}
	return response{template: "overview", title: req.T("overview"), data: data, document: documentOfOverview(data)}, nil
}

func (req *request) overviewData() (data overviewData, err error) {
	spool := req.op.Queue.Spool
	if data.Depth, err = spool.Depth(req.ctx()); err != nil {
		return data, err
	}
	nodes, err := spool.Nodes(req.ctx())
	if err != nil {
		return data, err
	}
	for _, n := range nodes {
		if n.Beat > 0 { // otherwise it was removed
			data.Nodes = append(data.Nodes, cmp.Or(n.Name, n.ID))
		}
	}
	slices.Sort(data.Nodes)
	list, err := spool.Suspensions(req.ctx())
	if err != nil {
		return data, err
	}
	for _, s := range list {
		data.Suspensions = append(data.Suspensions, suspension{s, stateOf(s)})
	}
	if req.op.History != nil {
		j, err := req.op.History.Backlog(req.ctx())
		if err != nil {
			return data, err
		}
		data.Journal = &j
	}
	data.Brakes = req.op.brakes()
	return data, nil
}

// shownAtOnce is how many suspensions and brakes the overview shows.
const shownAtOnce = 20

// Some returns the first suspensions.
func (d overviewData) Some() []suspension {
	return d.Suspensions[:min(len(d.Suspensions), shownAtOnce)]
}

// Strongest returns the first brakes.
func (d overviewData) Strongest() []relay.Brake { return d.Brakes[:min(len(d.Brakes), shownAtOnce)] }

// Brake says in a sentence what holds mail back.
func (req *request) Brake(b relay.Brake) string {
	key := "op.brake." + string(b.Kind)
	if _, ok := req.lang.Texts[key]; !ok {
		key = "op.brake.other"
	}
	if b.Limit == 0 && b.Kind == relay.BrakeConnections {
		key = "op.brake.slots"
	}
	return req.T(key, req.Destination(b.Site), req.Number(int64(b.Limit)))
}

// Destination returns the name of a destination; the empty one has all mail.
func (req *request) Destination(name string) string {
	if name == "" {
		return req.T("op.destination.all")
	}
	return req.Unicode(name)
}

type lanesData struct {
	listing
	Filter   store.Filter
	ByTenant bool
	Groups   []group
	Total    int // how many groups there are
	Counted  time.Time
	Sum      group
	State    suspensionState // of the destination or the tenant that was asked for
}

// lanes shows how much waits for each destination, or of each tenant. With a
// destination it shows the tenants of that, and with a tenant its destinations.
func (req *request) lanes() (response, error) {
	page, err := req.page()
	if err != nil {
		return response{}, err
	}
	f, err := req.which(req.r.URL.Query())
	if err != nil {
		return response{}, err
	}
	list, counted, err := req.backlogs()
	if err != nil {
		return response{}, err
	}
	suspended, err := req.suspended()
	if err != nil {
		return response{}, err
	}
	data := lanesData{Filter: f, Counted: counted, ByTenant: toDestination(f) || f.Tenant == "" && req.r.URL.Query().Get("by") == "tenant"}
	groups := groupsOf(filterLanes(list, f), data.ByTenant)
	data.Sum = sumOf(groups)
	groups = slices.DeleteFunc(groups, func(g group) bool { return !strings.Contains(strings.ToLower(g.Name), strings.ToLower(page.Search)) })
	data.Total = len(groups)
	groups = groupsAfter(groups, page.After)
	groups = slices.Clone(groups[:min(len(groups), page.Limit)])
	groups, next := trimPage(groups, page, group.key)
	for i := range groups {
		groups[i].State = suspended.of(groups[i].Name, data.ByTenant)
	}
	data.Groups, data.State = groups, suspended.ofFilter(f)
	data.listing = newListing(req.T("op.queue.search"), page, data.Total, "")
	by := ""
	if data.ByTenant && f == (store.Filter{}) {
		by = "tenant"
	}
	link := func(after string) string {
		return query("search", page.Search, "after", after, "by", by, "tenant", string(f.Tenant), "destination", f.Destination, "to", toText(f))
	}
	if next != "" {
		data.Next = link(next)
	}
	if page.After != "" {
		data.First = link("")
	}
	return response{
		status: http.StatusOK, template: "lanes", title: req.titleOf(f), data: data,
		document: documentOfLanes(data, next),
	}, nil
}

func sumOf(groups []group) (sum group) {
	for _, g := range groups {
		sum.Deliveries, sum.Leased, sum.Held = sum.Deliveries+g.Deliveries, sum.Leased+g.Leased, sum.Held+g.Held
		if sum.Oldest.IsZero() || g.Oldest.Before(sum.Oldest) {
			sum.Oldest = g.Oldest
		}
	}
	return sum
}

// titleOf names what a filter of a tenant or a destination selects.
func (req *request) titleOf(f store.Filter) string {
	switch {
	case toDestination(f) && f.Tenant != "":
		return req.T("op.queue.of-both", string(f.Tenant), req.Destination(f.Destination))
	case toDestination(f):
		return req.T("op.queue.to", req.Destination(f.Destination))
	case f.Tenant != "":
		return req.T("op.queue.of", string(f.Tenant))
	}
	return req.T("queue")
}

// suspended has the suspensions by the names of tenants and of destinations.
type suspended struct{ tenants, destinations map[string]suspensionState }

func (req *request) suspended() (suspended, error) {
	found := suspended{make(map[string]suspensionState), make(map[string]suspensionState)}
	list, err := req.op.Queue.Spool.Suspensions(req.ctx())
	for _, s := range list {
		if s.Tenant != "" {
			found.tenants[string(s.Tenant)] = stateOf(s)
		} else {
			found.destinations[s.Destination] = stateOf(s)
		}
	}
	return found, err
}

func (s suspended) of(name string, tenant bool) suspensionState {
	if tenant {
		return s.tenants[name]
	}
	return s.destinations[name]
}

// ofFilter returns the state of the tenant, or else of the destination, of a filter.
func (s suspended) ofFilter(f store.Filter) suspensionState {
	if f.Tenant != "" {
		return s.tenants[string(f.Tenant)]
	}
	if toDestination(f) {
		return s.destinations[f.Destination]
	}
	return ""
}
