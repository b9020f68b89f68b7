package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

func TestAuthenticateReturnsIdentity(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
		want := credentials.Identity{Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 1}
		if id != want || err != nil {
			t.Errorf("got %+v, %v; want %+v", id, err, want)
		}
		must(t, f.Validate(t.Context(), id))
	}
}

func TestValidateRefusesOtherIdentities(t *testing.T) {
	f := newFixture(t)
	good, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	for _, tc := range []struct {
		what   string
		change func(*credentials.Identity)
	}{
		{"no fields", func(id *credentials.Identity) { *id = credentials.Identity{} }},
		{"another username", func(id *credentials.Identity) { id.Username += "x" }},
		{"another tenant", func(id *credentials.Identity) { id.Tenant = "other" }},
		{"another domain", func(id *credentials.Identity) { id.Domain = "other.example" }},
		{"another generation", func(id *credentials.Identity) { id.Generation++ }},
	} {
		id := good
		tc.change(&id)
		if err := f.Validate(t.Context(), id); !errors.Is(err, credentials.ErrRevoked) {
			t.Errorf("%s: error is %v, want ErrRevoked", tc.what, err)
		}
	}
}

// Copying may add white space, and some tools change the case of a username.
func TestAuthenticateIgnoresWhatPastingAdds(t *testing.T) {
	f := newFixture(t)
	user, password := f.user.Username, f.password.Reveal()
	for _, tc := range []struct{ what, username, password string }{
		{"upper-case username", strings.ToUpper(user), password},
		{"capitalised username", strings.ToUpper(user[:1]) + user[1:], password},
		{"space around the username", " " + user + "\t", password},
		{"line break behind the username", user + "\r\n", password},
		{"space behind the password", user, password + " "},
		{"line break behind the password", user, password + "\n"},
		{"CRLF behind the password", user, password + "\r\n"},
		{"space before the password", user, "  " + password},
		{"no-break space around both", "\u00a0" + user + "\u00a0", "\u00a0" + password + "\u00a0"},
		{"zero-width space and BOM", "\ufeff" + user + "\u200b", "\ufeff" + password + "\u200b"},
	} {
		id, err := f.Authenticate(t.Context(), tc.username, credentials.NewPassword(tc.password), here)
		if err != nil || id.Username != user {
			t.Errorf("%s: got the username %q, error %v; want %q, no error", tc.what, id.Username, err, user)
		}
	}
	wantHashes(t, "another spelling of a verified login",
		f.hashes(func() { must(t, f.login(strings.ToUpper(user), password+"\n", here)) }), 0)
	for n := range 50 {
		u, p := f.add("tool")
		if u.Username != strings.ToLower(u.Username) || strings.ContainsAny(u.Username+p.Reveal(), " \t\r\n") {
			t.Fatalf("generated user %d is %q, want lower case, without white space", n, u.Username)
		}
	}
}

// Every cause of ErrDenied has the same error and costs the same.
func TestDeniedForAnyCause(t *testing.T) {
	f := newFixture(t)
	deleted, deletedPassword := f.add("deleted")
	must(t, f.acme.DeleteUser(t.Context(), deleted.Username))
	_, err := f.acme.AddDomain(t.Context(), "gone.example")
	must(t, err)
	gone, gonePassword, err := f.acme.AddUser(t.Context(), "gone.example", "tool")
	must(t, err)
	must(t, f.acme.DeleteDomain(t.Context(), "gone.example"))
	reset, old := f.add("reset")
	_, err = f.acme.ResetPassword(t.Context(), reset.Username)
	must(t, err)

	for _, tc := range []struct{ what, username, password string }{
		{"wrong password", f.user.Username, "wrong"},
		{"almost right password", f.user.Username, f.password.Reveal() + "x"},
		{"white space inside the password", f.user.Username, f.password.Reveal()[:13] + " " + f.password.Reveal()[13:]},
		{"lower-case password", f.user.Username, strings.ToLower(f.password.Reveal())},
		{"white space inside the username", f.user.Username[:4] + " " + f.user.Username[4:], f.password.Reveal()},
		{"letter that folds to s in the username", strings.Replace(f.user.Username, "s", "\u017f", 1), f.password.Reveal()},
		{"empty password", f.user.Username, ""},
		{"unknown username", "smtpzzzzzzzzzzzzzzzz", "wrong"},
		{"right password of another", "smtpzzzzzzzzzzzzzzzz", f.password.Reveal()},
		{"deleted user", deleted.Username, deletedPassword.Reveal()},
		{"deleted domain", gone.Username, gonePassword.Reveal()},
		{"password before the reset", reset.Username, old.Reveal()},
		{"empty username", "", "x"},
		{"NUL in the username", f.user.Username + "\x00", f.password.Reveal()},
		{"username that is not UTF-8", "smtp\xff", "x"},
		{"username of 256 bytes", strings.Repeat("u", 256), "x"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			at := netip.AddrFrom4([4]byte{203, 0, 113, byte(len(tc.what))})
			for try, want := range []float64{1, 0, 0} {
				got := f.hashes(func() {
					id, err := f.Authenticate(t.Context(), tc.username, credentials.NewPassword(tc.password), at)
					if !errors.Is(err, credentials.ErrDenied) || err.Error() != credentials.ErrDenied.Error() || id != (credentials.Identity{}) {
						t.Errorf("got %+v, %v; want the zero Identity and ErrDenied", id, err)
					}
				})
				wantHashes(t, fmt.Sprint("try ", try+1), got, want)
			}
		})
	}
	if at, _ := f.lastConnection(); !at.IsZero() {
		t.Errorf("the last connection is %v after failed logins, want none", at)
	}
}

