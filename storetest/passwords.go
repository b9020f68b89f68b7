package storetest

import (
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var passwordPromises = []promise{
	{
		name:  "SetPassword/Replaces",
		words: "SetPassword replaces the user's hash, sets PasswordSet to at, adds one to Generation, ends a rotation as EndOverlap does, and changes nothing else.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			u.LastConnection, u.LastConnectionFrom = day.Add(time.Minute), addr4
			t.ok(t.RecordLogin(t.Context(), "u1", 1, u.LastConnection, u.LastConnectionFrom), "RecordLogin")

			later := day.Add(time.Hour + time.Microsecond)
			t.ok(t.SetPassword(t.Context(), acme, "u1", 1, "second hash", later), "SetPassword, generation 1")
			u.Generation, u.PasswordSet = 2, later
			t.holds(u, "second hash")

			// A call with the current hash and time is a reset too.
			t.ok(t.SetPassword(t.Context(), acme, "u1", 2, "second hash", later), "SetPassword, generation 2")
			u.Generation = 3
			t.holds(u, "second hash")
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
		},
	},
	{
		name:  "SetPassword/Conflict",
		words: "ErrConflict: the user's Generation is not the given one.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.ok(t.SetPassword(t.Context(), acme, "u1", 1, "second hash", day), "SetPassword, generation 1")
			for _, generation := range []int64{-1, 0, 1, 3} {
				err := t.SetPassword(t.Context(), acme, "u1", generation, "x", day.Add(time.Hour))
				t.fails(err, store.ErrConflict, "SetPassword, generation %d of 2", generation)
			}
			u := newUser(acme, acmeDomain, "u1")
			u.Generation = 2
			t.holds(u, "second hash")
		},
	},
	{
		name:  "SetPassword/NotFound",
		words: "ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.ok(t.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			t.fails(t.SetPassword(t.Context(), acme, "u1", 1, "x", day), store.ErrNotFound, "SetPassword of a deleted user")
			t.fails(t.SetPassword(t.Context(), acme, "u1", 2, "x", day), store.ErrNotFound, "SetPassword of a deleted user, other generation")
			t.gone(newUser(acme, acmeDomain, "u1"))
		},
	},
}
