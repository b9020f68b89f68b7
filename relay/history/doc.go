// Package history shows tenants what became of their mail: one activity for each
// recipient of a message, with its state and every event, refusals too, and counts for
// statistics.
//
//	hist := &history.History{Store: st, Node: node}
//	q := &queue.Queue{Spool: st, Node: node, Record: true, Next: upstream}
//	srv := &relay.Server{Forwarder: q, OnEvent: hist.OnRelayEvent, …}
//	go q.Run(ctx)
//	go hist.Run(ctx)
//
// With Record set, the queue keeps an event of each step in the transaction that does
// the step: a message is kept, delivered or bounced. So no crash separates an event from
// its step. A second later, [History.Run] makes activities and counts of the events. Any
// number of processes may call Run: one of them works. Refusals never reach the queue,
// so [History.OnRelayEvent] records them.
//
// Set Record only if a process calls Run, because events that wait take up room.
// [History.Backlog] says how many wait.
//
// # Questions
//
// [History.Tenant] answers questions about one tenant:
//
//	acme := hist.Tenant("acme")
//	page, err := acme.Activities(ctx, store.ActivityFilter{Recipient: "bob@example.com"})
//	recipients, err := acme.Mail(ctx, page.List[0].Mail, store.RecipientFilter{})
//	stats, err := acme.Statistics(ctx, history.Last(7, time.Now(), location), "", "")
//
// # States
//
//	ActivityRejected     the relay refused the message, the recipient, or the login
//	ActivityAccepted     the relay keeps it, for less than a minute so far
//	ActivityPending      it waits: for its turn, for its destination, or for a person
//	ActivityDeferred     an attempt failed, and there will be another
//	ActivityDelivered    the next server has taken it
//	ActivitySoftBounced  given up after temporary failures
//	ActivityHardBounced  refused for good
//	ActivityCanceled     a person took it out of the queue
//
// The last four are final, except that Delivered becomes a bounce if the recipient's
// server reports later that it could not deliver: see [History.Bounced].
//
// # Other programs
//
// [History].Publish gets every event, at least once each. Webhooks and the list of
// suppressed addresses get theirs there. Learn comes first, so that no webhook is sent
// again while it fails:
//
//	hist.Publish = func(ctx context.Context, events []store.Event) error {
//		if err := list.Learn(ctx, events); err != nil {
//			return err
//		}
//		return hooks.Publish(ctx, events)
//	}
package history
