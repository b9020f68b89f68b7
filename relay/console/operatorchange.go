package console

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// This file changes what waits: after a page that says how much that is.

// changeTime is how long one request changes deliveries. If more are left, the page that
// follows has a button to go on: a proxy in front would not wait much longer.
const changeTime = 10 * time.Second

// actionsOf are the actions of what can be done with deliveries.
var actionsOf = map[string]Action{"retry": RetryQueue, "hold": HoldQueue, "release": HoldQueue, "cancel": CancelQueue}

type changeData struct {
	Do     string
	Hidden []hidden
	Count  string // how many, in words
	Back   string // address of the list
	One    *store.Leased
	Reason string
	Error  string

	// After a part of a large change:
	Done, Busy string
	Part       bool
}

// A selection is what a request to change deliveries says.
type selection struct {
	do     string
	queue  queue.Selection
	one    *store.Leased // if it names one delivery
	fields []string
	back   string
}

// selection returns which deliveries to change. v has the fields of the form or the
// query of the page before it.
func (req *request) selection(v url.Values) (s selection, err error) {
	s.do = v.Get("do")
	action, ok := actionsOf[s.do]
	if !ok {
		return s, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "do", args: []string{req.T("op.reason.do")}}
	}
	if !req.May(action) {
		return s, errNotAllowed
	}
	var key string
	if err := req.fields(v, map[string]*string{"delivery": &key, "after": &s.queue.After}); err != nil {
		return s, err
	}
	if key != "" {
		l, err := req.deliveryOf(key)
		if err != nil {
			return s, err
		}
		s.one = &l
		s.queue.After = ""
		s.queue.Filter = store.Filter{Mail: l.Delivery.Mail, Tenant: l.Mail.Tenant}
		s.fields, s.back = []string{"do", s.do, "delivery", key}, "deliveries/"+key
		return s, nil
	}
	if s.queue.Filter, err = req.filter(v); err != nil {
		return s, err
	}
	if f := &s.queue.Filter; f.Mail != "" && f.Tenant == "" {
		if f.Tenant, err = req.tenantOf(f.Mail); err != nil && !errors.Is(err, store.ErrNotFound) {
			return s, err
		}
	}
	s.queue.All = v.Get("all") == "true"
	if s.queue.Filter == (store.Filter{}) && !s.queue.All {
		return s, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "all", args: []string{req.T("op.reason.all")}}
	}
	fields := fieldsOf(s.queue.Filter)
	s.back = "deliveries" + query(fields...)
	s.fields = append([]string{"do", s.do}, fields...)
	if s.queue.All {
		s.fields = append(s.fields, "all", "true")
	}
	return s, nil
}

// changeForm asks before deliveries are changed.
func (req *request) changeForm() (response, error) {
	s, err := req.selection(req.r.URL.Query())
	if err != nil {
		return response{}, err
	}
	return req.changePage(http.StatusOK, s, changeData{})
}

func (req *request) changePage(status int, s selection, data changeData) (response, error) {
	data.Do, data.Hidden, data.Back, data.One = s.do, hiddenOf(s.fields...), s.back, s.one
	if s.one == nil {
		n, exact, err := req.howMany(s.queue)
		if err != nil {
			return response{}, err
		}
		data.Count = req.Number(n)
		if !exact {
			data.Count = req.T("op.change.more-than", data.Count)
		}
	}
	return response{status: status, template: "change", title: req.T("op.change.title." + s.do), data: data}, nil
}

// countUpTo is how many deliveries are counted one by one.
const countUpTo = 1000

// howMany returns how many deliveries a selection has. If exact is false, there are
// more. What is selected by tenant and destination only was counted already.
func (req *request) howMany(s queue.Selection) (n int64, exact bool, err error) {
	f := s.Filter
	if f == (store.Filter{Tenant: f.Tenant, Destination: f.Destination, ToDestination: f.ToDestination}) {
		list, _, err := req.backlogs()
		return sumOf(groupsOf(filterLanes(list, f), true)).Deliveries, true, err
	}
	list, err := req.look(f, store.Page{Limit: countUpTo + 1})
	return int64(min(len(list), countUpTo)), len(list) <= countUpTo, err
}

