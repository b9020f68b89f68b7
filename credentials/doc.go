// Package credentials manages the SMTP users of a product's customers: it
// generates usernames and passwords, checks logins, and revokes them.
//
// A product has tenants, its customers. A tenant adds sending domains, and to each
// domain SMTP users, one for each tool that sends mail. A person gives a user a
// descriptive name such as "WordPress". Username and password are generated.
//
//	creds := &credentials.Manager{Store: new(memory.Store)}
//	acme := creds.Tenant("acme")
//	_, err := acme.AddDomain(ctx, "acme.example")
//	…
//	user, password, err := acme.AddUser(ctx, "acme.example", "WordPress")
//	…
//	fmt.Println(user.Username, password.Reveal()) // the only time it is shown
//
// A [Tenant] can see and change only its own domains and users. Take its ID from
// the session of the person who uses the product: then a username in a request
// cannot reach another customer's user. For anything that belongs to another
// tenant the error is store.ErrNotFound.
//
// # Passwords
//
// [Tenant.AddUser] and [Tenant.ResetPassword] return a new password once. The
// store keeps its argon2id hash. A [Password] can be passed on, logged and encoded
// without revealing its text, which only [Password.Reveal] returns.
//
// [Tenant.RotatePassword] lets the old password work beside the new one for a while.
//
// # Logins
//
// A relay calls [Manager.Authenticate] for each login. It gets an [Identity], which
// says for which user it accepts mail. Before it accepts a message it calls
// [Manager.Validate] to check that the Identity is still valid:
//
//	id, err := creds.Authenticate(ctx, username, credentials.NewPassword(sent), clientAddr)
//	switch {
//	case errors.Is(err, credentials.ErrDenied): // 535 5.7.8
//	case err != nil: // 454 4.7.0: busy, or a failure of the store
//	}
//
// A reset or a delete applies as soon as the store has it, on every node that
// shares the store: the old password fails, and Validate returns [ErrRevoked]. To
// end idle sessions of this process at once, use [Manager.OnEvent] and
// [Event.Revokes].
//
// [Tenant.SetNetworks] limits a user to networks. A login from elsewhere fails with
// [ErrNetwork], which the client cannot tell from a wrong password.
//
// # Suspensions
//
// [Tenant.SuspendUser] and [Tenant.SuspendDomain] stop a user, or all users of a
// domain, until they are resumed. The user can log in, and its client is told the
// reason when it sends. [Manager.Validate] then returns a [*SuspendedError].
//
// # Load and guessing
//
// A login that this process has seen before, good or bad, costs a store read and
// microseconds. Any other login costs an argon2id hash. Two cores compute about
// 50 hashes a second at the default [Cost]; BenchmarkRestart measures another
// machine. At most GOMAXPROCS hashes run at once, so memory is bounded.
//
// During a flood of guesses, from any number of addresses:
//   - No number of wrong passwords locks a username.
//   - A tool that has logged in to this process before is not delayed.
//   - A tool at the address of its user's last connection shares half of the
//     hashes with other such tools only, and waits up to 30 seconds. So after a
//     restart, 750 tools that log in at once are served. Without a flood it is
//     1,500. Further tools get [ErrBusy] and succeed when they retry.
//   - A login from a new address waits up to 5 seconds, behind addresses that have
//     not guessed in the last ten minutes and before those that have. A flood
//     from 1,000 new addresses delays it during the first 20 seconds, and it may
//     then get ErrBusy. Only a flood from 15,000 addresses or more can delay it
//     all the time.
//
// These numbers are for 50 hashes a second and grow with that rate. See
// [Manager.Authenticate] for each limit.
//
// A login with an unknown username costs one hash at [Manager].Cost. If Cost
// has changed, response time distinguishes users with old hashes from unknown
// usernames until their passwords are reset.
package credentials
