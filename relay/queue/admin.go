package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// An Admin lets a person see and change what a Queue's Spool holds. Its methods
// work whether Run of that Queue works or not, and from another process too: a
// program for operators makes a Queue with the same Spool, and an Admin for it.
// All methods are safe for concurrent use. Each change makes an event.
//
// A delivery that a node has leased is being sent, or is about to be. Its outcome
// is not known, so no method changes it: nothing is sent twice, and nothing that is
// reported as cancelled is sent. Such deliveries are counted as Busy. They wait in
// the Spool again when their destination or tenant is suspended.
type Admin struct {
	// Queue is the Queue. Its Spool is required, and for Cancel with a bounce
	// all that a bounce needs. Its Record and NoSubjects should be those of the
	// relay's Queue, or history is not told of what the person does.
	Queue *Queue

	// By is the name of the person, for events and suspensions. Empty means
	// "operator".
	By string
}

// A Selection names the deliveries to change.
type Selection struct {
	store.Filter

	// All must be set for a Filter that selects everything, so that an empty
	// field in a form doesn't.
	All bool

	// After is the key of a delivery: those up to it are left out. So a large change
	// can go on where the one before has ended, with its After.
	After string
}

// A Changed is how many deliveries a method of Admin has changed.
type Changed struct {
	Done int // changed
	Busy int // selected, but leased by a node, and not changed

	// After is the key of the last delivery that was looked at. If a method fails
	// because its context has ended, it has changed what comes before.
	After string
}

var errAll = errors.New("queue: the filter selects all mail: set a field of it, or All")

// List lists deliveries with their mails, in the order of their keys. page.After is
// the Key of the last delivery of the page before. [store.Delivery.State] says
// whether a delivery waits, is held, or is being sent.
func (a *Admin) List(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	spool, err := a.spool()
	if err != nil {
		return nil, err
	}
	return spool.Deliveries(ctx, f, page)
}

// spool returns the Spool, or which field is missing.
func (a *Admin) spool() (store.Spool, error) {
	switch {
	case a.Queue == nil:
		return nil, errors.New("queue: Admin.Queue is required")
	case a.Queue.Spool == nil:
		return nil, errors.New("queue: Admin.Queue.Spool is required")
	}
	return a.Queue.Spool, nil
}

// Count returns how many deliveries match the filter. It reads them all.
func (a *Admin) Count(ctx context.Context, f store.Filter) (n int, err error) {
	err = a.each(ctx, f, "", func(list []store.Leased) error {
		n += len(list)
		return nil
	})
	return n, err
}

// Backlogs returns how much mail of each tenant is for each destination.
func (a *Admin) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	spool, err := a.spool()
	if err != nil {
		return nil, err
	}
	return spool.Backlogs(ctx)
}

// Retry makes deliveries due now. It does not change held ones.
func (a *Admin) Retry(ctx context.Context, s Selection) (Changed, error) {
	return a.change(ctx, s, func(l *store.Leased, now time.Time) (o store.Outcome, e Event, ok bool) {
		o = asIs(&l.Delivery)
		o.Next = now
		return o, &Retried{Subject: a.subject(l), By: a.by()}, !l.Delivery.Held
	})
}

// Hold holds deliveries until they are released. While a delivery is held it is not
// tried and not given up, and it does not age: see [store.Delivery].Idle.
func (a *Admin) Hold(ctx context.Context, s Selection, reason string) (Changed, error) {
	return a.change(ctx, s, func(l *store.Leased, _ time.Time) (o store.Outcome, e Event, ok bool) {
		o = a.Queue.hold(asIs(&l.Delivery), safe(reason))
		return o, &Held{Subject: a.subject(l), Reason: o.Reason, By: a.by()}, !l.Delivery.Held
	})
}

// Release makes held deliveries due now.
func (a *Admin) Release(ctx context.Context, s Selection) (Changed, error) {
	return a.change(ctx, s, func(l *store.Leased, now time.Time) (o store.Outcome, e Event, ok bool) {
		o = asIs(&l.Delivery)
		o.Held, o.Next = false, now
		o.Idle = idle(l, l.Delivery.Next, now)
		return o, &Released{Subject: a.subject(l), By: a.by()}, l.Delivery.Held
	})
}

// change settles the selected deliveries as plan says, which is told when change began;
// those for which ok is false stay as they are.
func (a *Admin) change(ctx context.Context, s Selection, plan func(l *store.Leased, now time.Time) (o store.Outcome, e Event, ok bool)) (Changed, error) {
	if _, err := a.spool(); err != nil {
		return Changed{}, err
	}
	now := a.Queue.now()
	return a.selected(ctx, s, func(list []store.Leased) (Changed, error) {
		var outcomes []store.Outcome
		var events []Event
		for i := range list {
			if o, e, ok := plan(&list[i], now); ok {
				o.Event = a.Queue.journaled(&list[i].Mail, &list[i].Delivery, e)
				outcomes, events = append(outcomes, o), append(events, e)
			}
		}
		return a.settle(ctx, outcomes, events)
	})
}

// settle records outcomes and sends their events. An outcome that is lost belongs to
// a delivery that a node has leased at the same moment.
func (a *Admin) settle(ctx context.Context, outcomes []store.Outcome, events []Event) (Changed, error) {
	if len(outcomes) == 0 {
		return Changed{}, nil
	}
	lost, err := a.Queue.recordOnce(ctx, outcomes)
	if err != nil {
		return Changed{}, err
	}
	for i, o := range outcomes {
		if _, gone := lost[recipientKey{o.Mail, o.N}]; !gone {
			a.Queue.emit(events[i])
		}
	}
	a.Queue.noticed()
	return Changed{Done: len(outcomes) - len(lost), Busy: len(lost)}, nil
}

// selected calls f with the selected deliveries that no node has leased, a page at a
// time, and adds up what it returns.
func (a *Admin) selected(ctx context.Context, s Selection, f func([]store.Leased) (Changed, error)) (all Changed, err error) {
	if s.Since, s.Until = orZero(s.Since), orZero(s.Until); s.Filter == (store.Filter{}) && !s.All {
		return all, errAll
	}
	all.After = s.After
	err = a.each(ctx, s.Filter, s.After, func(list []store.Leased) error {
		var free []store.Leased
		for _, l := range list {
			if l.Delivery.Node != "" {
				all.Busy++
			} else {
				free = append(free, l)
			}
		}
		changed, err := f(free)
		all.Done, all.Busy = all.Done+changed.Done, all.Busy+changed.Busy
		if err == nil {
			all.After = list[len(list)-1].Delivery.Key()
		}
		return err
	})
	return all, err
}

// orZero returns t, or the zero Time if t is the zero time in any time zone.
func orZero(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t
}

// each calls f with the deliveries that match and come after a key, a page at a time.
func (a *Admin) each(ctx context.Context, f store.Filter, after string, do func([]store.Leased) error) error {
	for page := (store.Page{After: after, Limit: leaseBatch}); ; {
		list, err := a.List(ctx, f, page)
		if err != nil || len(list) == 0 {
			return err
		}
		page.After = list[len(list)-1].Delivery.Key()
		if err := do(list); err != nil || len(list) < page.Limit {
			return err
		}
	}
}

func (a *Admin) subject(l *store.Leased) Subject { return subject(&l.Mail, l.Delivery.Recipient) }

func (a *Admin) by() string {
	if a.By != "" {
		return a.By
	}
	return "operator"
}

// asIs is the outcome that leaves a delivery as it is, if no node has leased it.
func asIs(d *store.Delivery) store.Outcome {
	o := untouched(d)
	o.Attempts = d.Attempts
	return o
}