// change changes deliveries for up to changeTime.
func (req *request) change() (response, error) {
	s, err := req.selection(req.inputs)
	if err != nil {
		return response{}, err
	}
	reason, bounce := req.why(), req.inputs.Get("bounce") == "true"
	if s.do == "cancel" && bounce && reason == "" {
		p := &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "reason", args: []string{req.T("op.reason.bounce")}}
		if req.asJSON {
			return response{}, p
		}
		return req.changePage(p.status, s, changeData{Error: req.T("problem.invalid.detail", p.args...)})
	}
	ctx, cancel := context.WithTimeout(req.ctx(), changeTime)
	defer cancel()
	var changed queue.Changed
	if s.one != nil {
		changed, err = req.changeOne(ctx, s, reason, bounce)
	} else {
		changed, err = req.changeAll(ctx, s, reason, bounce)
	}
	req.op.counts.changed()
	if changed.Done > 0 { // also if an error has stopped the rest
		req.tell(actionsOf[s.do], s.queue.Tenant, s.object(changed.Done))
	}
	more := err != nil && ctx.Err() != nil && req.ctx().Err() == nil
	if err != nil && !more {
		return response{}, err
	}
	done, busy := req.before("done")+changed.Done, req.before("busy")+changed.Busy
	if more {
		s.fields = append(s.fields, "after", changed.After, "done", strconv.Itoa(done), "busy", strconv.Itoa(busy), "reason", reason)
		if bounce {
			s.fields = append(s.fields, "bounce", "true")
		}
	}
	return req.changedPage(s, done, busy, more, changed.After)
}

// object says in one line what was done with how many deliveries, and how they were
// selected, such as "hold 2 destination=one.example". Tenants are told apart from it.
func (s selection) object(done int) string {
	f := s.queue.Filter
	if f.Tenant = ""; s.one != nil {
		f.Recipient = s.one.Delivery.Recipient
	}
	words := []string{s.do, strconv.Itoa(done)}
	for _, field := range hiddenOf(fieldsOf(f)...) {
		if strings.ContainsFunc(field.Value, func(r rune) bool { return r <= ' ' || r == '"' || !strconv.IsPrint(r) }) {
			field.Value = strconv.Quote(field.Value)
		}
		words = append(words, field.Name+"="+field.Value)
	}
	return strings.Join(words, " ")
}

// changedPage says what was changed.
func (req *request) changedPage(s selection, done, busy int, more bool, after string) (response, error) {
	data := changeData{Do: s.do, Back: s.back, Done: req.Number(int64(done)), Part: more}
	if busy > 0 {
		data.Busy = req.Number(int64(busy))
	}
	if more {
		data.Hidden = hiddenOf(s.fields...)
	} else {
		after = ""
	}
	if s.one != nil && s.do == "cancel" && done > 0 {
		data.Back = "deliveries"
	}
	return response{
		template: "changed", title: req.T("op.changed.title." + s.do), data: data,
		document: changedDocument{done, busy, nullable(after)},
	}, nil
}

// why returns the reason for a change.
func (req *request) why() string {
	return cleanText(strings.TrimSpace(req.inputs.Get("reason")), maxField)
}

// before returns a number that the part of a change before has passed on.
func (req *request) before(name string) int {
	n, err := strconv.Atoi(cmp.Or(req.inputs.Get(name), "0"))
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return n
}

func (req *request) changeAll(ctx context.Context, s selection, reason string, bounce bool) (queue.Changed, error) {
	switch s.do {
	case "retry":
		return req.admin.Retry(ctx, s.queue)
	case "hold":
		return req.admin.Hold(ctx, s.queue, reason)
	case "release":
		return req.admin.Release(ctx, s.queue)
	}
	return req.admin.Cancel(ctx, s.queue, reason, bounce)
}

// changeOne changes the delivery of one recipient. If a message has the same recipient
// more than once, the later ones are changed with it.
func (req *request) changeOne(ctx context.Context, s selection, reason string, bounce bool) (queue.Changed, error) {
	d := s.one.Delivery
	if d.N > 0 {
		s.queue.After = store.Delivery{Mail: d.Mail, N: d.N - 1}.Key()
	}
	s.queue.Recipient = d.Recipient
	return req.changeAll(ctx, s, reason, bounce)
}

