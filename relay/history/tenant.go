package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A Tenant is the history of one tenant. It finds nothing that belongs to another.
type Tenant struct {
	h  *History
	id store.TenantID
}

// Tenant returns the history of a tenant. It does not check that there is such a
// tenant: one that has sent nothing has an empty history. If id is empty, each method
// returns an error.
func (h *History) Tenant(id store.TenantID) Tenant { return Tenant{h, id} }

// check returns an error if no question can be answered.
func (t Tenant) check() error {
	switch {
	case t.h.Store == nil:
		return errNoStore
	case t.id == "":
		return errNoTenant
	}
	return nil
}

// errNoTenant is an error of the caller's: an empty history would hide it.
var errNoTenant = errors.New("history: no tenant: the ID is empty")

// TenantOf returns the tenant that a message or a refusal belongs to. It is for
// operators, who have an ID and look for what became of it: see [Tenant.Mail]. If
// nothing of that ID is known, or it is older than Retention, the error is
// [store.ErrNotFound].
func (h *History) TenantOf(ctx context.Context, id string) (store.TenantID, error) {
	if h.Store == nil {
		return "", errNoStore
	}
	tenant, err := h.Store.TenantOf(ctx, id)
	if err != nil {
		return "", fmt.Errorf("history: mail %.100q: %w", id, err)
	}
	return tenant, nil
}

// pendingAfter is how long a message may have been accepted, without anything else
// known of it, before its state is shown as pending.
const pendingAfter = time.Minute

// Activities lists the tenant's recipients and refusals, newest first. Events of the
// last second or two may be missing. A recipient of which nothing is known for a minute
// after its message was accepted is [store.ActivityPending], also for the filter. If its
// tenant or its destination is suspended, it has the Reason of the suspension.
//
// The domain of the filter may be in upper case and have Unicode labels. Spaces around it
// and around the recipient do not count, nor do angle brackets around the recipient. If
// f.RecipientForms is nil, it is filled in: a recipient is found in both forms of an
// internationalized domain.
//
// The list has no Trail. A page may have fewer activities than f.Limit, or none, and
// still have a Next: each call looks at a bounded number of activities.
func (t Tenant) Activities(ctx context.Context, f store.ActivityFilter) (store.ActivityPage, error) {
	if err := t.check(); err != nil {
		return store.ActivityPage{}, err
	}
	states := f.States
	f.States, f.Domain, f.Recipient = acceptedOrPending(states), domainName(f.Domain), pasted(f.Recipient)
	if f.RecipientForms == nil {
		f.RecipientForms = formsOf(f.Recipient)
	}
	page, err := t.h.Store.Activities(ctx, t.id, f)
	if err == nil {
		page.List, err = t.h.shown(ctx, page.List, states)
	}
	if err != nil {
		return store.ActivityPage{}, fmt.Errorf("history: %w", err)
	}
	return page, nil
}

// domainName returns a domain in the form in which domains are kept. What is not a domain
// stays as it is: nothing is found for it.
func domainName(s string) string {
	s = strings.TrimSpace(s)
	if normal, err := credentials.NormalizeDomain(s); err == nil {
		return normal
	}
	return s
}

// pasted returns an address without what comes along when a person copies it: spaces and
// angle brackets around it.
func pasted(address string) string {
	address = strings.TrimSpace(address)
	if n := len(address); n > 2 && address[0] == '<' && address[n-1] == '>' {
		return address[1 : n-1]
	}
	return address
}

// acceptedOrPending returns states with both of accepted and pending, if one is in them:
// what the store has as accepted may be shown as pending.
func acceptedOrPending(states []store.ActivityState) []store.ActivityState {
	if slices.Contains(states, store.ActivityPending) == slices.Contains(states, store.ActivityAccepted) {
		return states
	}
	return append(slices.Clone(states), store.ActivityPending, store.ActivityAccepted)
}

// shown changes activities to what people see, and returns those that are in one of the
// states; no states mean all.
func (h *History) shown(ctx context.Context, list []store.Activity, states []store.ActivityState) ([]store.Activity, error) {
	now := time.Now()
	for i := range list {
		show(&list[i], now)
	}
	if err := h.explain(ctx, list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(a store.Activity) bool {
		return len(states) > 0 && !slices.Contains(states, a.State)
	}), nil
}

// show changes the state of an activity to what people see.
func show(a *store.Activity, now time.Time) {
	if a.State == store.ActivityAccepted && now.Sub(a.Received) >= pendingAfter {
		a.State = store.ActivityPending
	}
}

// A Recipient is one recipient of a message, or a refusal, with its events.
type Recipient struct {
	store.Activity // without the Trail

	// Events are in the order in which they happened. A refusal has none: Times
	// says how often it happened, from Received to Updated. An erased recipient has
	// none.
	Events []store.Event

	// LeftOut is how many events are missing between the first and the newest
	// retries. Of the events that say that a recipient was deferred or waits, the
	// first 50 and the newest 50 are kept; of all others, each.
	LeftOut int
}

// A MailPage is a page of the recipients of a message.
type MailPage struct {
	Recipients []Recipient // in the order of the message

	// Next is the From of the next page; 0 if there is none.
	Next int
}

