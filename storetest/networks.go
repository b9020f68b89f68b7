package storetest

import (
	"fmt"
	"net/netip"

	"github.com/gatepost-mail/gatepost/store"
)

// networks returns so many networks, which are in no order.
func networks(n int) []netip.Prefix {
	list := make([]netip.Prefix, n)
	for i := range list {
		text := fmt.Sprintf("2001:db8:%x:ffff:%x:ffff:ffff:ffff/128", 0xffff-i, 0xffff-i)
		if i%2 == 1 {
			text = fmt.Sprintf("203.0.113.%d/32", 255-i)
		}
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

var networkPromises = []promise{
	{
		name:  "SetNetworks/AsGiven",
		words: "SetNetworks sets the user's Networks, at most 100, in the given order, and changes nothing else. An empty list is read as nil.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for _, n := range []int{1, 100, 100, 2, 0, 0} {
				t.ok(t.SetNetworks(t.Context(), acme, "u1", networks(n)), "SetNetworks, %d of them", n)
				if u.Networks = networks(n); n == 0 {
					u.Networks = nil
				}
				t.holds(u, hashOf("u1"))
			}
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))

			list := networks(2)
			t.ok(t.SetNetworks(t.Context(), acme, "u1", list), "SetNetworks")
			list[0] = list[1] // the caller's list is not the store's
			u.Networks = networks(2)
			t.holds(u, hashOf("u1"))
			t.ok(t.SetPassword(t.Context(), acme, "u1", 1, "second hash", day), "SetPassword")
			u.Generation = 2
			t.holds(u, "second hash")
		},
	},
	{
		name:  "SetNetworks/NotFound",
		words: "ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.fails(t.SetNetworks(t.Context(), rival, "u1", networks(1)), store.ErrNotFound, "SetNetworks of another tenant")
			t.fails(t.SetNetworks(t.Context(), acme, "nobody", networks(1)), store.ErrNotFound, "SetNetworks of an unknown user")
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
		},
	},
}
