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

func TestAuthenticateProvesAnIdentity(t *testing.T) {
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

func TestValidateKnowsNoOtherIdentity(t *testing.T) {
	f := newFixture(t)
	good, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	for what, change := range map[string]func(*credentials.Identity){
		"zero":       func(id *credentials.Identity) { *id = credentials.Identity{} },
		"username":   func(id *credentials.Identity) { id.Username += "x" },
		"tenant":     func(id *credentials.Identity) { id.Tenant = "other" },
		"domain":     func(id *credentials.Identity) { id.Domain = "other.example" },
		"generation": func(id *credentials.Identity) { id.Generation++ },
	} {
		id := good
		change(&id)
		if err := f.Validate(t.Context(), id); !errors.Is(err, credentials.ErrRevoked) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

// A login survives what copying does to a username and a password.
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
	if cost := f.costs(func() { must(t, f.login(strings.ToUpper(user), password+"\n", here)) }); cost != 0 {
		t.Errorf("another spelling of a known login cost %v hashes, want 0", cost)
	}
	for n := range 50 {
		u, p := f.add("tool")
		if u.Username != strings.ToLower(u.Username) || strings.ContainsAny(u.Username+p.Reveal(), " \t\r\n") {
			t.Fatalf("generated user %d is %q, want lower case, without white space", n, u.Username)
		}
	}
}

// Spelling a username in several ways gives no more guesses.
func TestSpellingsOfAUsernameShareARateLimit(t *testing.T) {
	bubble(t, "case", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, here)
		if took, _ := f.guess(" "+strings.ToUpper(f.user.Username), 1, here); took == 0 {
			t.Error("the 11th guess took 0s, want a delay")
		}
	})
}

// Every cause of a refusal looks the same and costs the same.
func TestDeniedAlike(t *testing.T) {
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
		{"fold of another letter in the username", strings.Replace(f.user.Username, "s", "\u017f", 1), f.password.Reveal()},
		{"empty password", f.user.Username, ""},
		{"unknown username", "smtpzzzzzzzzzzzzzzzz", "wrong"},
		{"right password of another", "smtpzzzzzzzzzzzzzzzz", f.password.Reveal()},
		{"deleted user", deleted.Username, deletedPassword.Reveal()},
		{"deleted domain", gone.Username, gonePassword.Reveal()},
		{"password before the reset", reset.Username, old.Reveal()},
		{"empty username", "", "x"},
		{"NUL in the username", f.user.Username + "\x00", f.password.Reveal()},
		{"username that isn't UTF-8", "smtp\xff", "x"},
		{"username of 256 bytes", strings.Repeat("u", 256), "x"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			at := netip.AddrFrom4([4]byte{203, 0, 113, byte(len(tc.what))})
			for try, want := range []float64{1, 0, 0} {
				cost := f.costs(func() {
					id, err := f.Authenticate(t.Context(), tc.username, credentials.NewPassword(tc.password), at)
					if !errors.Is(err, credentials.ErrDenied) || err.Error() != credentials.ErrDenied.Error() || id != (credentials.Identity{}) {
						t.Errorf("got %+v, %v; want ErrDenied and nothing with it", id, err)
					}
				})
				if cost != want {
					t.Errorf("try %d cost %v hashes, want %v", try+1, cost, want)
				}
			}
		})
	}
	if at, _ := f.lastConnection(); !at.IsZero() {
		t.Error("a failed login moved the last connection")
	}
}

func TestOverlongIsDeniedWithoutWork(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 1<<20)
	if cost := f.costs(func() {
		wantError(t, f.login(f.user.Username, long, here), credentials.ErrDenied)
		wantError(t, f.login("smtpnobody", long, here), credentials.ErrDenied)
	}); cost != 0 {
		t.Errorf("it cost %v hashes", cost)
	}
	a, b := long, long+"y" // cut alike, so this is one username
	if cost := f.costs(func() {
		wantError(t, f.login(a, "x", here), credentials.ErrDenied)
		wantError(t, f.login(b, "x", here), credentials.ErrDenied)
	}); cost != 1 {
		t.Errorf("overlong usernames cost %v hashes", cost)
	}
	// What is remembered of an overlong username is never taken for a user.
	wantError(t, f.login(strings.Repeat("u", 255), "x", here), credentials.ErrDenied)
}

func TestRepeatedLoginsCostNoHash(t *testing.T) {
	f := newFixture(t)
	if cost := f.costs(func() {
		for range 1000 {
			must(t, f.login(f.user.Username, f.password.Reveal(), here))
		}
	}); cost != 1 {
		t.Errorf("1,000 logins cost %v hashes", cost)
	}
}

// A first login is one hash. It is decided by what one read of the store says,
// which is read once more after the hash, as that takes its time. A repeated
// login reads once.
func TestWorkOfALogin(t *testing.T) {
	f := newFixture(t)
	for _, login := range []struct {
		what                   string
		hashes                 float64
		reads, lastConnections int
	}{{"first", 1, 2, 1}, {"second, within a second", 0, 1, 0}} {
		f.spy.usernames, f.spy.connections = nil, 0
		hashes := f.costs(func() { must(t, f.login(f.user.Username, f.password.Reveal(), here)) })
		if reads := len(f.spy.usernames); hashes != login.hashes || reads != login.reads || f.spy.connections != login.lastConnections {
			t.Errorf("the %s login took %v hashes, %d reads and %d writes; want %+v", login.what, hashes, reads, f.spy.connections, login)
		}
	}
}