// A reset or delete while the old password is being hashed denies the login.
func TestResetDuringLogin(t *testing.T) {
	for _, tc := range []struct {
		name   string
		revoke func(f *fixture) error
	}{
		{"reset", func(f *fixture) error {
			_, err := f.acme.ResetPassword(f.t.Context(), f.user.Username)
			return err
		}},
		{"delete", func(f *fixture) error { return f.acme.DeleteUser(f.t.Context(), f.user.Username) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			lookups := 0
			f.spy.lookup = func() error {
				if lookups++; lookups == 2 {
					return tc.revoke(f)
				}
				return nil
			}
			wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
			if f.spy.logins != 0 {
				t.Errorf("%d logins were recorded, want 0", f.spy.logins)
			}
		})
	}
}

func TestLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		want := func(at time.Time, from netip.Addr) {
			t.Helper()
			gotAt, gotFrom := f.lastConnection()
			if !gotAt.Equal(at) || gotFrom != from {
				t.Errorf("last connection %v from %v, want %v from %v", gotAt, gotFrom, at, from)
			}
		}
		right := f.password.Reveal()
		want(time.Time{}, netip.Addr{})
		first := time.Now()
		must(t, f.login(f.user.Username, right, here))
		want(first, here)

		time.Sleep(999 * time.Millisecond)
		must(t, f.login(f.user.Username, right, here))
		want(first, here) // less than a second later, from the same address

		must(t, f.login(f.user.Username, right, there))
		want(time.Now(), there)

		time.Sleep(time.Second)
		must(t, f.login(f.user.Username, right, netip.MustParseAddr("::ffff:198.51.100.7")))
		want(time.Now(), there)

		last := time.Now()
		time.Sleep(time.Hour)
		wantError(t, f.login(f.user.Username, "wrong", here), credentials.ErrDenied)
		want(last, there)

		time.Sleep(1234 * time.Nanosecond)
		must(t, f.login(f.user.Username, right, netip.Addr{})) // for example through a Unix socket
		want(time.Now().Truncate(time.Microsecond), netip.Addr{})
	})
}

func TestRecordLoginFails(t *testing.T) {
	f := newFixture(t)
	var log strings.Builder
	f.Manager.Logger = logTo(&log)
	f.spy.recordLogin = func() error { return errors.New("disk full") }
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "disk full") ||
		!strings.Contains(log.String(), f.user.Username) || strings.Contains(log.String(), f.password.Reveal()) {
		t.Errorf("the log is %q, want a warning with the error and the username, without the password", log.String())
	}
	f.spy.recordLogin = func() error { return fmt.Errorf("spy: %w", store.ErrNotFound) }
	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
}

func TestStoreFailureIsNotADenial(t *testing.T) {
	f := newFixture(t)
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	away := errors.New("the database is away")
	f.spy.lookup = func() error { return away }
	for _, tc := range []struct {
		name string
		err  error
	}{
		{"Authenticate", f.login(f.user.Username, f.password.Reveal(), here)},
		{"Validate", f.Validate(t.Context(), id)},
	} {
		if err := tc.err; !errors.Is(err, away) || errors.Is(err, credentials.ErrDenied) || errors.Is(err, credentials.ErrRevoked) {
			t.Errorf("%s: error is %v, want only the store's error", tc.name, err)
		}
	}
	f.spy.lookup = nil
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	must(t, f.Validate(t.Context(), id))
}

