package console

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

type messageData struct {
	First      store.Activity // has what is the same for all recipients
	User       *store.User    // nil if the user is deleted
	Recipients []shownRecipient
	States     []stateCount // if there is more than one recipient
	State      string       // the filter
	Waiting    int          // how many recipients of the message are not final
	More, Back string       // addresses of the next page and of the first one
	Refusal    bool
}

// A shownRecipient is one recipient on the page of a message.
type shownRecipient struct {
	history.Recipient
	Open bool // the trail is shown
}

// A stateCount is how many recipients of a message are in a state.
type stateCount struct {
	State  store.ActivityState
	N      int
	To     string // address of the page with these recipients only
	Chosen bool
}

// message shows the recipients of a message, with the trail of each.
func (req *request) message() (response, error) {
	f, n, err := req.recipientFilter()
	if err != nil {
		return response{}, err
	}
	id := req.pathValues["mail"]
	tenant := req.h.History.Tenant(req.tenantID)
	page, err := req.recipients(tenant, id, f)
	if err != nil {
		return response{}, err
	}
	states, err := req.statesOf(tenant, id, f, page)
	if err != nil {
		return response{}, err
	}
	document := mailDocument{id, documentsOf(page.Recipients, req.documentOfRecipient), documentOfStates(states), nullable(page.Next)}
	data, err := req.messageData(tenant, page, states, n)
	if f.From > 0 {
		data.Back = query("state", data.State, "limit", req.queried("limit"))
	}
	return response{template: "message", title: req.subjectOf(&data.First), data: data, document: document}, err
}

// recipientFilter reads which recipients the query asks for, and which one of them is
// to be open, or -1. Without from, the page is the one that has that recipient.
func (req *request) recipientFilter() (f store.RecipientFilter, n int, err error) {
	page, err := req.page()
	if err != nil {
		return f, 0, err
	}
	f.Limit = page.Limit - 1
	n = -1
	for name, value := range map[string]*int{"n": &n, "from": &f.From} {
		if text := req.queried(name); text != "" {
			if *value, err = strconv.Atoi(text); err != nil || *value < 0 {
				return f, 0, req.invalid(name, req.T("reason.number"))
			}
		}
	}
	if n >= 0 && req.queried("from") == "" {
		f.From = n - n%f.Limit
	}
	state := req.queried("state")
	states, ok := stateGroups[state]
	if !ok && state != "" {
		return f, 0, req.invalid("state", req.T("reason.state"))
	}
	f.States = states
	return f, n, nil
}

// recipients returns a page of the recipients of a message. A page of which every
// recipient has just changed its state is empty; the next one that is not is returned.
func (req *request) recipients(tenant history.Tenant, id string, f store.RecipientFilter) (history.MailPage, error) {
	for tries := 0; ; tries++ {
		page, err := tenant.Mail(req.ctx(), id, f)
		if err != nil || len(page.Recipients) > 0 || page.Next == 0 || tries == 10 {
			return page, err
		}
		f.From = page.Next
	}
}

// statesOf returns how many recipients of a message are in each state. It asks the store
// only if the page does not have all of them.
func (req *request) statesOf(tenant history.Tenant, id string, f store.RecipientFilter, page history.MailPage) (map[store.ActivityState]int, error) {
	if f.From > 0 || len(f.States) > 0 || page.Next > 0 {
		return tenant.MailStates(req.ctx(), id)
	}
	states := make(map[store.ActivityState]int)
	for i := range page.Recipients {
		states[page.Recipients[i].State]++
	}
	return states, nil
}

func (req *request) messageData(tenant history.Tenant, page history.MailPage, states map[store.ActivityState]int, n int) (d messageData, err error) {
	d.State = req.queried("state")
	all := 0
	for _, s := range inOrder {
		if count := states[s]; count > 0 {
			name := req.Pill(s).Name
			d.States = append(d.States, stateCount{s, count, query("state", name), d.State == name})
			all += count
			if waits(s) {
				d.Waiting += count
			}
		}
	}
	if all < 2 {
		d.States = nil
	}
	for _, r := range page.Recipients {
		d.Recipients = append(d.Recipients, shownRecipient{r, all <= 3 || r.N == n})
	}
	if page.Next > 0 {
		d.More = query("from", strconv.Itoa(page.Next), "state", d.State, "limit", req.queried("limit"))
	}
	if d.First, err = req.firstOf(tenant, page); err != nil {
		return d, err
	}
	d.Refusal = d.First.State == store.ActivityRejected
	u, err := req.tenant.User(req.ctx(), d.First.Username)
	switch {
	case err == nil:
		d.User = &u
	case !errors.Is(err, store.ErrNotFound):
		return d, err
	}
	return d, nil
}

