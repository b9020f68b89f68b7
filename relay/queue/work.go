package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/stack"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

var (
	errStopped  = errors.New("queue: stopped") // Run has ended
	errNoAnswer = errors.New("queue: no answer in time")
	errNotTried = errors.New("queue: not tried")
	errNobody   = errors.New("queue: the forwarder refused recipients, but none of these")
	errPanic    = errors.New("queue: the forwarder panicked")
)

// A result is the result of an attempt for one recipient.
type result struct {
	store.Delivery
	err     error // nil: delivered
	untried bool  // nothing was tried: the destination is down
	byName  bool  // it was refused by name
	taken   relay.NextHop
}

// work tries a job, and records the results.
func (q *Queue) work(r *run, j *job) {
	stack.Grow()
	if j.due[0].Node != q.nodeID() { // this node was taken for dead, and has joined again
		q.dispatcher.leave(j)
		q.returnJob(r, j)
		return
	}
	if q.isStale() {
		if _, ok := q.dispatcher.postpone(j, false, anySlots, ""); !ok {
			q.returnJob(r, j)
			return
		}
		q.rest() // until the node is renewed
		q.dispatcher.resume(j.lane)
		return
	}
	ctx, cancel := context.WithTimeout(r.attempts, attemptTime)
	began := time.Now()
	results, err := q.attempt(ctx, j.parcel, j.due, q.onReached(r, j))
	cancel()
	if busy := isBusy(err); busy != nil && r.attempts.Err() == nil {
		q.awaitSlot(r, j, busy)
		return
	}
	if !errors.Is(err, errNotTried) {
		q.counters.tried(time.Since(began))
	}
	q.note(r, j, err)
	beside := q.dispatcher.handOver()
	if !beside {
		defer q.dispatcher.leave(j)
	} else {
		q.dispatcher.leave(j)
		defer q.dispatcher.finished()
	}
	if q.dispatcher.claim(j) {
		q.finish(r, j, results)
	}
}

// attempt hands a message on for the deliveries due, and returns one result for
// each. If Next refuses some recipients and takes the message for none, attempt
// hands it on again at once without them. The error is nil if Next took
// the message for any recipient. Next calls reached, which may be nil.
func (q *Queue) attempt(ctx context.Context, p *parcel, due []store.Delivery, reached func()) ([]result, error) {
	m, err := q.load(ctx, p)
	if err != nil {
		return all(due, stopped(ctx, err)), errNotTried
	}
	var results []result
	for len(due) > 0 {
		hops, err := q.try(ctx, m, due, reached)
		refused, rest, partial := split(ctx, due, err)
		results = append(results, refused...)
		if len(refused) == 0 && isRefused(err) {
			err = errNobody
		}
		switch {
		case err == nil || partial:
			return append(results, hops.delivered(rest)...), nil
		case len(refused) == 0:
			return append(results, all(rest, err)...), err
		}
		due = rest
	}
	return results, nil
}

// try calls Next.
func (q *Queue) try(ctx context.Context, m *relay.Message, due []store.Delivery, reached func()) (_ *hops, err error) {
	h := new(hops)
	c := m.WithRecipients(recipients(due))
	c.Partial, c.NoWait, c.Attempt = true, true, max(due[0].Attempts, 1)
	c.OnDelivered, c.OnReached = h.add, reached
	defer func() {
		if p := recover(); p != nil {
			q.logPanic("Next", p)
			err = errPanic
		}
	}()
	err = q.Next.Forward(ctx, c)
	tryOut(err)
	if err != nil && !answered(err) {
		err = stopped(ctx, err)
	}
	return h, err
}

// hops are the servers that took a message. A forwarder that was given up on may
// still call add.
type hops struct {
	mu     sync.Mutex
	all    *relay.NextHop           // of the recipients that no server has named
	byAddr map[string]relay.NextHop // of the others
}

// add records a server. If two servers claim the same recipients, the one without
// DSN counts, because nothing confirms the delivery there.
func (h *hops) add(d relay.NextHop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hop := relay.NextHop{Host: safe(d.Host), Reply: safe(d.Reply), DSN: d.DSN}
	if d.Recipients == nil {
		if h.all == nil || h.all.DSN || !hop.DSN {
			h.all = &hop
		}
		return
	}
	if h.byAddr == nil {
		h.byAddr = make(map[string]relay.NextHop, len(d.Recipients))
	}
	for _, addr := range d.Recipients {
		if old, ok := h.byAddr[addr]; !ok || old.DSN || !hop.DSN {
			h.byAddr[addr] = hop
		}
	}
}

// delivered returns the results of deliveries that were taken.
func (h *hops) delivered(due []store.Delivery) []result {
	h.mu.Lock()
	defer h.mu.Unlock()
	results := all(due, nil)
	for i := range results {
		hop, ok := h.byAddr[results[i].Recipient]
		if !ok && h.all != nil {
			hop = *h.all
		}
		results[i].taken = hop
	}
	return results
}

// tryOut calls what will be called of an error, where a panic in it (of a nil
// *relay.ReplyError, say) is caught.
func tryOut(err error) {
	if err == nil {
		return
	}
	reasonOf(err)
	replyIn(err)
	relay.Temporary(err)
	unreachable(err)
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			tryOut(r.Err)
		}
	}
}

// stopped says of an error whether it is only the end of ctx.
func stopped(ctx context.Context, err error) error {
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	case context.Canceled:
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	return err
}

// isRefused reports whether err is a *relay.RefusedError.
func isRefused(err error) bool {
	var re *relay.RefusedError
	return errors.As(err, &re) && re != nil
}

// split separates the deliveries that err refuses by name from the rest. If
// partial is true, the message was taken for the rest.
func split(ctx context.Context, due []store.Delivery, err error) (refused []result, rest []store.Delivery, partial bool) {
	if !isRefused(err) {
		return nil, due, false
	}
	var re *relay.RefusedError
	errors.As(err, &re)
	reasons := make(map[string]error, len(re.Recipients))
	for _, r := range re.Recipients {
		reason := r.Err
		switch {
		case reason == nil:
			reason = errors.New("queue: refused without a reason")
		case !answered(reason):
			reason = stopped(ctx, reason)
		}
		reasons[r.Address] = reason
	}
	for _, d := range due {
		if reason := reasons[d.Recipient]; reason != nil {
			refused = append(refused, result{Delivery: d, err: reason, byName: true})
		} else {
			rest = append(rest, d)
		}
	}
	return refused, rest, re.Partial
}

// all makes the same result of all deliveries.
func all(due []store.Delivery, err error) []result {
	results := make([]result, len(due))
	for i, d := range due {
		results[i] = result{Delivery: d, err: err}
	}
	return results
}
