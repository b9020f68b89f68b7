package console

import (
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// The templates of an Operator call the exported methods of this file.

// maxShown is how many bytes pages show of a text that a server or a client wrote.
const maxShown = 500

// Readable returns a text that a server or a client wrote, as one line that can be shown.
func (req *request) Readable(s string) string { return isolate(mailtext.OneLineUTF8(s, maxShown)) }

// SuspensionName returns the tenant or the destination of a suspension.
func (req *request) SuspensionName(s store.Suspension) string {
	if s.Tenant != "" {
		return req.T("op.tenant.name", string(s.Tenant))
	}
	return req.Destination(s.Destination)
}

// ToOf returns the value of the field "to" for a suspension.
func (req *request) ToOf(s store.Suspension) string {
	if s.Tenant != "" {
		return ""
	}
	return req.To(s.Destination)
}

// LinkTo returns the address of a page with a filter.
func (req *request) LinkTo(path string, f store.Filter) string {
	return req.Place(path, fieldsOf(f)...)
}

// DeliveriesOf returns the address of the list of what a filter selects.
func (req *request) DeliveriesOf(f store.Filter) string { return req.LinkTo("deliveries", f) }

// ChangeLink returns the address of the page that asks before deliveries are changed.
func (req *request) ChangeLink(do string, f store.Filter) string {
	all := ""
	if f == (store.Filter{}) {
		all = "true"
	}
	return req.Place("change", append(fieldsOf(f), "do", do, "all", all)...)
}

// GroupLink returns the address of the page of a tenant or a destination. If both are
// known it is the list of deliveries.
func (req *request) GroupLink(f store.Filter, byTenant bool, name string) string {
	path := "queue"
	if f.Tenant != "" || toDestination(f) {
		path = "deliveries"
	}
	if byTenant {
		f.Tenant = store.TenantID(name)
	} else {
		f.Destination, f.ToDestination = name, true
	}
	return req.LinkTo(path, f)
}

// Hidden returns the hidden inputs of the search for a tenant or a destination.
func (req *request) Hidden(f store.Filter, byTenant bool) []hidden {
	by := ""
	if byTenant && f == (store.Filter{}) {
		by = "tenant"
	}
	return hiddenOf(append(fieldsOf(f), "by", by)...)
}

// States returns the names of the states of deliveries.
func (req *request) States() []string { return []string{"waiting", "sending", "held"} }

// Open reports whether the filter of a list is unfolded.
func (d deliveriesData) Open() bool {
	f := d.Filter
	return f.State != 0 || f.Username != "" || f.Recipient != "" || f.Reason != "" || f == (store.Filter{})
}

// OfMessage returns the data of the template "change-links" for a message.
func (req *request) OfMessage(id string) view {
	return view{req, "", struct{ Filter store.Filter }{store.Filter{Mail: id}}}
}
