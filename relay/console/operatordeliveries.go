package console

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// This file lists deliveries, and shows one of them.

// lookTime is how long a page may look for deliveries. Only a filter that says neither
// tenant nor destination needs more on a large queue.
const lookTime = 5 * time.Second

var deliveryStates = map[string]store.State{"waiting": store.StateWaiting, "sending": store.StateLeased, "held": store.StateHeld}

func stateName(s store.State) string {
	for name, state := range deliveryStates {
		if state == s {
			return name
		}
	}
	return ""
}

func toDestination(f store.Filter) bool { return f.Destination != "" || f.ToDestination }

// toText is the value of the field "to" of a filter.
func toText(f store.Filter) string {
	if f.ToDestination && f.Destination == "" {
		return "all"
	}
	return ""
}

// maxField is how many bytes a field of a filter may have.
const maxField = 255

// fields copies fields of v into the texts of pairs. A text that the store cannot take
// is an error: without a part of it, the filter would select more.
func (req *request) fields(v url.Values, pairs map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		text := strings.TrimSpace(v.Get(name))
		if text != cleanText(text, maxField) {
			return req.invalid(name, req.T("op.reason.text", strconv.Itoa(maxField)))
		}
		*pairs[name] = text
	}
	return nil
}

// which returns the tenant and the destination that were asked for. A field "to" with
// the value "all" asks for the destination without a name.
func (req *request) which(v url.Values) (f store.Filter, err error) {
	var tenant, to string
	if err := req.fields(v, map[string]*string{"tenant": &tenant, "destination": &f.Destination, "to": &to}); err != nil {
		return f, err
	}
	if to != "" && to != "all" {
		return f, req.invalid("to", req.T("op.reason.to"))
	}
	f.Tenant, f.ToDestination = store.TenantID(tenant), f.Destination != "" || to == "all"
	f.Destination, err = req.destinationOf(f.Destination)
	return f, err
}

// destinationOf returns the destination of a name that a person typed. A domain may be
// in any case and in Unicode. A name stays as it is if mail waits for it, or if it is
// suspended: a Destination of the queue may return names of any kind.
func (req *request) destinationOf(name string) (string, error) {
	domain, err := credentials.NormalizeDomain(name)
	if err != nil || domain == name {
		return name, nil
	}
	suspended, err := req.suspended()
	if err != nil {
		return "", err
	}
	list, _, err := req.backlogs()
	if _, known := suspended.destinations[name]; known || slices.ContainsFunc(list, func(b store.Backlog) bool { return b.Destination == name }) {
		return name, err
	}
	return domain, err
}

// filter returns the deliveries that were asked for. A username gives the tenant, and a
// recipient the destination, so that less is read.
func (req *request) filter(v url.Values) (store.Filter, error) {
	f, err := req.which(v)
	if err != nil {
		return f, err
	}
	var state string
	err = req.fields(v, map[string]*string{
		"message": &f.Mail, "username": &f.Username, "recipient": &f.Recipient, "said": &f.Reason, "state": &state,
	})
	if err != nil {
		return f, err
	}
	var known bool
	if f.State, known = deliveryStates[state]; !known && state != "" {
		return f, req.invalid("state", req.T("op.reason.state"))
	}
	if f.Username != "" && f.Tenant == "" && req.op.Credentials != nil {
		if u, err := req.op.Credentials.FindUser(req.ctx(), f.Username); err == nil {
			f.Tenant = u.Tenant
		}
	}
	if q := req.op.Queue; f.Recipient != "" && !f.ToDestination && q.Destination != nil {
		f.Destination, f.ToDestination = q.Destination(f.Recipient), true
	}
	return f, nil
}

// Fields returns the fields of a filter by their names, for hidden inputs and links.
func fieldsOf(f store.Filter) []string {
	return []string{
		"tenant", string(f.Tenant), "destination", f.Destination, "to", toText(f), "state", stateName(f.State),
		"message", f.Mail, "username", f.Username, "recipient", f.Recipient, "said", f.Reason,
	}
}

// A hidden is a hidden input of a form.
type hidden struct{ Name, Value string }

func hiddenOf(pairs ...string) (list []hidden) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			list = append(list, hidden{pairs[i], pairs[i+1]})
		}
	}
	return list
}

type deliveriesData struct {
	listing
	Filter           store.Filter
	StateName, Query string
	List             []store.Leased
}

