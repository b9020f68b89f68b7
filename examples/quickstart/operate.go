package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

const operations = "-queue= with retry:ID, hold:ID,\nrelease:ID or cancel:ID changes those of a message, or of every message if ID is all"

// operate does what -queue asks for. An Admin works on the Spool, so it may be in
// another process than the relay.
func operate(ctx context.Context, spool store.Spool, log *slog.Logger) (err error) {
	admin := &queue.Admin{Queue: &queue.Queue{Spool: spool, Hostname: hostname, Logger: log}}
	name, id, _ := strings.Cut(operation, ":")
	mail := queue.Selection{Filter: store.Filter{Mail: id}}
	if id == "all" {
		mail = queue.Selection{All: true}
	}
	var changed queue.Changed
	switch name {
	case "true":
		return list(ctx, admin, log)
	case "retry":
		changed, err = admin.Retry(ctx, mail)
	case "hold":
		changed, err = admin.Hold(ctx, mail, "held by -queue")
	case "release":
		changed, err = admin.Release(ctx, mail)
	case "cancel":
		changed, err = admin.Cancel(ctx, mail, "cancelled by -queue", false)
	default:
		return errors.New(operations)
	}
	log.Info(name, "changed", changed.Done, "being_sent", changed.Busy)
	return err
}

// list prints every recipient in the queue: waiting, being sent, held, or suspended
// with its destination or tenant.
func list(ctx context.Context, admin *queue.Admin, log *slog.Logger) error {
	suspensions, err := admin.Suspensions(ctx)
	if err != nil {
		return err
	}
	var page store.Page
	for {
		found, err := admin.List(ctx, store.Filter{}, page)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, f := range found {
			d := f.Delivery
			state, next, reason := "waiting", d.Next, d.Reason
			for _, s := range suspensions {
				if s.Tenant == f.Mail.Tenant || s.Tenant == "" && s.Destination == d.Destination {
					state, next, reason = "suspended", s.Until, s.Reason
				}
			}
			switch d.State() {
			case store.StateHeld:
				state, reason = "held", d.Reason
			case store.StateLeased:
				state = "sending"
			}
			log.Info(state, "id", d.Mail, "tenant", f.Mail.Tenant, "from", f.Mail.From, "to", d.Recipient,
				"destination", d.Destination, "attempts", d.Attempts, "next_try", next, "reason", reason)
		}
		page.After = found[len(found)-1].Delivery.Key()
	}
}
