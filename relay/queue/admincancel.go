package queue

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Cancel removes deliveries that wait or are held. With bounce their senders are
// told the reason, as when a server refuses a message; the deliveries are held
// first, and stay held if the bounce can't be kept.
func (a *Admin) Cancel(ctx context.Context, s Selection, reason string, bounce bool) (Changed, error) {
	reason = safe(reason)
	if !bounce {
		return a.change(ctx, s, func(l *store.Leased, _ time.Time) (o store.Outcome, e Event, ok bool) {
			return removed(&l.Delivery), &Canceled{Subject: a.subject(l), Reason: reason, By: a.by()}, true
		})
	}
	return a.selected(ctx, s, func(list []store.Leased) (all Changed, err error) {
		for len(list) > 0 && err == nil {
			n := 1 // the deliveries of one mail follow each other
			for n < len(list) && list[n].Delivery.Mail == list[0].Delivery.Mail {
				n++
			}
			var changed Changed
			changed, err = a.bounce(ctx, list[:n], reason)
			all.Done, all.Busy = all.Done+changed.Done, all.Busy+changed.Busy
			list = list[n:]
		}
		return all, err
	})
}

// bounce cancels deliveries of one mail, and tells the sender.
func (a *Admin) bounce(ctx context.Context, list []store.Leased, reason string) (Changed, error) {
	q := a.Queue
	heldBefore := make(map[int]bool)
	for i := range list {
		heldBefore[list[i].Delivery.N] = list[i].Delivery.Held
	}
	list, busy, err := a.stop(ctx, list, "cancelled: "+reason)
	if err != nil || len(list) == 0 {
		return Changed{Busy: busy}, err
	}
	p := newParcel(&list[0].Mail)
	p.mail.ID, p.jobs = list[0].Delivery.Mail, 1
	j := &job{parcel: p, lane: store.Lane{Tenant: p.mail.Tenant}}
	q.dispatcher.holdClaimed([]*job{j})
	defer q.dispatcher.forget(j)
	ends := make([]end, len(list))
	events := make([]Event, len(list))
	for i := range list {
		ends[i] = end{
			delivery: &list[i].Delivery, outcome: removed(&list[i].Delivery), notice: FailureNotice, byName: true,
			err: &relay.ReplyError{Code: 554, Enhanced: "5.7.1", Text: "cancelled: " + reason},
		}
		events[i] = &Canceled{Subject: a.subject(&list[i]), Reason: reason, By: a.by()}
	}
	notices := q.notify(ctx, p, ends)
	outcomes := make([]store.Outcome, len(ends))
	for i := range ends {
		if ends[i].event != nil { // set by postpone
			err := errors.New("queue: the bounce can't be kept, so the deliveries are held and not cancelled")
			return Changed{Busy: busy}, errors.Join(err, a.leftHeld(ctx, list, heldBefore))
		}
		outcomes[i] = ends[i].outcome
		outcomes[i].Event = q.journaled(&p.mail, ends[i].delivery, events[i])
	}
	changed, err := a.settle(ctx, outcomes, events)
	changed.Busy += busy
	if err == nil && len(notices) > 0 {
		q.sendNotices(context.WithoutCancel(ctx), notices, q.recordOnce)
	}
	return changed, err
}

// leftHeld records that deliveries are held now that were not held before.
func (a *Admin) leftHeld(ctx context.Context, list []store.Leased, before map[int]bool) error {
	var outcomes []store.Outcome
	var events []Event
	for i := range list {
		l := &list[i]
		if before[l.Delivery.N] {
			continue
		}
		o, e := asIs(&l.Delivery), &Held{Subject: a.subject(l), Reason: l.Delivery.Reason, By: a.by()}
		o.Event = a.Queue.journaled(&l.Mail, &l.Delivery, e)
		outcomes, events = append(outcomes, o), append(events, e)
	}
	_, err := a.settle(ctx, outcomes, events)
	return err
}

// stop holds deliveries of one mail, so that no node leases them, and returns those
// that it has held, as they are now. busy is how many nodes had leased already.
func (a *Admin) stop(ctx context.Context, list []store.Leased, reason string) (held []store.Leased, busy int, err error) {
	ours := make(map[int]bool)
	var outcomes []store.Outcome
	for i := range list {
		o := asIs(&list[i].Delivery)
		if !o.Held {
			o = a.Queue.hold(o, reason)
		}
		o.Reason = reason
		outcomes = append(outcomes, o)
		ours[o.N] = true
	}
	lost, err := a.Queue.recordOnce(ctx, outcomes)
	if err != nil {
		return nil, 0, err
	}
	for key := range lost {
		delete(ours, key.n)
	}
	// A mail may have far more deliveries than these.
	first, last := list[0].Delivery, list[len(list)-1].Delivery
	first.N--
	filter, page := store.Filter{Mail: last.Mail, State: store.StateHeld}, store.Page{Limit: leaseBatch}
	if first.N >= 0 {
		page.After = first.Key()
	}
	for {
		some, err := a.Queue.Spool.Deliveries(ctx, filter, page)
		if err != nil {
			return nil, 0, err
		}
		for _, l := range some {
			if ours[l.Delivery.N] {
				held = append(held, l)
			}
		}
		if len(some) < page.Limit || some[len(some)-1].Delivery.N >= last.N {
			return held, len(lost), nil
		}
		page.After = some[len(some)-1].Delivery.Key()
	}
}

// removed is the outcome that removes a delivery.
func removed(d *store.Delivery) store.Outcome {
	return store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease, Done: true}
}