// Mail returns a page of what became of the recipients of a message. The zero filter
// selects the first 100 of them; a page has at most 1,000. f.States selects those that
// are shown in one of these states; then a page may have none and still have a Next.
// Each recipient keeps its place, so that none is on two pages.
//
// The id is that of [relay.Message] and [store.Mail], or the Mail of an activity. If the
// tenant has no such message, or it is older than Retention, the error is
// [store.ErrNotFound]. To find one recipient of many, use the Recipient of
// [Tenant.Activities].
func (t Tenant) Mail(ctx context.Context, id string, f store.RecipientFilter) (page MailPage, err error) {
	if err := t.check(); err != nil {
		return page, err
	}
	if page, err = t.mail(ctx, id, f); err != nil {
		return MailPage{}, fmt.Errorf("history: mail %.100q: %w", id, err)
	}
	return page, nil
}

func (t Tenant) mail(ctx context.Context, id string, f store.RecipientFilter) (page MailPage, err error) {
	states, size := f.States, min(f.Size(), 1000)
	f.States, f.Limit = acceptedOrPending(states), size+1
	list, err := t.h.Store.Recipients(ctx, t.id, id, f)
	if err != nil {
		return page, err
	}
	if len(list) == 0 {
		return page, t.exists(ctx, id)
	}
	if len(list) > size {
		list = list[:size]
		page.Next = list[size-1].N + 1
	}
	if list, err = t.h.shown(ctx, list, states); err != nil {
		return page, err
	}
	for _, a := range list {
		events, leftOut := eventsOf(&a)
		a.Trail = ""
		page.Recipients = append(page.Recipients, Recipient{a, events, leftOut})
	}
	return page, nil
}

// exists returns store.ErrNotFound if the tenant has no such mail.
func (t Tenant) exists(ctx context.Context, id string) error {
	list, err := t.h.Store.Recipients(ctx, t.id, id, store.RecipientFilter{Limit: 1})
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	return err
}

// MailStates returns how many recipients of a message are in each state, as [Tenant.Mail]
// shows it. A state of none is not in the map. The error is [store.ErrNotFound] as that
// of Mail. It looks at all recipients of the message, so that it takes as long as
// some pages do if there are many.
func (t Tenant) MailStates(ctx context.Context, id string) (map[store.ActivityState]int, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	states, err := t.mailStates(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("history: mail %.100q: %w", id, err)
	}
	return states, nil
}

func (t Tenant) mailStates(ctx context.Context, id string) (map[store.ActivityState]int, error) {
	states, err := t.h.Store.RecipientStates(ctx, t.id, id)
	if err == nil && len(states) == 0 {
		err = store.ErrNotFound
	}
	if err != nil || states[store.ActivityAccepted] == 0 {
		return states, err
	}
	// All recipients were accepted at once, so that one of them says how each is shown.
	f := store.RecipientFilter{States: []store.ActivityState{store.ActivityAccepted}, Limit: 1}
	list, err := t.h.Store.Recipients(ctx, t.id, id, f)
	if err != nil || len(list) == 0 {
		return states, err
	}
	if show(&list[0], time.Now()); list[0].State == store.ActivityPending {
		states[store.ActivityPending] += states[store.ActivityAccepted]
		delete(states, store.ActivityAccepted)
	}
	return states, nil
}

// Erase erases an address from the tenant's activities of it, with what other servers
// said about it, and returns from how many. The activities stay without the address,
// and so do the counts. The letters A to Z match in either case; spaces and angle brackets
// around the address do not count. All others must be as in the message, except that both
// forms of an internationalized domain are erased: bücher.example and
// xn--bcher-kva.example.
//
// Events that wait are applied first, so that they are erased too. If that fails,
// nothing is erased, and the caller should try again. Refusals of the last second that
// another process has gathered are not erased. Nor is mail: a message that is still
// in the queue is delivered, and its activity stays erased.
//
// Erase looks for recipients only. An address stays where it is the From or Author, or
// where the trail of another recipient names it: as a member of a list (see
// [History.Bounced]), or in a reply. Records that were set aside, because this version
// cannot read them, are not erased: repeat Erase when a newer version has applied them.
// docs/history.md says where else the address may be.
func (t Tenant) Erase(ctx context.Context, address string) (erased int, err error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	if err := errors.Join(t.h.restore(ctx), t.h.applyUntil(ctx, time.Now().Add(skew))); err != nil {
		return 0, fmt.Errorf("history: erase: events that wait cannot be applied: %w", err)
	}
	address = pasted(address)
	for _, form := range append(formsOf(address), address) {
		n, err := t.h.Store.Erase(ctx, t.id, form)
		if err != nil {
			return erased, fmt.Errorf("history: erase: %w", err)
		}
		erased += n
	}
	return erased, nil
}

// applyUntil applies what was gathered by this process, and then everything that was
// recorded before a time. Another process may do the same at the same time.
func (h *History) applyUntil(ctx context.Context, until time.Time) error {
	if err := h.flush(ctx); err != nil {
		return err
	}
	for {
		j, err := h.Store.Journal(ctx)
		if err != nil || j.Records == 0 || j.Oldest.After(until) {
			return err
		}
		if _, err := h.step(ctx, batch); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// skew is by how much the clocks of two nodes may differ.
const skew = 5 * time.Second