// Logs, errors and events contain no password and no hash, whatever fails.
func TestNoSecretIsLoggedOrReturned(t *testing.T) {
	f := newFixture(t)
	var out strings.Builder
	f.Manager.Logger = logTo(&out)
	f.OnEvent = func(e credentials.Event) { fmt.Fprintf(&out, "%+v %#v\n", e, e) }
	f.spy.recordLogin = func() error { return errors.New("away") }
	secrets := []string{f.password.Reveal(), "wr0ngsecret", f.spy.passwords[0]}
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	fmt.Fprintf(&out, "%+v %v\n", id, err)
	fmt.Fprintln(&out, f.login(f.user.Username, "wr0ngsecret", here))
	f.spy.lookup = func() error { return errors.New("away") }
	fmt.Fprintln(&out, f.login(f.user.Username, f.password.Reveal(), here))
	f.spy.lookup = nil
	fresh, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	secrets = append(secrets, fresh.Reveal())
	fmt.Fprintf(&out, "%+v %v\n", fresh, err)
	u, err := f.acme.User(t.Context(), f.user.Username)
	fmt.Fprintf(&out, "%+v %#v %v %+v\n", u, u, err, f.acme.DeleteUser(t.Context(), f.user.Username))
	for _, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the output contains %q, want it absent:\n%s", secret, out.String())
		}
	}
}

func TestAuthenticateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for i := range 10 {
			wantError(t, f.login(f.user.Username, fmt.Sprint(i), here), credentials.ErrDenied)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		// The rate limit delays the next attempt by 4 seconds: one call leads the
		// flight, the other one waits for the leader.
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				_, err := f.Authenticate(ctx, f.user.Username, credentials.NewPassword("another"), here)
				wantError(t, err, credentials.ErrBusy)
				wantError(t, err, context.Canceled)
			})
			synctest.Wait()
		}
		both.Wait()
		wantTook(t, "both logins", time.Since(start), time.Second, time.Second)
	})
}

// The error of a failed login names the user whose username was sent, and only
// the error does.
func TestLoginErrorNamesTheUser(t *testing.T) {
	f := newFixture(t)
	away := errors.New("the database is away")
	claimed := credentials.Identity{Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 1}
	long := strings.Repeat("x", 2000)
	for _, tc := range []struct {
		name               string
		username, password string
		store              error
		want               error
		claimed            credentials.Identity
	}{
		{"wrong password", f.user.Username, "wrong", nil, credentials.ErrDenied, claimed},
		{"the same wrong password again", f.user.Username, "wrong", nil, credentials.ErrDenied, claimed},
		{"overlong password", f.user.Username, long, nil, credentials.ErrDenied, credentials.Identity{}},
		{"unknown username", "smtpnobody", "wrong", nil, credentials.ErrDenied, credentials.Identity{}},
		{"no username", "", "wrong", nil, credentials.ErrDenied, credentials.Identity{}},
		{"store is away", f.user.Username, f.password.Reveal(), away, away, credentials.Identity{}},
	} {
		f.spy.lookup = func() error { return tc.store }
		id, err := f.Authenticate(t.Context(), tc.username, credentials.NewPassword(tc.password), here)
		var failed *credentials.LoginError
		if !errors.As(err, &failed) || !errors.Is(err, tc.want) || failed.Claimed != tc.claimed {
			t.Errorf("%s: got error %#v, want %v that claims %+v", tc.name, err, tc.want, tc.claimed)
		}
		if id != (credentials.Identity{}) {
			t.Errorf("%s: got identity %+v, want none", tc.name, id)
		}
		if tc.want == credentials.ErrDenied && err.Error() != credentials.ErrDenied.Error() {
			t.Errorf("%s: got the text %q, want %q", tc.name, err, credentials.ErrDenied)
		}
	}
}

// AuthenticateIf asks only when the password is right. What it refuses is not
// recorded as a login.
func TestAuthenticateIf(t *testing.T) {
	f := newFixture(t)
	suspended := errors.New("suspended")
	var asked []credentials.Identity
	allow := func(err error) func(context.Context, credentials.Identity) error {
		return func(_ context.Context, id credentials.Identity) error {
			asked = append(asked, id)
			return err
		}
	}
	_, err := f.AuthenticateIf(t.Context(), f.user.Username, credentials.NewPassword("wrong"), here, allow(nil))
	wantError(t, err, credentials.ErrDenied)
	if len(asked) != 0 {
		t.Errorf("allow was asked about %v with a wrong password", asked)
	}
	id, err := f.AuthenticateIf(t.Context(), f.user.Username, f.password, here, allow(suspended))
	wantError(t, err, suspended)
	if at, _ := f.lastConnection(); id != (credentials.Identity{}) || !at.IsZero() {
		t.Errorf("a login that allow refused got %+v and was recorded at %v, want neither", id, at)
	}
	id, err = f.AuthenticateIf(t.Context(), f.user.Username, f.password, here, allow(nil))
	must(t, err)
	if at, _ := f.lastConnection(); len(asked) != 2 || asked[1] != id || at.IsZero() {
		t.Errorf("allow was asked about %v, last connection is %v; want it asked twice about %+v, and a time", asked, at, id)
	}
}
