package credentials_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
)

func TestOverlongPasswordIsNotHashed(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 1<<20)
	wantHashes(t, "overlong passwords", f.hashes(func() {
		wantError(t, f.login(f.user.Username, long, here), credentials.ErrDenied)
		wantError(t, f.login("smtpnobody", long, here), credentials.ErrDenied)
	}), 0)
	// Overlong usernames are cut, so these two count as one.
	wantHashes(t, "overlong usernames", f.hashes(func() {
		wantError(t, f.login(long, "x", here), credentials.ErrDenied)
		wantError(t, f.login(long+"y", "x", here), credentials.ErrDenied)
	}), 1)
	// A cut username never matches one of the maximum length.
	wantError(t, f.login(strings.Repeat("u", 255), "x", here), credentials.ErrDenied)
}

func TestRepeatedLoginsCostNoHash(t *testing.T) {
	f := newFixture(t)
	wantHashes(t, "1,000 logins", f.hashes(func() {
		for range 1000 {
			must(t, f.login(f.user.Username, f.password.Reveal(), here))
		}
	}), 1)
}

// A first login computes one hash and reads the store before and after it. A
// repeated login reads the store once.
func TestWorkOfALogin(t *testing.T) {
	type work struct {
		hashes        float64
		reads, writes int
	}
	f := newFixture(t)
	for _, tc := range []struct {
		what string
		want work
	}{{"first login", work{1, 2, 1}}, {"second login within a second", work{0, 1, 0}}} {
		f.spy.usernames, f.spy.logins = nil, 0
		hashes := f.hashes(func() { must(t, f.login(f.user.Username, f.password.Reveal(), here)) })
		if got := (work{hashes, len(f.spy.usernames), f.spy.logins}); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.what, got, tc.want)
		}
	}
}

// After a reset or a delete, tools usually retry with the old password.
func TestRepeatedOldPasswordCostsOneHash(t *testing.T) {
	for _, tc := range []struct {
		name   string
		revoke func(f *fixture) error
	}{
		{"reset", func(f *fixture) error {
			_, err := f.acme.ResetPassword(f.t.Context(), f.user.Username)
			return err
		}},
		{"deleted user", func(f *fixture) error { return f.acme.DeleteUser(f.t.Context(), f.user.Username) }},
		{"deleted domain", func(f *fixture) error { return f.acme.DeleteDomain(f.t.Context(), domain) }},
		{"unknown username", func(f *fixture) error {
			f.user.Username = "smtpnobody"
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			must(t, f.login(f.user.Username, f.password.Reveal(), here))
			must(t, tc.revoke(f))
			wantHashes(t, "1,000 logins", f.hashes(func() {
				for range 1000 {
					wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
				}
			}), 1)
		})
	}
}

func TestSimultaneousLoginsShareAHash(t *testing.T) {
	f := newFixture(t)
	f.Manager = &credentials.Manager{Store: f.spy} // the default cost, so that they overlap
	f.acme = f.Manager.Tenant("acme")
	old := f.password
	_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	must(t, err)
	var all sync.WaitGroup
	wantHashes(t, "1,000 logins at once", f.hashes(func() {
		for range 1000 {
			all.Go(func() { wantError(t, f.login(f.user.Username, old.Reveal(), here), credentials.ErrDenied) })
		}
		all.Wait()
	}), 1)
}

// A database that is restored from a backup may repeat a generation.
func TestVerdictIsNotReusedForAnotherHash(t *testing.T) {
	f := newFixture(t)
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
	f.spy.hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
	must(t, f.login(f.user.Username, "password", here))
}

// BenchmarkAuthenticate measures a login with the memory store at the default
// cost. A new password is hashed, for an unknown username too.
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