// tell tells the embedder of a change of an operator.
func (req *request) tell(a Action, tenant store.TenantID, object string) {
	if req.site.onChange != nil {
		req.site.onChange(req.r, Change{Action: a, Tenant: tenant, Object: object})
	}
}

type pauseData struct {
	Filter     store.Filter
	Name       string
	Hidden     []hidden
	Back       string
	Waits      string            // how many deliveries it pauses now, in words
	Suspension *store.Suspension // to end; nil if there is none
}

// pauseTarget returns what is to be paused or resumed: a tenant, or else a destination.
func (req *request) pauseTarget(v url.Values) (store.Filter, error) {
	f, err := req.which(v)
	if err != nil {
		return f, err
	}
	switch {
	case f.Tenant != "" && toDestination(f), f.Tenant == "" && !toDestination(f):
		return f, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "tenant", args: []string{req.T("op.reason.pause")}}
	}
	return f, nil
}

func (req *request) pauseForm() (response, error) {
	f, err := req.pauseTarget(req.r.URL.Query())
	if err != nil {
		return response{}, err
	}
	list, _, err := req.backlogs()
	if err != nil {
		return response{}, err
	}
	data := pauseData{Filter: f, Hidden: hiddenOf(fieldsOf(f)...), Back: "queue" + query(fieldsOf(f)...)}
	data.Waits = req.Number(sumOf(groupsOf(filterLanes(list, f), true)).Deliveries)
	return response{template: "pause", title: req.T("op.pause."+kindOf(f), req.nameOf(f)), data: data}, nil
}

func kindOf(f store.Filter) string {
	if f.Tenant != "" {
		return "tenant"
	}
	return "destination"
}

func (req *request) nameOf(f store.Filter) string {
	if f.Tenant != "" {
		return string(f.Tenant)
	}
	return req.Destination(f.Destination)
}

func (req *request) pause() (response, error) {
	f, err := req.pauseTarget(req.inputs)
	if err != nil {
		return response{}, err
	}
	s := store.Suspension{Tenant: f.Tenant, Destination: f.Destination, Reason: req.why()}
	if err := req.admin.Suspend(req.ctx(), s); err != nil {
		return response{}, err
	}
	req.tell(PauseQueue, f.Tenant, "pause "+kindOf(f)+" "+cmp.Or(string(f.Tenant), f.Destination))
	return response{location: "queue" + query(append(fieldsOf(f), "done", "paused")...)}, nil
}

func (req *request) resumeForm() (response, error) {
	f, err := req.pauseTarget(req.r.URL.Query())
	if err != nil {
		return response{}, err
	}
	data := pauseData{Filter: f, Hidden: hiddenOf(fieldsOf(f)...), Back: "queue" + query(fieldsOf(f)...)}
	list, err := req.op.Queue.Spool.Suspensions(req.ctx())
	if err != nil {
		return response{}, err
	}
	for i, s := range list {
		if s.Tenant == f.Tenant && (s.Tenant != "" || s.Destination == f.Destination) {
			data.Suspension = &list[i]
		}
	}
	if data.Suspension == nil {
		return response{}, errNotSuspended
	}
	return response{template: "resume", title: req.T("op.resume."+kindOf(f), req.nameOf(f)), data: data}, nil
}

func (req *request) resume() (response, error) {
	f, err := req.pauseTarget(req.inputs)
	if err != nil {
		return response{}, err
	}
	err = req.admin.Resume(req.ctx(), store.Suspension{Tenant: f.Tenant, Destination: f.Destination})
	if errors.Is(err, store.ErrNotFound) {
		return response{}, errNotSuspended
	}
	if err != nil {
		return response{}, err
	}
	req.tell(PauseQueue, f.Tenant, "resume "+kindOf(f)+" "+cmp.Or(string(f.Tenant), f.Destination))
	return response{location: "queue" + query(append(fieldsOf(f), "done", "resumed")...)}, nil
}

// Problems of an Operator.
var (
	errTooMuch      = &problem{code: "too-much", status: http.StatusUnprocessableEntity}
	errNotSuspended = &problem{code: "not-suspended", status: http.StatusNotFound}
)