func (req *request) deliveries() (response, error) {
	page, err := req.page()
	if err != nil {
		return response{}, err
	}
	f, err := req.filter(req.r.URL.Query())
	if err != nil {
		return response{}, err
	}
	list, err := req.look(f, page)
	if err != nil {
		return response{}, err
	}
	list, next := trimPage(list, page, func(l store.Leased) string { return l.Delivery.Key() })
	data := deliveriesData{Filter: f, StateName: stateName(f.State), Query: query(fieldsOf(f)...), List: list}
	if next != "" {
		data.Next = query(append(fieldsOf(f), "after", next)...)
	}
	if page.After != "" {
		data.First = query(fieldsOf(f)...)
	}
	title := req.titleOf(f)
	if f == (store.Filter{}) {
		title = req.T("op.deliveries")
	}
	return response{template: "deliveries", title: title, data: data, document: documentOfDeliveries(list, next)}, nil
}

// look lists deliveries. If that takes too long, the visitor is asked to say more.
func (req *request) look(f store.Filter, page store.Page) ([]store.Leased, error) {
	ctx, cancel := context.WithTimeout(req.ctx(), lookTime)
	defer cancel()
	list, err := req.admin.List(ctx, f, page)
	if err != nil && ctx.Err() != nil && req.ctx().Err() == nil {
		return nil, errTooMuch
	}
	return list, err
}

// DeliveryPill returns the state of a delivery for the template "pill".
func (req *request) DeliveryPill(d store.Delivery) pill {
	name := stateName(d.State())
	return pill{Kind: map[string]string{"waiting": "wait", "sending": "good", "held": "bad"}[name], Word: req.T("op.delivery." + name)}
}

// Delivery returns the address of the page of a delivery.
func (req *request) Delivery(d store.Delivery) string {
	return req.Root() + "deliveries/" + url.PathEscape(d.Key())
}

// MessageOfAll returns the address of the page of a message.
func (req *request) MessageOfAll(id string) string {
	return req.Root() + "messages/" + url.PathEscape(id)
}

// Place returns the address of a page of the operator with a query.
func (req *request) Place(path string, pairs ...string) string {
	return req.Root() + path + query(pairs...)
}

// To returns the value of the field "to" for a destination.
func (req *request) To(destination string) string {
	return toText(store.Filter{Destination: destination, ToDestination: true})
}

type deliveryData struct {
	store.Leased
	Suspended *store.Suspension // why it is not tried, if its tenant or destination is suspended
	Events    []store.Event
	LeftOut   int
	StateName string
}

// delivery shows one delivery, with what was tried.
func (req *request) delivery() (response, error) {
	l, err := req.deliveryOf(req.pathValues["delivery"])
	if err != nil {
		return response{}, err
	}
	data := deliveryData{Leased: l, StateName: stateName(l.Delivery.State())}
	list, err := req.op.Queue.Spool.Suspensions(req.ctx())
	if err != nil {
		return response{}, err
	}
	for i, s := range list {
		if s.Tenant == l.Mail.Tenant && s.Tenant != "" || s.Tenant == "" && s.Destination == l.Delivery.Destination && data.Suspended == nil {
			data.Suspended = &list[i]
		}
	}
	if data.Events, data.LeftOut, err = req.trail(l.Mail.Tenant, l.Delivery.Mail, l.Delivery.N); err != nil {
		return response{}, err
	}
	explainLast(data.Events, l.Delivery)
	return response{template: "delivery", title: req.T("op.delivery.title", cmp.Or(l.Delivery.Recipient, l.Delivery.Key())), data: data, document: documentOfDelivery(l)}, nil
}

// deliveryOf returns the delivery of a key.
func (req *request) deliveryOf(key string) (store.Leased, error) {
	mail, number, _ := strings.Cut(cleanText(key, maxField), ".")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || mail == "" {
		return store.Leased{}, errNotFound
	}
	page := store.Page{Limit: 1}
	if n > 0 {
		page.After = store.Delivery{Mail: mail, N: n - 1}.Key()
	}
	list, err := req.admin.List(req.ctx(), store.Filter{Mail: mail}, page)
	if err == nil && (len(list) == 0 || list[0].Delivery.N != n) {
		err = errNotFound
	}
	if err != nil {
		return store.Leased{}, err
	}
	return list[0], nil
}

// trail returns the events of one recipient; none without a history, and of a message
// that history does not have.
func (req *request) trail(tenant store.TenantID, mail string, n int) ([]store.Event, int, error) {
	if req.op.History == nil || tenant == "" {
		return nil, 0, nil
	}
	page, err := req.op.History.Tenant(tenant).Mail(req.ctx(), mail, store.RecipientFilter{From: n, Limit: 1})
	if errors.Is(err, store.ErrNotFound) || err == nil && (len(page.Recipients) == 0 || page.Recipients[0].N != n) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return page.Recipients[0].Events, page.Recipients[0].LeftOut, nil
}
