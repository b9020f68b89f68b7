// Package credentials keeps the rules for sending domains and SMTP users: who
// has which, how usernames and passwords are made, when a login is good and
// when it is no longer.
//
// A product has tenants, its customers. A tenant adds domains, and to each
// domain SMTP users, one for each tool that is to send mail. A person gives a
// user a name ("WordPress"); username and password are made here.
//
//	creds := &credentials.Manager{Store: new(memory.Store)}
//	acme := creds.Tenant("acme")
//	_, err := acme.AddDomain(ctx, "acme.example")
//	…
//	user, password, err := acme.AddUser(ctx, "acme.example", "WordPress")
//	…
//	fmt.Println(user.Username, password.Reveal()) // this once
//
// A [Tenant] sees and changes what is its own and nothing else: give it the ID
// of whoever is logged in to the product, and no username in a request reaches
// another customer's user. What belongs to somebody else is store.ErrNotFound.
//
// # Passwords
//
// A password is shown once, by the caller of [Tenant.AddUser] or
// [Tenant.ResetPassword], who gets it as a [Password]; the store has its
// argon2id hash. A Password can be passed on, logged and encoded without giving
// anything away, and [Password.Reveal] is the only way to its text.
//
// # Logins
//
// A relay asks [Manager.Authenticate] at each login and gets an [Identity],
// which says for whom it takes mail. Before it takes a message it asks
// [Manager.Validate] whether the identity is still good:
//
//	id, err := creds.Authenticate(ctx, username, credentials.NewPassword(sent), clientAddr)
//	switch {
//	case errors.Is(err, credentials.ErrDenied): // 535 5.7.8
//	case err != nil: // 454 4.7.0: busy, or trouble with the store
//	}
//
// A reset or a delete counts from the moment the store has it, on every node
// that shares the store: new logins with the old password fail, and Validate
// answers [ErrRevoked]. To end idle sessions of this process at once, use
// [Manager.OnEvent] and [Event.Revokes].
//
// # Load and guessing
//
// A login that this process has seen before, good or bad, costs a store read and
// microseconds. Any other login costs an argon2id hash. Two cores compute 60
// hashes a second at the default [Cost] and at most GOMAXPROCS at once, so memory
// is bounded. BenchmarkRestart measures another machine.
//
// This holds under a flood of guesses, from however many addresses:
//   - No number of wrong passwords locks a username.
//   - A tool that has logged in to this process before is not delayed.
//   - A tool at the address of its user's last connection shares half of the
//     hashes with other such tools only, and waits up to 30 seconds. So after a
//     restart 900 tools that log in at once are served, and 1,800 without a
//     flood. More than that get [ErrBusy] and succeed when they retry.
//   - A login from a new address waits behind the addresses that have not guessed
//     in the last ten minutes, and only for 5 seconds. A flood of 1,000 new
//     addresses delays it for 17 seconds once, in which it may get ErrBusy. A flood
//     has to come from 18,000 addresses or more to delay it for good.
//
// These numbers are for 60 hashes a second and grow with it. See
// [Manager.Authenticate] for each limit.
//
// The work for a username that doesn't exist is that of [Manager].Cost. Users
// whose passwords were made at another cost are told apart by it from those who
// don't exist, until their passwords are reset.
//
// # Tests with real parts
//
// Logins on real databases and with real mail programs are tested in
// internal/integration/conformance and internal/integration/e2e.
package credentials
