// Package webhook sends events to the servers of the product's customers, over HTTPS
// and signed as Standard Webhooks says (https://www.standardwebhooks.com).
//
// A webhook is mail to a URL: a [Sender] keeps each event in a Spool of its own, with
// a queue that survives crashes, retries, and keeps slow endpoints from delaying
// others. The Spool must not be the one of the relay's own queue. On SQL it is a
// second store: with another TablePrefix in the same database or, on SQLite, better in
// a file of its own, because the writers of one file wait for each other:
//
//	spool := sqlstore.New(db, sqlstore.Postgres)
//	spool.TablePrefix = "hooks_"
//	if err := spool.Migrate(ctx); err != nil { … }
//
//	hooks := &webhook.Sender{
//		Queue:     queue.Queue{Spool: spool, Node: node}, // node: another name in each process
//		Endpoints: product.Endpoints,
//	}
//	go hooks.Run(ctx)
//
//	hist := &history.History{Store: st, Node: node, Publish: hooks.Publish}
//
// [Sender.Publish] takes the events that a [history.History] publishes. It returns when
// they are durable or the Spool is full, and does not wait for any endpoint. Other events
// of the product, such as a domain that was verified, go through [Sender.Send].
//
// # Which endpoints
//
// A product that has a table of endpoints gives a function in Sender.Endpoints. For
// others a [Manager] keeps them in a Store: it makes and seals the secrets, limits how many
// a tenant has, switches off what answers 410 or fails for days, and keeps the last
// requests for a screen.
//
// # Which requests
//
// A request is a POST with a JSON object: type, timestamp and data. The file
// docs/webhooks.md describes it for those who receive it. The header webhook-id names
// the event. It is the same each time the event is sent, so that a receiver can
// ignore an event that it has.
//
// Each event is sent at least once, until it is answered 2xx or given up, except those
// that Publish leaves out because the Spool is full. The events of one message arrive in
// the order in which they were published as long as no request fails and
// Queue.PerDestination is 1. Otherwise a later event may arrive first, and timestamp says
// which is newer.
//
// # What an answer leads to
//
//	answer                                   the event
//	2xx                                      is done
//	410                                      is given up, and OnGone is called
//	429, or 503 with Retry-After             is sent again after the pause that the endpoint asked for, at most an hour
//	502, 503, 504, no answer, or no connection   is sent again; the endpoint is suspended and probed
//	any other, redirects included            is sent again
//	the tenant has no such endpoint any more is given up
//
// An event is sent again after 5 s, 5 min, 30 min, 2 h and then every 4 h, each time up
// to a fifth later, until it is three days old (Queue.Expire). While an endpoint is
// suspended, one event at a time is sent as a probe, at growing intervals of up to two
// minutes, and the first that is answered ends the suspension.
//
// Queue.OnEvent is told of each delivery: *queue.Delivered, *queue.Deferred,
// *queue.Bounced for an event that was given up at once, and *queue.Expired. Their
// Recipient is the endpoint's ID, "@" and the tenant; their Reply has the HTTP
// status. If events of an endpoint expire, the product should switch it off. A Manager
// does so by itself.
//
// # Where requests go
//
// A customer decides what the URL is, so a Sender restricts it. The scheme must be
// https. The address is checked when the connection is made, after the look-up, so a
// name that changes its address does not help: only public addresses are allowed
// (see [mx.IsPublic]), unless AllowAddr says otherwise. The log has addresses that are not
// allowed; the customer reads only that the name has no address that is allowed, or does
// not exist. If this network treats some public addresses as its own, AllowAddr should
// refuse those too. Redirects are not followed, and proxies from the environment are not
// used. Of an answer at most 16 KiB of header and 4 KiB of body are read, and the body is
// ignored.
package webhook
