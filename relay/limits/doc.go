// Package limits accepts no more recipients than a plan allows: in a month, a day or an
// hour, of a tenant, a domain or a user. A relay without a [Limiter] accepts them all.
//
// A Limiter stands between the server and the queue:
//
//	st := sqlstore.New(db, sqlstore.Postgres)
//	q := &queue.Queue{Spool: st, Node: node, Record: true, …}
//	lim := &limits.Limiter{Store: st, Limits: plans.Of, OnNotice: plans.Notify, Next: q}
//	srv := &relay.Server{…, Forwarder: lim, AllowUser: lim.AllowUser}
//	hist := &history.History{Store: st, Node: node}
//	for _, run := range []func(context.Context) error{q.Run, hist.Run, lim.Run} { go run(ctx) }
//
// A client whose limit is used up is told so at MAIL or at the end of the data:
//
//	550 5.7.1 the monthly limit of 10,000 recipients is used up (10,000 of 10,000);
//	it begins anew on 14 December 2026
//
// # What is counted
//
// Each recipient of a message that the relay has answered with 250 counts once, whether it
// is delivered or bounces. A recipient that was refused does not count, and neither
// do bounces and other mail that the relay writes. The event that package queue records in
// the step that keeps the message is what is charged, so nothing is counted twice or
// lost, whatever is killed when. history.History charges what waits, about once a
// second, so it has to run in some process.
//
// # Any number of processes
//
// A process reserves some recipients of a limit as a grant, and uses them up without
// asking again. So a message waits for nothing in most cases, and 10,000 messages a
// second on four nodes make a few calls of Reserve a second. Near the end of a
// limit processes reserve less and less. A process gives back after 30 seconds the part
// that it does not use. The part of a killed process is free again about six minutes
// later, once all that was recorded before is applied. Until then a client is told
// 451 4.7.1, and can try again.
//
// No more than Max are accepted, unless a process stands still for more than a minute
// between its look at the limit and the Spool's answer, or clocks differ by more than a
// minute. Then it may be as many more as the process held.
//
// # Changes of a plan
//
// Nothing resets a count within a period. A raise counts at once, in every process,
// because each asks for the limits again before it refuses a message; a lower Max
// counts within a minute. A new Anchor or time zone begins a period, and that begins with
// what the hourly counts of history say was accepted since its beginning. A limit that is
// new does the same.
package limits
