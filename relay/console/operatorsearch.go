package console

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// This file finds users, domains and messages of all tenants, and shows a message.

type searchData struct {
	Search  string
	Users   []store.User
	Domains []store.Domain
	Message string // the ID of a message; empty if there is none
}

// searchAll finds what has exactly this name: a username, a domain or the ID of a
// message. A page with one message leads to it.
func (req *request) searchAll() (response, error) {
	data := searchData{Search: strings.Trim(strings.TrimSpace(req.queried("search")), "<>")}
	if data.Search == "" && !req.asJSON {
		return response{location: "?"}, nil // the overview
	}
	var err error
	if data.Users, data.Domains, err = req.findNames(data.Search); err != nil {
		return response{}, err
	}
	if _, err = req.tenantOf(data.Search); err == nil {
		data.Message = data.Search
	} else if !errors.Is(err, store.ErrNotFound) {
		return response{}, err
	}
	if !req.asJSON && data.Message != "" && len(data.Users)+len(data.Domains) == 0 {
		return response{location: "messages/" + data.Message}, nil
	}
	return response{template: "found", title: req.T("op.found.title", data.Search), data: data, document: documentOfFound(data)}, nil
}

// findNames returns the user of a username, and the domains of a name.
func (req *request) findNames(name string) (users []store.User, domains []store.Domain, err error) {
	m := req.op.Credentials
	if m == nil || name == "" {
		return nil, nil, nil
	}
	switch u, err := m.FindUser(req.ctx(), name); {
	case err == nil:
		users = append(users, u)
	case !errors.Is(err, store.ErrNotFound):
		return nil, nil, err
	}
	domains, err = m.FindDomains(req.ctx(), name)
	if errors.As(err, new(*credentials.InvalidError)) {
		err = nil // it is not the name of a domain
	}
	return users, domains, err
}

// isID reports whether a text can be the ID of a message.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// tenantOf returns the tenant of a message: of what waits, or of what history has.
func (req *request) tenantOf(id string) (store.TenantID, error) {
	if !isID(id) {
		return "", store.ErrNotFound
	}
	list, err := req.admin.List(req.ctx(), store.Filter{Mail: id}, store.Page{Limit: 1})
	switch {
	case err != nil:
		return "", err
	case len(list) > 0:
		return list[0].Mail.Tenant, nil
	case req.op.History == nil:
		return "", store.ErrNotFound
	}
	return req.op.History.TenantOf(req.ctx(), id)
}

type operatorMessageData struct {
	listing
	ID         string
	Tenant     store.TenantID
	About      *store.Activity // nil if history does not have it
	Mail       store.Mail      // zero if nothing of it waits
	States     []messageState
	Recipients []history.Recipient
	Waiting    []store.Leased
	More       bool // more of it waits
}

// A messageState says how many recipients are in a state.
type messageState struct {
	State store.ActivityState
	N     int
}

// operatorMessage shows what became of the recipients of a message, and what of it
// waits.
func (req *request) operatorMessage() (response, error) {
	page, err := req.page()
	if err != nil {
		return response{}, err
	}
	data := operatorMessageData{ID: req.pathValues["message"]}
	if data.Tenant, err = req.tenantOf(data.ID); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = errNotFound
		}
		return response{}, err
	}
	waiting, err := req.admin.List(req.ctx(), store.Filter{Mail: data.ID}, store.Page{Limit: pageSize + 1})
	if err != nil {
		return response{}, err
	}
	data.More = len(waiting) > pageSize
	data.Waiting = waiting[:min(len(waiting), pageSize)]
	if len(waiting) > 0 {
		data.Mail = waiting[0].Mail
	}
	next := ""
	if req.op.History != nil {
		if next, err = req.addHistory(&data, page); err != nil {
			return response{}, err
		}
	}
	return response{template: "message-of-all", title: req.T("op.message.title", data.ID), data: data, document: documentOfMessageOfAll(data, next)}, nil
}

// addHistory adds what history has of a message, and returns where the next page
// begins.
func (req *request) addHistory(data *operatorMessageData, page store.Page) (next string, err error) {
	from, _ := strconv.Atoi(page.After)
	t := req.op.History.Tenant(data.Tenant)
	found, err := t.Mail(req.ctx(), data.ID, store.RecipientFilter{From: max(from, 0), Limit: page.Limit - 1})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	states, err := t.MailStates(req.ctx(), data.ID)
	if err != nil {
		return "", err
	}
	for state, n := range states {
		data.States = append(data.States, messageState{state, n})
	}
	slices.SortFunc(data.States, func(a, b messageState) int { return int(a.State - b.State) })
	data.Recipients = found.Recipients
	for _, l := range data.Waiting {
		for i := range data.Recipients {
			if r := &data.Recipients[i]; r.N == l.Delivery.N {
				r.Reason = wholeReason(r.Reason, l.Delivery)
				explainLast(r.Events, l.Delivery)
			}
		}
	}
	if len(found.Recipients) > 0 {
		data.About = &found.Recipients[0].Activity
	}
	if from > 0 {
		data.First = query()
	}
	if found.Next > 0 {
		next = strconv.Itoa(found.Next)
		data.Next = query("after", next)
	}
	return next, nil
}

// wholeReason returns the reason of a delivery in place of the one that the tenant reads, if
// the operator's own server has a problem. Of mail that was given up only the log has it.
func wholeReason(reason string, d store.Delivery) string {
	if reason == store.InternalReason && store.IsInternal(d.Reason) {
		return mailtext.OneLineUTF8(d.Reason, maxShown)
	}
	return reason
}

// explainLast gives the last event of a delivery its whole reason.
func explainLast(events []store.Event, d store.Delivery) {
	if n := len(events); n > 0 {
		events[n-1].Reason = wholeReason(events[n-1].Reason, d)
	}
}

// sayWhere returns a reason, with where the cause is if only the log has it.
func (req *request) sayWhere(reason string) string {
	if reason == store.InternalReason {
		return req.T("op.said.internal")
	}
	return reason
}

// OperatorSaid returns what a server answered, and which, or else the reason.
func (req *request) OperatorSaid(r store.Reply, reason string) string {
	reason = req.sayWhere(reason)
	said := says(r, reason)
	if r.Host == "" || said == reason {
		return said
	}
	return req.T("op.said", r.Host, said)
}
