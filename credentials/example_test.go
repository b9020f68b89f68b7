package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A customer gets a domain and an SMTP user, and a tool logs in with it.
func Example() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}

	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(ctx, "Acme.Example"); err != nil {
		log.Fatal(err)
	}
	user, password, err := acme.AddUser(ctx, "acme.example", "WordPress")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: a username of %d characters, a password of %d, printed as %v\n",
		user.Name, len(user.Username), len(password.Reveal()), password)

	// The tool sends both.
	sent := credentials.NewPassword(password.Reveal())
	id, err := creds.Authenticate(ctx, user.Username, sent, netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sends from", id.Domain)
	// Output:
	// WordPress: a username of 20 characters, a password of 26, printed as [redacted]
	// sends from acme.example
}

// A reset revokes the old password and the sessions that used it.
func ExampleTenant_ResetPassword() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	user, old, err := acme.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		log.Fatal(err)
	}
	from := netip.MustParseAddr("192.0.2.1")
	session, _ := creds.Authenticate(ctx, user.Username, old, from)
	fmt.Println("before:", creds.Validate(ctx, session))

	fresh, err := acme.ResetPassword(ctx, user.Username)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("after: ", creds.Validate(ctx, session))
	_, err = creds.Authenticate(ctx, user.Username, old, from)
	fmt.Println("old:   ", err)
	_, err = creds.Authenticate(ctx, user.Username, fresh, from)
	fmt.Println("new:   ", err)
	// Output:
	// before: <nil>
	// after:  credentials: revoked
	// old:    credentials: access denied
	// new:    <nil>
}

// A rotation keeps the old password until the tool has the new one.
func ExampleTenant_RotatePassword() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	user, old, err := acme.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		log.Fatal(err)
	}
	fresh, err := acme.RotatePassword(ctx, user.Username, 7*24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	login := func(p credentials.Password) error {
		_, err := creds.Authenticate(ctx, user.Username, p, netip.Addr{})
		return err
	}
	fmt.Println("old:", login(old), "new:", login(fresh))
	if user, err = acme.User(ctx, user.Username); err == nil && !user.NewConnection.IsZero() {
		err = acme.EndOverlap(ctx, user.Username) // the tool has the new password
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("old:", login(old), "new:", login(fresh))
	// Output:
	// old: <nil> new: <nil>
	// old: credentials: access denied new: <nil>
}

// A user that may log in from one network only.
func ExampleTenant_SetNetworks() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	user, password, err := acme.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		log.Fatal(err)
	}
	err = acme.SetNetworks(ctx, user.Username, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	if err != nil {
		log.Fatal(err)
	}
	for _, from := range []string{"192.0.2.7", "198.51.100.7"} {
		_, err := creds.Authenticate(ctx, user.Username, password, netip.MustParseAddr(from))
		fmt.Println(from, err)
	}
	// Output:
	// 192.0.2.7 <nil>
	// 198.51.100.7 credentials: access denied: from a network that is not allowed
}

// A suspended user can log in, but not send.
func ExampleTenant_SuspendUser() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	user, password, err := acme.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		log.Fatal(err)
	}
	if err := acme.SuspendUser(ctx, user.Username, "unpaid since 1 November"); err != nil {
		log.Fatal(err)
	}
	session, err := creds.Authenticate(ctx, user.Username, password, netip.Addr{})
	fmt.Println("login:", err)
	var suspended *credentials.SuspendedError
	if errors.As(creds.Validate(ctx, session), &suspended) {
		fmt.Println("suspended:", suspended.Reason)
	}
	// Output:
	// login: <nil>
	// suspended: unpaid since 1 November
}

// OnEvent reports revoked passwords, for example to end sessions.
func ExampleManager_onEvent() {
	ctx := context.Background()
	var session credentials.Identity
	creds := &credentials.Manager{Store: new(memory.Store)}
	creds.OnEvent = func(e credentials.Event) {
		if e.Revokes(session) {
			fmt.Printf("the session ends: %T\n", e)
		}
	}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	user, password, err := acme.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		log.Fatal(err)
	}
	session, err = creds.Authenticate(ctx, user.Username, password, netip.Addr{})
	if err != nil {
		log.Fatal(err)
	}
	if err := acme.DeleteDomain(ctx, "acme.example"); err != nil {
		log.Fatal(err)
	}
	// Output: the session ends: *credentials.DomainDeleted
}

// All users of a domain, page by page.
func ExampleTenant_Users() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	acme.AddDomain(ctx, "acme.example")
	for i := range 5 {
		if _, _, err := acme.AddUser(ctx, "acme.example", fmt.Sprint("tool ", i)); err != nil {
			log.Fatal(err)
		}
	}

	query := store.Query{Limit: 2}
	for {
		users, found, err := acme.Users(ctx, "acme.example", query)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(users), "of", found.All)
		if found.Next == "" {
			break
		}
		query.After = found.Next
	}
	// Output:
	// 2 of 5
	// 2 of 5
	// 1 of 5
}

// The reason of an InvalidError can be shown to the person who typed the value.
func ExampleInvalidError() {
	creds := &credentials.Manager{Store: new(memory.Store)}
	_, err := creds.Tenant("acme").AddDomain(context.Background(), "billing@acme.example")
	var invalid *credentials.InvalidError
	if errors.As(err, &invalid) {
		fmt.Printf("Please check the %s: %s.\n", invalid.Field, invalid.Reason)
	}
	// Output: Please check the domain: it is a mail address, not a domain.
}

func ExampleNormalizeDomain() {
	for _, name := range []string{"Acme.Example.", "münchen.de", "localhost"} {
		fmt.Println(credentials.NormalizeDomain(name))
	}
	// Output:
	// acme.example <nil>
	// xn--mnchen-3ya.de <nil>
	//  credentials: invalid domain: it has only one label; use a name such as example.com
}
