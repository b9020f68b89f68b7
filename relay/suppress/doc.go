// Package suppress keeps a list of recipients for each tenant to whom mail is not
// accepted: mailboxes that do not exist, people who complained, and addresses that a
// person has entered. Mail to dead addresses costs reputation, since large providers
// count it. A relay without a [List] accepts every recipient, as long as its other rules
// do.
//
// A List stands in three places:
//
//	st := sqlstore.New(db, sqlstore.Postgres)
//	sup := &suppress.List{Store: st, History: st}
//
//	srv := &relay.Server{…, AllowRecipient: sup.AllowRecipient}         // refuses at RCPT
//	hist := &history.History{Store: st, Node: node, Publish: sup.Learn} // learns
//	err := sup.Add(ctx, "acme", "bob@example.net", store.SuppressedByComplaint, "") // your screens
//
// A client that names a recipient on the list is told at RCPT, so that its user sees it,
// and the other recipients of the message are delivered:
//
//	550 5.1.1 RCPT TO: <bob@example.net> is on the suppression list since 2 March 2026:
//	mx.example.net replied 550 5.1.1 No such user
//
// The list of one tenant has no effect on another, and is in none of its replies.
//
// # What is learned
//
// [List.Learn] has the rules, and docs/suppress.md has them as tables. They are cautious,
// because a mistake stops mail that someone waits for:
//
//   - What was learned from replies expires after 30 days, and a later delivery removes it.
//   - One reply is not enough for an address that took mail lately.
//   - One report about a message with several recipients is not enough, since any of them
//     may have written it.
//   - A site that suddenly refuses most of its recipients teaches nothing.
//   - A reply about policy (5.7.x), a full mailbox or the content never counts.
//
// An entry by a person or a complaint stays until a person removes it.
//
// # Cost
//
// A List remembers which addresses are in the Store, 24 bytes for each, and looks at the
// Store only for those, and every 5 seconds for what other processes have added. So a
// recipient that is not on the list costs about as much as a read of a map. The first
// recipient of a tenant waits until its list is read, about 10 ms for 10,000
// addresses. A removal counts at once in every process, since the Store decides. An
// addition counts at once in this process and within [List.Refresh] in others, whose
// clocks must agree to a minute.
package suppress
