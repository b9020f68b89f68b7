package console

import (
	"fmt"
	"slices"
)

// A Part is a group of screens that a handler may have or leave out.
type Part string

// The parts of a [Handler], in the order of its navigation.
const (
	Domains      Part = "domains"      // domains and SMTP users; needs Credentials
	Activity     Part = "activity"     // what became of each message; needs History
	Statistics   Part = "statistics"   // counts by day; needs History
	Quota        Part = "quota"        // what is used of the tenant's limits; needs Limits
	Suppressions Part = "suppressions" // addresses that are refused; needs Suppressions
	Webhooks     Part = "webhooks"     // endpoints of the tenant; needs Webhooks
)

// possible returns the parts whose fields are set, in the order of the navigation.
func (h *Handler) possible() []Part {
	set := map[Part]bool{
		Domains:      true,
		Activity:     h.History != nil,
		Statistics:   h.History != nil,
		Quota:        h.Limits != nil,
		Suppressions: h.Suppressions != nil,
		Webhooks:     h.Webhooks != nil,
	}
	order := []Part{Domains, Activity, Statistics, Quota, Suppressions, Webhooks}
	return slices.DeleteFunc(order, func(p Part) bool { return !set[p] })
}

// chosen returns the parts that the handler has.
func (h *Handler) chosen() ([]Part, error) {
	possible := h.possible()
	if h.Parts == nil {
		return possible, nil
	}
	for _, p := range h.Parts {
		if !slices.Contains(possible, p) {
			return nil, fmt.Errorf("console: Handler.Parts has %q, but the field that it needs is not set", p)
		}
	}
	if len(h.Parts) == 0 {
		return nil, fmt.Errorf("console: Handler.Parts is empty; leave it nil for all parts")
	}
	return h.Parts, nil
}

// A tab is a link of the navigation.
type tab struct {
	Text, To string
	Current  bool
}

// Tabs returns the navigation between the parts that the visitor may see. A console
// with one part, or with NoTabs, has none.
func (req *request) Tabs() []tab {
	if req.site.design.NoTabs {
		return nil
	}
	var tabs []tab
	for _, p := range req.site.parts {
		if to, ok := req.PartLink(p); ok {
			tabs = append(tabs, tab{req.T(string(p)), to, p == req.part})
		}
	}
	if len(tabs) < 2 {
		return nil
	}
	return tabs
}

// Has reports whether this console or another one has a part, and the visitor may
// see it.
func (req *request) Has(p Part) bool {
	_, ok := req.PartLink(p)
	return ok
}

// PartLink returns the address of the first page of a part. ok is false if there is
// no such part or the visitor may not see it.
func (req *request) PartLink(p Part) (to string, ok bool) {
	for _, rt := range req.site.routes {
		if rt.part != p || rt.get == nil || rt.form || !rt.first {
			continue
		}
		if !req.May(rt.action) {
			return "", false
		}
		return req.Root() + rt.path[1:], true
	}
	return req.elsewhere(p)
}

// views has the action that the first page of each part needs.
var views = map[Part]Action{
	Domains: ViewDomains, Activity: ViewActivity, Statistics: ViewStatistics, Quota: ViewQuota, Suppressions: ViewSuppressions,
	Webhooks: ViewWebhooks,
}

// elsewhere returns the address of a part that another handler has, if the visitor may
// see it.
func (req *request) elsewhere(p Part) (to string, ok bool) {
	if req.h == nil || !req.May(views[p]) {
		return "", false
	}
	to, ok = req.h.Elsewhere[p]
	return to, ok
}
