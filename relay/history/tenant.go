package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A Tenant is the history of one tenant. It finds nothing that belongs to another.
type Tenant struct {
	h  *History
	id store.TenantID
}

// Tenant returns the history of a tenant. It does not check that there is such a
// tenant: one that has sent nothing has an empty history.
func (h *History) Tenant(id store.TenantID) Tenant { return Tenant{h, id} }

// pendingAfter is how long a message may have been accepted, without anything else
// known of it, before its state is shown as pending.
const pendingAfter = time.Minute

// Activities lists the tenant's recipients and refusals, newest first. Events of the
// last second or two may be missing. A recipient of which nothing is known for a minute
// after its message was accepted is [store.ActivityPending], also for the filter. If its
// tenant or its destination is suspended, it has the Reason of the suspension.
//
// The list has no Trail. A page may have fewer activities than f.Limit, or none, and
// still have a Next: each call looks at a bounded number of activities.
func (t Tenant) Activities(ctx context.Context, f store.ActivityFilter) (store.ActivityPage, error) {
	if t.h.Store == nil {
		return store.ActivityPage{}, errNoStore
	}
	states := f.States
	if slices.Contains(states, store.ActivityPending) != slices.Contains(states, store.ActivityAccepted) {
		f.States = append(slices.Clone(states), store.ActivityPending, store.ActivityAccepted)
	}
	page, err := t.h.Store.Activities(ctx, t.id, f)
	if err != nil {
		return store.ActivityPage{}, fmt.Errorf("history: %w", err)
	}
	now := time.Now()
	for i := range page.List {
		show(&page.List[i], now)
	}
	if err := t.h.explain(ctx, page.List); err != nil {
		return store.ActivityPage{}, fmt.Errorf("history: %w", err)
	}
	page.List = slices.DeleteFunc(page.List, func(a store.Activity) bool {
		return len(states) > 0 && !slices.Contains(states, a.State)
	})
	return page, nil
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

// Mail returns what became of each recipient of a message, in the order of the message.
// The ID is that of relay.Message and store.Mail, or the Mail of an activity. If there
// is no such message of the tenant, or it is older than Retention, the error is
// store.ErrNotFound.
func (t Tenant) Mail(ctx context.Context, id string) ([]Recipient, error) {
	if t.h.Store == nil {
		return nil, errNoStore
	}
	list, err := t.h.Store.Recipients(ctx, t.id, id)
	if err != nil {
		return nil, fmt.Errorf("history: mail %.100q: %w", id, err)
	}
	now := time.Now()
	for i := range list {
		show(&list[i], now)
	}
	if err := t.h.explain(ctx, list); err != nil {
		return nil, fmt.Errorf("history: mail %.100q: %w", id, err)
	}
	recipients := make([]Recipient, len(list))
	for i, a := range list {
		events, leftOut := eventsOf(&a)
		a.Trail = ""
		recipients[i] = Recipient{a, events, leftOut}
	}
	return recipients, nil
}

// Erase erases an address from the tenant's activities of it, with what other servers
// said about it, and returns from how many. The activities stay without the address,
// and so do the counts. The letters A to Z match in either case. All others must be as in
// the message: an address with an internationalized domain may have been sent to in two
// forms, bücher.example and xn--bcher-kva.example, and each form is erased by itself.
//
// Events that wait are applied first, so that they are erased too. If that fails,
// nothing is erased, and the caller should try again. Refusals of the last second that
// another process has gathered are not erased. Nor is mail: a message that is still
// in the queue is delivered, and its activity stays erased.
func (t Tenant) Erase(ctx context.Context, address string) (erased int, err error) {
	if t.h.Store == nil {
		return 0, errNoStore
	}
	if err := t.h.applyUntil(ctx, time.Now().Add(skew)); err != nil {
		return 0, fmt.Errorf("history: erase: events that wait cannot be applied: %w", err)
	}
	if erased, err = t.h.Store.Erase(ctx, t.id, address); err != nil {
		return 0, fmt.Errorf("history: erase: %w", err)
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
