package storetest

import (
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var (
	addr4 = netip.MustParseAddr("192.0.2.7")
	addr6 = netip.MustParseAddr("2001:db8::7")
)

var connectionPromises = []promise{
	{
		name:  "RecordLogin/Records",
		words: "RecordLogin sets the user's LastConnection and LastConnectionFrom to at and from. All three are zero if there is only one password.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for i, from := range []netip.Addr{
				addr4, addr6, netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::1%eth0"),
				netip.IPv4Unspecified(), netip.IPv6Unspecified(), {},
			} {
				u.LastConnection, u.LastConnectionFrom = day.Add(time.Duration(i)*time.Microsecond), from
				t.ok(t.RecordLogin(t.Context(), "u1", 1, u.LastConnection, from), "RecordLogin from %v", from)
				t.holds(u, hashOf("u1"))
			}
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
		},
	},
	{
		name:  "RecordLogin/NeverMovesBack",
		words: "It never sets a time back, and returns nil then, so that nodes may report logins in any order.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.ok(t.RecordLogin(t.Context(), "u1", 1, day, addr4), "RecordLogin")
			u := newUser(acme, acmeDomain, "u1")
			u.LastConnection, u.LastConnectionFrom = day, addr4
			for _, at := range []time.Time{day, day.Add(-time.Microsecond), day.AddDate(-1, 0, 0), {}} {
				t.ok(t.RecordLogin(t.Context(), "u1", 1, at, addr6), "RecordLogin at %v, after %v", at, day)
				t.holds(u, hashOf("u1"))
			}
			u.LastConnection, u.LastConnectionFrom = day.Add(time.Microsecond), addr6
			t.ok(t.RecordLogin(t.Context(), "u1", 1, u.LastConnection, addr6), "RecordLogin a microsecond later")
			t.holds(u, hashOf("u1"))
		},
	},
	{
		name:  "RecordLogin/NotFound",
		words: "ErrNotFound: no tenant has such a user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.fails(t.RecordLogin(t.Context(), "nobody", 1, day, addr4), store.ErrNotFound, "RecordLogin of an unknown user")
			t.ok(t.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			t.fails(t.RecordLogin(t.Context(), "u1", 1, day, addr4), store.ErrNotFound, "RecordLogin of a deleted user")
			t.gone(newUser(acme, acmeDomain, "u1"))
		},
	},
	{
		name:  "Times/ToTheMicrosecond",
		words: `Text, times and addresses are returned exactly as they were given. The caller passes times in UTC and whole microseconds. The zero time means "never".`,
		check: func(t *tester) {
			t.fill(nil, nil)
			for i, at := range []time.Time{
				{},
				time.Unix(0, 0).UTC(),
				time.UnixMicro(1).UTC(),
				time.UnixMicro(-1).UTC(),
				day,
				time.Date(2026, time.October, 25, 1, 0, 0, 1000, time.UTC), // in the hour that Europe repeats when summer time ends
				time.Date(1815, time.December, 10, 0, 0, 0, 999_999_000, time.UTC),
				time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC),
			} {
				u := newUser(acme, acmeDomain, "u"+string(rune('a'+i)))
				u.Created, u.PasswordSet, u.LastConnection = at, at, at
				t.ok(t.AddUser(t.Context(), u, "x", 0), "AddUser at %v", at)
				t.holds(u, "x")

				d := store.Domain{Tenant: acme, Name: u.Username + ".example", Created: at}
				t.ok(t.AddDomain(t.Context(), d, 0), "AddDomain at %v", at)
				list, _, err := t.Domains(t.Context(), acme, store.Query{})
				t.ok(err, "Domains")
				if len(list) != i+2 || list[i+1] != d {
					t.Errorf("Domains: got %+v, want %+v at the end", list, d)
				}
			}
		},
	},
}
