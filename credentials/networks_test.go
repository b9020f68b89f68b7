package credentials_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestSetNetworks(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	for _, c := range []struct{ give, want []netip.Prefix }{
		{prefixes("192.0.2.77/24"), prefixes("192.0.2.0/24")},
		{prefixes("2001:db8::1/32", "192.0.2.1/32", "10.0.0.0/8", "192.0.2.1/32"), prefixes("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")},
		{prefixes("::ffff:192.0.2.9/120"), prefixes("192.0.2.0/24")},
		{prefixes("2001:2000::/19"), prefixes("2001:2000::/19")},
		{[]netip.Prefix{}, nil},
	} {
		must(t, f.acme.SetNetworks(ctx, f.user.Username, c.give))
		u, err := f.acme.User(ctx, f.user.Username)
		must(t, err)
		if !slices.Equal(u.Networks, c.want) {
			t.Errorf("SetNetworks(%v): got %v, want %v", c.give, u.Networks, c.want)
		}
	}
	var many []netip.Prefix
	for i := range 101 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/32", i)))
	}
	must(t, f.acme.SetNetworks(ctx, f.user.Username, append(many[:100], many[0])))
	for _, bad := range [][]netip.Prefix{
		{{}}, prefixes("0.0.0.0/0"), prefixes("10.0.0.0/7"), prefixes("::/0"), prefixes("2001::/18"), prefixes("::ffff:0.0.0.0/96"), prefixes("::ffff:10.0.0.0/103"), many,
	} {
		if len(bad) == 101 {
			bad = append(bad[:100:100], netip.MustParsePrefix("198.51.100.1/32"))
		}
		if err := f.acme.SetNetworks(ctx, f.user.Username, bad); !isInvalid(err) {
			t.Errorf("SetNetworks(%v): got %v, want an InvalidError", bad[:1], err)
		}
	}
	wantError(t, f.Tenant("rival").SetNetworks(ctx, f.user.Username, nil), store.ErrNotFound)
}

func TestNetworks(t *testing.T) {
	f := newFixture(t)
	must(t, f.acme.SetNetworks(t.Context(), f.user.Username, prefixes("192.0.2.0/24", "fe80::/64")))
	for from, want := range map[string]error{
		"192.0.2.255": nil, "::ffff:192.0.2.1": nil, "fe80::1%eth0": nil, "fe80::1": nil,
		"192.0.3.0": credentials.ErrNetwork, "::ffff:192.0.3.0": credentials.ErrNetwork, "2001:db8::1": credentials.ErrNetwork, "": credentials.ErrNetwork,
	} {
		addr, _ := netip.ParseAddr(from)
		err := f.login(f.user.Username, f.password.Reveal(), addr)
		wantError(t, err, want)
		if want != nil {
			wantError(t, err, credentials.ErrDenied)
		}
		err = f.login(f.user.Username, "wrong", addr)
		if wantError(t, err, credentials.ErrDenied); errors.Is(err, credentials.ErrNetwork) {
			t.Errorf("a wrong password from %q: got %v", from, err)
		}
	}
	before, _ := f.lastConnection()
	wantError(t, f.login(f.user.Username, f.password.Reveal(), there), credentials.ErrNetwork)
	if after, from := f.lastConnection(); after != before || from == there {
		t.Errorf("a refused login moved the last connection to %v from %v", after, from)
	}
	must(t, f.acme.SetNetworks(t.Context(), f.user.Username, nil))
	must(t, f.login(f.user.Username, f.password.Reveal(), there))
}

// From elsewhere a right password costs what a wrong one costs: a hash at first, none
// when it is repeated, and a place in the rate limit; also if it is known from an
// allowed network.
func TestNetworksAreNoOracle(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				must(t, f.acme.SetNetworks(t.Context(), f.user.Username, prefixes("192.0.2.0/24")))
				if known {
					must(t, f.login(f.user.Username, f.password.Reveal(), here))
				}
				begin := time.Now()
				for i, password := range []string{"a", f.password.Reveal(), "b", "c", "d", "e", "f", "g", "h", "i"} {
					for _, want := range []float64{1, 0} {
						reads := len(f.spy.usernames)
						got := f.hashes(func() { wantError(t, f.login(f.user.Username, password, there), credentials.ErrDenied) })
						if n := len(f.spy.usernames) - reads; got != want || n != 1 {
							t.Errorf("password %d: %v hashes and %d reads, want %v and 1", i, got, n, want)
						}
					}
				}
				if waited := time.Since(begin); waited != 0 {
					t.Errorf("ten passwords wait %v, want none", waited)
				}
				wantError(t, f.login(f.user.Username, "k", there), credentials.ErrDenied)
				if waited := time.Since(begin); waited != 4*time.Second {
					t.Errorf("the eleventh waits %v, want 4s", waited)
				}
				must(t, f.login(f.user.Username, f.password.Reveal(), here))
			})
		})
	}
}
