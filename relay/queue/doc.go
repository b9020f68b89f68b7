// Package queue keeps mail until it is delivered, or the sender is told why it
// can't be.
//
// A [Queue] is a [relay.Forwarder] that wraps another. Put between a relay and
// its upstream, it changes what 250 means: from "the upstream has it" to "it is
// safe here, and will arrive or bounce", whatever happens to the upstream, this
// process or this machine.
//
//	q := &queue.Queue{Spool: st, Next: upstream, Hostname: "relay.example.net", Node: "relay1"}
//	srv := &relay.Server{Forwarder: q, …}
//	go q.Run(ctx)
//
// Forward returns when the Spool has the message, and Run delivers it. Usually
// that is at once and from memory; the Spool is only read for what didn't fit
// there, for what is to be tried again, and for what a dead process had.
//
// # Nodes
//
// Any number of processes, called nodes, may share a Spool. Each leases what it
// works on. If a node dies, another takes over within [Queue].Lease. A node that
// starts with the [Queue].Node of the one before takes over at once. The time of
// the Spool counts, not that of each machine.
//
// If a node dies while it has leased a message, the message is tried again in a
// smaller group each time, and at last alone. If a node dies then too, the message
// is held, with a [Held] event. An orderly stop counts no attempt.
//
// # What becomes of a recipient
//
// Every recipient of a message is settled by itself:
//
//	Next returns                                   the recipient is
//	nil                                            delivered
//	a *relay.RefusedError that names it, final     bounced
//	a *relay.RefusedError that names it, else      deferred
//	a partial one that names others                delivered
//	another one that names others                  handed on again at once, without them
//	another error that is final                    bounced
//	another error, or it panics, or takes 30 min   deferred
//
// What is deferred is tried again after [Queue].Retry, until the message is
// older than [Queue].Expire. Even then it is given up only after one more try by
// the process that gives it up, or when its destination is known to be down.
//
// A message arrives twice in three cases. The process is killed between the other
// server's 250 and the record of it. Or the process can't reach the Spool for half a
// lease or more during an attempt. Or Put's reply was lost, and the message had been
// delivered by the time Put was repeated.
//
// A Next that doesn't return when its context ends counts as under way until it does.
//
// # Destinations
//
// Where mail goes to several hosts, [Queue].Destination says which recipients go
// to the same. Tenants take turns, and so do the destinations of a tenant. Each
// destination has a limit of its own, and one that fails doesn't slow the others.
//
// If no server was reached in an attempt (the error has a method Unreachable() bool
// that returns true, or is a network error), the destination is suspended for all
// nodes, in the Spool: what goes there is not tried. One message at a time is sent
// as a probe, a second later and then at growing intervals of up to two minutes. The
// suspension ends when a probe is answered, or when Next calls
// [relay.Message].OnReached for it. A failed probe counts as an attempt of
// all that waits: a message that is older than [Queue].Expire is then given up.
//
// If [relay.Internal] is true of the error, the failure is about a server of the
// operator's own. The delivery and the suspension then have [store.InternalReason] and what
// went wrong; what Record keeps for the tenant has only the former.
//
// # Bounces
//
// What is given up is reported to the envelope sender in a message that says in
// plain words which recipient, what the other server said and what to do, and
// again in a form for programs (RFC 3464). All failures of an attempt are in one
// report. It comes from the null reverse-path and mailer-daemon@ the Hostname,
// and goes out through the queue and Next like any other mail, so that it is
// signed if Next signs. Mail from the null reverse-path is never reported.
// After four hours a sender is told, once, that a message waits.
//
// The DSN parameters (RFC 3461) are honoured: NOTIFY says what is reported; RET
// whether a bounce returns the message or its header; ORCPT and ENVID are in the
// report. A bounce returns the header only, whatever RET says, if the message is
// larger than 50 KB, has lines that are too long, was refused for its size, or has
// REQUIRETLS (RFC 8689 section 5); the bounce itself is sent without REQUIRETLS. If
// a bounce is refused for good, but not its recipient, it is sent once more without
// the returned part. If that is refused too, the [Bounced] event says so.
//
// A sender who asks for a report of success gets it from the server that delivers
// the message, to which the request is passed on. If the next server (of several:
// any of them) has no DSN, or Next doesn't say (see [relay.Message].OnDelivered),
// the sender is told instead that the message was relayed (RFC 3461 sections 5.2.2
// and 5.2.4). If the Spool can't keep that report, the report is lost: the message
// was delivered and isn't sent again for it.
//
// [Queue].Bounce replaces the words, or, returning nothing, switches reports
// off; the [Event] tells what happened in any case.
//
// # Tests with real parts
//
// The queue is tested with databases, killed processes, power cuts and misbehaving
// upstreams in internal/integration/chaos.
package queue