// firstOf returns a recipient that says what is the same for all.
func (req *request) firstOf(tenant history.Tenant, page history.MailPage) (store.Activity, error) {
	if len(page.Recipients) > 0 {
		return page.Recipients[0].Activity, nil
	}
	first, err := tenant.Mail(req.ctx(), req.pathValues["mail"], store.RecipientFilter{Limit: 1})
	if err != nil || len(first.Recipients) == 0 {
		return store.Activity{}, cmp.Or(err, error(errNotFound))
	}
	return first.Recipients[0].Activity, nil
}

// subjectOf returns the title of the page of a message or a refusal.
func (req *request) subjectOf(a *store.Activity) string {
	switch {
	case a.Subject != "":
		return a.Subject
	case a.State == store.ActivityRejected && a.Recipient == "" && a.From == "":
		return req.T("message.login")
	case a.State == store.ActivityRejected:
		return req.T("message.refusal")
	}
	return req.T("message.no-subject")
}

// customer returns what acts on the queue in the visitor's name.
func (req *request) customer() *queue.Admin {
	by := ""
	if req.h.Visitor != nil {
		by = req.h.Visitor(req.r)
	}
	return &queue.Admin{Queue: req.h.Queue, By: cmp.Or(by, "customer")}
}

// MayChange reports whether the visitor may do something with mail that waits.
func (req *request) MayChange(a Action) bool { return req.h.Queue != nil && req.May(a) }

// ownMail returns the deliveries of the message of the path: all of them, or those to
// one recipient. It is of the tenant's mail only.
func (req *request) ownMail() (s queue.Selection, err error) {
	id := req.pathValues["mail"]
	if id == "" {
		return s, errNotFound
	}
	if _, err := req.h.History.Tenant(req.tenantID).Mail(req.ctx(), id, store.RecipientFilter{Limit: 1}); err != nil {
		return s, err
	}
	recipient := req.inputs.Get("recipient")
	if clean := cleanText(recipient, maxQuery); clean != recipient || clean == "" && req.inputs.Has("recipient") {
		return s, req.invalid("recipient", req.T("reason.recipient")) // an empty one would select all
	}
	s.Filter = store.Filter{Mail: id, Tenant: req.tenantID, Recipient: recipient}
	return s, nil
}

// retry makes what waits of a message due now.
func (req *request) retry() (response, error) {
	s, err := req.ownMail()
	if err != nil {
		return response{}, err
	}
	changed, err := req.customer().Retry(req.ctx(), s)
	return req.changedMail(RetryMail, changed, err)
}

type cancelData struct {
	First     store.Activity
	Recipient string // "" is all that wait
}

func (req *request) cancelForm() (response, error) {
	page, err := req.h.History.Tenant(req.tenantID).Mail(req.ctx(), req.pathValues["mail"], store.RecipientFilter{Limit: 1})
	if err != nil {
		return response{}, err
	}
	if len(page.Recipients) == 0 {
		return response{}, errNotFound
	}
	return response{template: "cancel", title: req.T("message.cancel.title"), data: cancelData{page.Recipients[0].Activity, req.queried("recipient")}}, nil
}

// cancel takes what waits of a message out of the queue.
func (req *request) cancel() (response, error) {
	s, err := req.ownMail()
	if err != nil {
		return response{}, err
	}
	admin := req.customer()
	changed, err := admin.Cancel(req.ctx(), s, canceledBy+admin.By, false)
	return req.changedMail(CancelMail, changed, err)
}

// canceledBy begins the Reason of what a visitor has canceled.
const canceledBy = "by "

// changedMail answers with how many deliveries were changed. They are told also if an
// error has stopped the rest.
func (req *request) changedMail(a Action, changed queue.Changed, err error) (response, error) {
	if changed.Done > 0 {
		req.changed(Change{Action: a, Object: req.pathValues["mail"]})
	}
	if err != nil {
		return response{}, err
	}
	done := string(a)
	switch {
	case changed.Done == 0 && changed.Busy > 0:
		done = "mail-busy"
	case changed.Done == 0:
		done = "mail-gone"
	}
	return response{
		status:   http.StatusOK,
		location: mailPath(req.pathValues["mail"]) + query("done", done),
		document: mailChangedDocument{changed.Done, changed.Busy},
	}, nil
}

// Message returns the address of the page of an activity, with its recipient open.
func (req *request) Message(a store.Activity) string {
	return req.Root() + mailPath(a.Mail) + query("n", strconv.Itoa(a.N)) + "#gatepost-recipient-" + strconv.Itoa(a.N)
}

// Mail returns the address of the page of a message or of one below it.
func (req *request) Mail(id string, more ...string) string {
	return req.Root() + mailPath(id, more...)
}

// Waits reports whether a recipient may be in the queue.
func (req *request) Waits(a store.Activity) bool { return waits(a.State) && !a.Erased }
