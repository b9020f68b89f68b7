package queue

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is about time that does not age mail: while a person holds a delivery, or
// suspends its destination or tenant. Of a held delivery, Next is when it was held.

// hold returns the outcome that holds a delivery from now on.
func (q *Queue) hold(o store.Outcome, reason string) store.Outcome {
	o.Held, o.Next, o.Reason = true, q.now(), reason
	return o
}

// idle returns the Idle of a delivery that was idle from a time until now. It is never
// more than the age of the mail.
func idle(l *store.Leased, from, now time.Time) time.Duration {
	age := now.Sub(l.Mail.Received)
	return min(l.Delivery.Idle+max(min(now.Sub(from), age), 0), max(age, 0))
}

// rested adds the time of a person's suspension to the mail that waited for its end.
// Held deliveries have a time of their own.
func (a *Admin) rested(ctx context.Context, s store.Suspension, now time.Time) error {
	if s.By == "" {
		return nil
	}
	filter := store.Filter{Tenant: s.Tenant, State: store.StateWaiting}
	if s.Tenant == "" {
		filter.Destination, filter.ToDestination = s.Destination, true
	}
	return a.each(ctx, filter, "", func(list []store.Leased) error {
		outcomes := make([]store.Outcome, len(list))
		for i := range list {
			outcomes[i] = asIs(&list[i].Delivery)
			outcomes[i].Idle = idle(&list[i], s.Since, now)
		}
		_, err := a.Queue.recordOnce(ctx, outcomes) // those that are lost did not wait
		return err
	})
}
