package storetest

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var userPromises = []promise{
	{
		name:  "AddUser/AsGiven",
		words: "AddUser adds a user exactly as given, with the hash of its password. It ignores OldUntil, OldConnection and NewConnection.",
		check: func(t *tester) {
			t.fill(nil, nil)
			fresh := newUser(acme, acmeDomain, "fresh")
			t.ok(t.AddUser(t.Context(), fresh, "one hash", 0), "AddUser")
			imported := store.User{
				Tenant: acme, Domain: acmeDomain, Username: "imported", Name: "", Generation: 7,
				Created: day, PasswordSet: day.Add(time.Hour),
				LastConnection: day.Add(2 * time.Hour), LastConnectionFrom: addr6,
				Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Suspended: suspended, SortName: "imported",
			}
			ignored := imported
			ignored.OldUntil, ignored.OldConnection, ignored.NewConnection = day, day, day
			t.ok(t.AddUser(t.Context(), ignored, "another hash", 0), "AddUser")
			t.holds(fresh, "one hash")
			t.holds(imported, "another hash")
		},
	},
	{
		name:  "AddUser/NotFound",
		words: "ErrNotFound: the tenant u.Tenant has no domain u.Domain.",
		check: func(t *tester) {
			t.fill(nil, nil)
			t.fails(t.AddUser(t.Context(), newUser(acme, "no.example", "u1"), "x", 0), store.ErrNotFound, "AddUser to an unknown domain")
			t.fails(t.AddUser(t.Context(), newUser(acme, rivalDomain, "u1"), "x", 0), store.ErrNotFound, "AddUser to another tenant's domain")
			t.gone(newUser(acme, rivalDomain, "u1"))
			t.gone(newUser(rival, rivalDomain, "u1"))
		},
	},
	{
		name:  "AddUser/WholeOrNotAtAll",
		words: "Each method is atomic. If its error matches ErrNotFound, ErrTaken, ErrLimit or ErrConflict, it has changed nothing.",
		check: func(t *tester) {
			t.fill(nil, nil)
			t.fails(t.AddUser(t.Context(), newUser(acme, "no.example", "u1"), "x", 0), store.ErrNotFound, "AddUser to an unknown domain")
			// The refused call has not used the username.
			u := t.addUser(acme, acmeDomain, "u1")
			t.holds(u, hashOf("u1"))
		},
	},
	{
		name:  "AddUser/Taken",
		words: "ErrTaken: the username was issued before, in any tenant, even if that user or its domain was deleted.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			again := newUser(acme, acmeDomain, "u1")
			again.Name, again.Generation = "an impostor", 9
			t.fails(t.AddUser(t.Context(), again, "x", 0), store.ErrTaken, "AddUser twice")
			again.Tenant, again.Domain = rival, rivalDomain
			t.fails(t.AddUser(t.Context(), again, "x", 0), store.ErrTaken, "AddUser of another tenant's username")
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
			if list, _, err := t.Users(t.Context(), rival, rivalDomain, store.Query{}); err != nil || len(list) > 0 {
				t.Errorf("Users(%q) after the refused AddUser: got %+v, %v, want none", rivalDomain, list, err)
			}
		},
	},
	{
		name:  "AddUser/TakenInMissingDomain",
		words: "If several are true, AddUser returns any of these errors.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			err := t.AddUser(t.Context(), newUser(acme, "no.example", "u1"), "x", 0)
			t.either(err, store.ErrNotFound, store.ErrTaken, "AddUser of a username in use, to an unknown domain")
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
		},
	},
	{
		name:  "User/OfTheTenant",
		words: "User returns one user of the tenant. ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, []string{"r1"})
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
			_, err := t.User(t.Context(), acme, "u3")
			t.fails(err, store.ErrNotFound, "User of an unknown username")
			_, err = t.User(t.Context(), "nobody", "u1")
			t.fails(err, store.ErrNotFound, "User of an unknown tenant")
		},
	},
	{
		name:  "Users/OfTheDomain",
		words: "Users lists the users of the tenant's domain, or of all its domains if domain is empty.",
		check: func(t *tester) {
			t.fill([]string{"b", "c", "a"}, []string{"r1"})
			t.addDomain(acme, "other.example")
			t.addUser(acme, "other.example", "o1")
			if got, want := t.usernames(store.Query{}), []string{"a", "b", "c"}; !slices.Equal(got, want) {
				t.Errorf("Users: got %q, want %q", got, want)
			}
			list, found, err := t.Users(t.Context(), acme, "", store.Query{Limit: 3})
			t.ok(err, "Users of all domains")
			if got, want := usernamesOf(list), []string{"a", "b", "c"}; !slices.Equal(got, want) || found.All != 4 {
				t.Errorf("Users of all domains, the first 3: got %q of %d, want %q of 4", got, found.All, want)
			}
			list, _, err = t.Users(t.Context(), acme, "", store.Query{After: found.Next})
			t.ok(err, "Users of all domains, second page")
			if got := usernamesOf(list); !slices.Equal(got, []string{"o1"}) {
				t.Errorf("Users of all domains, second page: got %q, want only o1", got)
			}
			if list, found, err := t.Users(t.Context(), "unknown", "", store.Query{}); err != nil || len(list) > 0 || found != (store.Found{}) {
				t.Errorf("Users of all domains of an unknown tenant: got %+v, %+v, %v, want none", list, found, err)
			}
		},
	},
	{
		name:  "Users/NotFound",
		words: "A domain without users is an empty list. ErrNotFound: the tenant has no such domain.",
		check: func(t *tester) {
			t.fill(nil, nil)
			if got := t.usernames(store.Query{}); len(got) > 0 {
				t.Errorf("Users of a domain without users: got %q, want none", got)
			}
			_, _, err := t.Users(t.Context(), acme, "no.example", store.Query{})
			t.fails(err, store.ErrNotFound, "Users of an unknown domain")
			// The error is the same if no entry matches anyway.
			_, _, err = t.Users(t.Context(), acme, "no.example", store.Query{Search: "zzz"})
			t.fails(err, store.ErrNotFound, "Users of an unknown domain, searched")
		},
	},
	{
		name:  "RenameUser/NameOnly",
		words: "RenameUser changes the user's Name and SortName and nothing else.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			t.ok(t.RecordLogin(t.Context(), "u1", 1, day.Add(time.Hour), addr4), "RecordLogin")
			t.ok(t.RenameUser(t.Context(), acme, "u1", "The New Shop", "new shop"), "RenameUser")
			u := newUser(acme, acmeDomain, "u1")
			u.Name, u.SortName = "The New Shop", "new shop"
			u.LastConnection, u.LastConnectionFrom = day.Add(time.Hour), addr4
			t.holds(u, hashOf("u1"))
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
		},
	},
	{
		name:  "RenameUser/SameName",
		words: "The new ones may be the same as the old ones.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			t.ok(t.RenameUser(t.Context(), acme, "u1", u.Name, ""), "RenameUser to the name it has")
			t.holds(u, hashOf("u1"))
		},
	},
	{
		name: "SetSortNames/Missing",
		words: "SetSortNames sets the SortName of users of the tenant, by username, and changes nothing else. " +
			"It leaves out users that have a SortName or do not exist.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2", "u3"}, []string{"r1"})
			t.ok(t.RenameUser(t.Context(), acme, "u2", "Two", "two"), "RenameUser")
			names := map[string]string{"u1": "one", "u2": "other", "r1": "theirs", "nobody": "none"}
			t.ok(t.SetSortNames(t.Context(), acme, names), "SetSortNames")
			t.ok(t.SetSortNames(t.Context(), acme, nil), "SetSortNames of none")
			one, two := newUser(acme, acmeDomain, "u1"), newUser(acme, acmeDomain, "u2")
			one.SortName, two.Name, two.SortName = "one", "Two", "two"
			for _, u := range []store.User{one, two, newUser(acme, acmeDomain, "u3"), newUser(rival, rivalDomain, "r1")} {
				t.holds(u, hashOf(u.Username))
			}
			if got, want := t.usernames(store.Query{}), []string{"u3", "u1", "u2"}; !slices.Equal(got, want) {
				t.Errorf("Users after SetSortNames: got %q, want %q", got, want)
			}
		},
	},
	{
		name:  "DeleteUser/ThatOne",
		words: "DeleteUser removes the user. ErrNotFound: the tenant has no such user.",
		check: func(t *tester) {
			t.fill([]string{"u1", "u2"}, nil)
			t.ok(t.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			t.gone(newUser(acme, acmeDomain, "u1"))
			t.holds(newUser(acme, acmeDomain, "u2"), hashOf("u2"))
			if got, want := t.usernames(store.Query{}), []string{"u2"}; !slices.Equal(got, want) {
				t.Errorf("Users: got %q, want %q", got, want)
			}
			t.gone(newUser(acme, acmeDomain, "never there"))
		},
	},
	{
		name:  "DeleteUser/UsernameStaysOnRecord",
		words: "Its username stays on record and is never issued again.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			t.ok(t.DeleteUser(t.Context(), acme, "u1"), "DeleteUser")
			for _, u := range []store.User{newUser(acme, acmeDomain, "u1"), newUser(rival, rivalDomain, "u1")} {
				t.fails(t.AddUser(t.Context(), u, "x", 0), store.ErrTaken, "AddUser(%q, %q) after DeleteUser", u.Tenant, u.Username)
				t.gone(u)
			}
		},
	},
	{
		name:  "Tenants/Apart",
		words: "The error is the same if another tenant has it, so that no tenant learns of it.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			ctx, u := t.Context(), newUser(acme, acmeDomain, "u1")
			_, err := t.User(ctx, rival, "u1")
			t.fails(err, store.ErrNotFound, "User of another tenant")
			_, _, err = t.Users(ctx, rival, acmeDomain, store.Query{})
			t.fails(err, store.ErrNotFound, "Users of another tenant's domain")
			_, err = t.Domain(ctx, rival, acmeDomain)
			t.fails(err, store.ErrNotFound, "Domain of another tenant")
			t.fails(t.RenameUser(ctx, rival, "u1", "mine", ""), store.ErrNotFound, "RenameUser of another tenant")
			t.fails(t.SetPassword(ctx, rival, "u1", 1, "x", day), store.ErrNotFound, "SetPassword of another tenant")
			t.fails(t.SetPassword(ctx, rival, "u1", 2, "x", day), store.ErrNotFound, "SetPassword of another tenant, wrong generation")
			t.fails(t.SetNetworks(ctx, rival, "u1", nil), store.ErrNotFound, "SetNetworks of another tenant")
			t.fails(t.RotatePassword(ctx, rival, "u1", 1, "x", day, day), store.ErrNotFound, "RotatePassword of another tenant")
			t.fails(t.EndOverlap(ctx, rival, "u1", 1), store.ErrNotFound, "EndOverlap of another tenant")
			t.fails(t.DeleteUser(ctx, rival, "u1"), store.ErrNotFound, "DeleteUser of another tenant")
			t.fails(t.SuspendUser(ctx, rival, "u1", suspended, nil), store.ErrNotFound, "SuspendUser of another tenant")
			t.fails(t.SuspendDomain(ctx, rival, acmeDomain, suspended), store.ErrNotFound, "SuspendDomain of another tenant")
			t.fails(t.DeleteDomain(ctx, rival, acmeDomain), store.ErrNotFound, "DeleteDomain of another tenant")
			t.holds(u, hashOf("u1"))
		},
	},
	{
		name:  "Lookup/WhoeverItBelongsTo",
		words: "Lookup returns a user of any tenant, the hash of its password, and the old hash that RotatePassword has kept, if any, also after OldUntil. ErrNotFound: no tenant has such a user.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, []string{"r1"})
			t.holds(newUser(acme, acmeDomain, "u1"), hashOf("u1"))
			t.holds(newUser(rival, rivalDomain, "r1"), hashOf("r1"))
			for _, username := range []string{"", "u", "u11", acmeDomain, "%", "u_"} {
				u, hash, old, err := t.Lookup(t.Context(), username)
				t.fails(err, store.ErrNotFound, "Lookup(%q)", username)
				if err != nil && (hash != "" || old != "" || !reflect.DeepEqual(u, store.User{})) {
					t.Errorf("Lookup(%q): got %+v and hash %q with its error, want neither", username, u, hash)
				}
			}
		},
	},
}
