package storetest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var rotationPromises = []promise{
	{
		name: "RotatePassword/KeepsTheOldHash",
		words: "RotatePassword is SetPassword, but keeps the hash before as the old one, in place of an older one. " +
			"It sets OldUntil to until, OldConnection to LastConnection, or to the zero time if that is before the PasswordSet of the hash before, and NewConnection to the zero time.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			u := t.rotated("u1")
			t.holdsBoth(u, "second hash", hashOf("u1"))
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))

			// The last login was with a password before the one that becomes old.
			t.ok(t.SetPassword(t.Context(), acme, "u1", 2, "third hash", day.Add(5*time.Hour)), "SetPassword")
			t.ok(t.RotatePassword(t.Context(), acme, "u1", 3, "fourth hash", day.Add(6*time.Hour), day.Add(7*time.Hour)), "RotatePassword")
			u.Generation, u.PasswordSet, u.OldUntil, u.OldConnection = 4, day.Add(6*time.Hour), day.Add(7*time.Hour), time.Time{}
			t.holdsBoth(u, "fourth hash", "third hash")
		},
	},
	{
		name:  "RotatePassword/NeverThree",
		words: "RotatePassword is SetPassword, but keeps the hash before as the old one, in place of an older one.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := t.rotated("u1")
			for n := range 3 {
				hash, old := fmt.Sprint("hash ", n+1), fmt.Sprint("hash ", n)
				if n == 0 {
					old = "second hash"
				}
				at := day.Add(time.Duration(n+5) * time.Hour)
				t.ok(t.RotatePassword(t.Context(), acme, "u1", u.Generation, hash, at, at.Add(time.Minute)), "RotatePassword again")
				u.Generation, u.PasswordSet, u.OldUntil, u.OldConnection = u.Generation+1, at, at.Add(time.Minute), time.Time{}
				t.holdsBoth(u, hash, old)
			}
		},
	},
	{
		name:  "RotatePassword/Conflict",
		words: "ErrConflict: the user's Generation is not the given one. ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := t.rotated("u1")
			for _, generation := range []int64{-1, 0, 1, 3} {
				err := t.RotatePassword(t.Context(), acme, "u1", generation, "x", day, day)
				t.fails(err, store.ErrConflict, "RotatePassword, generation %d of 2", generation)
				t.fails(t.EndOverlap(t.Context(), acme, "u1", generation), store.ErrConflict, "EndOverlap, generation %d of 2", generation)
			}
			t.holdsBoth(u, "second hash", hashOf("u1"))
			for range rounds {
				won := t.race(store.ErrConflict, func(st store.Store, racer int) error {
					if racer%2 == 0 {
						return st.SetPassword(t.Context(), acme, "u1", u.Generation, "by SetPassword", day)
					}
					return st.RotatePassword(t.Context(), acme, "u1", u.Generation, "by RotatePassword", day, day)
				})
				t.exactlyOne(won, "SetPassword and RotatePassword")
				u.Generation++
			}
		},
	},
	{
		name:  "EndOverlap/ForgetsTheOldHash",
		words: "EndOverlap forgets the old hash, and sets OldUntil, OldConnection and NewConnection to the zero time. Without an old hash it changes nothing and returns nil.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := t.rotated("u1")
			t.ok(t.RecordLogin(t.Context(), "u1", 2, day.Add(4*time.Hour), addr6), "RecordLogin")
			u.LastConnection, u.LastConnectionFrom = day.Add(4*time.Hour), addr6
			u.OldUntil, u.OldConnection = time.Time{}, time.Time{}
			for range 2 {
				t.ok(t.EndOverlap(t.Context(), acme, "u1", 2), "EndOverlap")
				t.holds(u, "second hash")
			}
		},
	},
	{
		name:  "SetPassword/EndsARotation",
		words: "SetPassword replaces the user's hash, sets PasswordSet to at, adds one to Generation, ends a rotation as EndOverlap does, and changes nothing else.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := t.rotated("u1")
			t.ok(t.SetPassword(t.Context(), acme, "u1", 2, "third hash", day), "SetPassword")
			u.Generation, u.PasswordSet, u.OldUntil, u.OldConnection = 3, day, time.Time{}, time.Time{}
			t.holds(u, "third hash")
		},
	},
	{
		name: "RecordLogin/OldAndNew",
		words: "If there is an old hash, it also sets NewConnection to at if generation is the user's, and OldConnection if it is one less. " +
			"It never sets a time back, and returns nil then, so that nodes may report logins in any order.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := t.rotated("u1")
			for i, login := range []struct {
				generation int64
				hours      int
			}{{2, 10}, {1, 8}, {2, 9}, {1, 7}, {1, 12}, {2, 11}, {0, 13}, {3, 14}, {2, 1}} {
				at := day.Add(time.Duration(login.hours) * time.Hour)
				from := []netip.Addr{addr4, addr6}[i%2]
				t.ok(t.RecordLogin(t.Context(), "u1", login.generation, at, from), "RecordLogin %d", i)
				if at.After(u.LastConnection) {
					u.LastConnection, u.LastConnectionFrom = at, from
				}
				if login.generation == 1 && at.After(u.OldConnection) {
					u.OldConnection = at
				}
				if login.generation == 2 && at.After(u.NewConnection) {
					u.NewConnection = at
				}
				t.holdsBoth(u, "second hash", hashOf("u1"))
			}
		},
	},
}

// rotated rotates the password of a user of acme that had its last login before that.
func (t *tester) rotated(username string) store.User {
	t.Helper()
	u := newUser(acme, acmeDomain, username)
	u.LastConnection, u.LastConnectionFrom = day.Add(time.Hour), addr4
	t.ok(t.RecordLogin(t.Context(), username, 1, u.LastConnection, addr4), "RecordLogin")
	u.PasswordSet, u.OldUntil = day.Add(2*time.Hour), day.Add(3*time.Hour+time.Microsecond)
	t.ok(t.RotatePassword(t.Context(), acme, username, 1, "second hash", u.PasswordSet, u.OldUntil), "RotatePassword")
	u.Generation, u.OldConnection = 2, u.LastConnection
	return u
}