// The usual thing after a reset or a delete: the tool goes on with what it has.
func TestStaleToolCostsNextToNothing(t *testing.T) {
	for name, revoke := range map[string]func(f *fixture) error{
		"reset": func(f *fixture) error {
			_, err := f.acme.ResetPassword(f.t.Context(), f.user.Username)
			return err
		},
		"deleted user":   func(f *fixture) error { return f.acme.DeleteUser(f.t.Context(), f.user.Username) },
		"deleted domain": func(f *fixture) error { return f.acme.DeleteDomain(f.t.Context(), domain) },
		"unknown": func(f *fixture) error {
			f.user.Username = "smtpnobody"
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			must(t, f.login(f.user.Username, f.password.Reveal(), here))
			must(t, revoke(f))
			if cost := f.costs(func() {
				for range 1000 {
					wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
				}
			}); cost > 1 {
				t.Errorf("1,000 knocks cost %v hashes", cost)
			}
		})
	}
}

func TestSimultaneousStaleKnocksCostAFewHashes(t *testing.T) {
	f := newFixture(t)
	f.Manager = &credentials.Manager{Store: f.spy} // at full cost, so that they do meet
	f.acme = f.Manager.Tenant("acme")
	old := f.password
	_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	must(t, err)
	var all sync.WaitGroup
	cost := f.costs(func() {
		for range 1000 {
			all.Go(func() { wantError(t, f.login(f.user.Username, old.Reveal(), here), credentials.ErrDenied) })
		}
		all.Wait()
	})
	if cost != 1 {
		t.Errorf("it cost %v hashes", cost)
	}
}

// A database that was restored from a backup counts generations again.
func TestGenerationThatComesBackOpensNothing(t *testing.T) {
	f := newFixture(t)
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	f.spy.hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
	must(t, f.login(f.user.Username, "password", here))
}

// A reset that comes while the old password is being hashed counts.
func TestResetDuringLogin(t *testing.T) {
	for name, revoke := range map[string]func(f *fixture) error{
		"reset": func(f *fixture) error {
			_, err := f.acme.ResetPassword(f.t.Context(), f.user.Username)
			return err
		},
		"delete": func(f *fixture) error { return f.acme.DeleteUser(f.t.Context(), f.user.Username) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			lookups := 0
			f.spy.lookup = func() error {
				if lookups++; lookups == 2 {
					return revoke(f)
				}
				return nil
			}
			wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
			if f.spy.connections != 0 {
				t.Error("it counts as a connection")
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
		must(t, f.login(f.user.Username, right, netip.Addr{})) // through a Unix socket, say
		want(time.Now().Truncate(time.Microsecond), netip.Addr{})
	})
}

func TestRecordingTheConnectionFails(t *testing.T) {
	f := newFixture(t)
	var log strings.Builder
	f.Manager.Logger = logTo(&log)
	f.spy.connected = func() error { return errors.New("disk full") }
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "disk full") ||
		!strings.Contains(log.String(), f.user.Username) || strings.Contains(log.String(), f.password.Reveal()) {
		t.Errorf("the log says %s", log.String())
	}
	f.spy.connected = func() error { return fmt.Errorf("spy: %w", store.ErrNotFound) }
	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
}

func TestStoreTroubleIsNoVerdict(t *testing.T) {
	f := newFixture(t)
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	away := errors.New("the database is away")
	f.spy.lookup = func() error { return away }
	for name, err := range map[string]error{
		"Authenticate": f.login(f.user.Username, f.password.Reveal(), here),
		"Validate":     f.Validate(t.Context(), id),
	} {
		if !errors.Is(err, away) || errors.Is(err, credentials.ErrDenied) || errors.Is(err, credentials.ErrRevoked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.spy.lookup = nil
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	must(t, f.Validate(t.Context(), id))
}

// Wrong passwords of all kinds, and what went wrong on the way: no log, error
// or event shows a password or a hash.
func TestNothingSecretIsLoggedOrReturned(t *testing.T) {
	f := newFixture(t)
	var out strings.Builder
	f.Manager.Logger = logTo(&out)
	f.OnEvent = func(e credentials.Event) { fmt.Fprintf(&out, "%+v %#v\n", e, e) }
	f.spy.connected = func() error { return errors.New("away") }
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
			t.Errorf("%q is in\n%s", secret, out.String())
		}
	}
}

func TestLoginsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for i := range 10 {
			wantError(t, f.login(f.user.Username, fmt.Sprint(i), here), credentials.ErrDenied)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		started := time.Now()
		// The next one has to wait for 4 seconds: one waits in flight, the other
		// for the one in flight.
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
		if took := time.Since(started); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// BenchmarkAuthenticate measures a login with the memory store at the default
// cost. The first of a password hashes; wrong and unknown take the same.
func BenchmarkAuthenticate(b *testing.B) {
	f := newFixture(b)
	f.Manager = &credentials.Manager{Store: f.spy}
	f.acme = f.Manager.Tenant("acme")
	f.user, f.password = f.add("at full cost")
	n := 0
	for _, bc := range []struct {
		what     string
		username string
		password func() string
	}{
		{"again", f.user.Username, f.password.Reveal},
		{"refused-again", f.user.Username, func() string { return "wrong" }},
		{"wrong", f.user.Username, func() string { n++; return fmt.Sprint(n) }},
		{"unknown", "smtpzzzzzzzzzzzzzzzz", func() string { n++; return fmt.Sprint(n) }},
	} {
		b.Run(bc.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n++
				from := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
				f.login(bc.username, bc.password(), from)
			}
		})
	}
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
