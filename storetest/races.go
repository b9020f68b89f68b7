package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// rounds is the number of times that a race is run, and racers the number of
// goroutines in it.
const (
	rounds = 10
	racers = 8
)

var racePromises = []promise{
	{
		name:  "Race/OneDomain",
		words: "Each method is atomic. If its error matches ErrNotFound, ErrTaken, ErrLimit or ErrConflict, it has changed nothing.",
		check: func(t *tester) {
			for i := range rounds {
				name := fmt.Sprintf("d%d.example", i)
				won := t.race(store.ErrTaken, func(st store.Store, racer int) error {
					return st.AddDomain(t.Context(), store.Domain{Tenant: tenantOf(racer), Name: name, Created: day}, 0)
				})
				t.exactlyOne(won, "AddDomain")
				for racer := range racers {
					if has := slices.Contains(t.domainNames(tenantOf(racer), store.Query{}), name); has != won[racer] {
						t.Errorf("tenant %q has the domain: %t, but AddDomain said %t", tenantOf(racer), has, won[racer])
					}
				}
			}
		},
	},
	{
		name:  "Race/OneUsername",
		words: "ErrTaken: the username was issued before, in any tenant, even if that user or its domain was deleted.",
		check: func(t *tester) {
			for racer := range racers {
				t.addDomain(tenantOf(racer), string(tenantOf(racer)))
			}
			for i := range rounds {
				username := fmt.Sprintf("u%d", i)
				of := func(racer int) store.User {
					return newUser(tenantOf(racer), string(tenantOf(racer)), username)
				}
				won := t.race(store.ErrTaken, func(st store.Store, racer int) error {
					return st.AddUser(t.Context(), of(racer), fmt.Sprint(racer), 0)
				})
				winner := t.exactlyOne(won, "AddUser")
				t.holds(of(winner), fmt.Sprint(winner))
			}
		},
	},
	{
		name:  "Race/Resets",
		words: "If several callers pass the same generation, exactly one call succeeds.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for range rounds {
				won := t.race(store.ErrConflict, func(st store.Store, racer int) error {
					return st.SetPassword(t.Context(), acme, "u1", u.Generation, fmt.Sprint("hash ", racer), day)
				})
				winner := t.exactlyOne(won, "SetPassword")
				u.Generation++
				t.holds(u, fmt.Sprint("hash ", winner))
			}
		},
	},
	{
		name:  "Race/Suspensions",
		words: "If several callers pass the same seen and other reasons, exactly one call succeeds.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			reason := func(round, racer int) string { return fmt.Sprintf("reason %d of round %d", racer, round) }
			for i := range rounds {
				won := t.race(store.ErrConflict, func(st store.Store, racer int) error {
					return st.SuspendUser(t.Context(), acme, "u1", reason(i, racer), &u.Suspended)
				})
				u.Suspended = reason(i, t.exactlyOne(won, "SuspendUser"))
				t.holds(u, hashOf("u1"))
			}
		},
	},
	{
		name:  "Race/AddAndDeleteUser",
		words: "Methods are safe for concurrent use.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for i := range rounds {
				u := newUser(acme, acmeDomain, fmt.Sprintf("u%d", i))
				done := t.race(store.ErrNotFound, func(st store.Store, racer int) error {
					if racer == 0 {
						return st.AddUser(t.Context(), u, hashOf(u.Username), 0)
					}
					return st.DeleteUser(t.Context(), acme, u.Username)
				})
				if !done[0] {
					t.Fatalf("AddUser failed although the domain was there")
				}
				if !slices.Contains(done[1:], true) {
					t.holds(u, hashOf(u.Username))
					continue
				}
				t.exactlyOne(done[1:], "DeleteUser")
				t.gone(u)
			}
		},
	},
	{
		name:  "Race/DomainDeletedWhileUsersAreAdded",
		words: "DeleteDomain removes the tenant's domain and every user of it, in one step.",
		check: func(t *tester) {
			t.addDomain(rival, rivalDomain)
			for i := range rounds {
				t.addDomain(acme, acmeDomain)
				of := func(racer int) store.User { return newUser(acme, acmeDomain, fmt.Sprintf("u%d-%d", i, racer)) }
				t.addUser(acme, acmeDomain, of(0).Username)
				added := t.race(store.ErrNotFound, func(st store.Store, racer int) error {
					if racer == 0 {
						return st.DeleteDomain(t.Context(), acme, acmeDomain)
					}
					return st.AddUser(t.Context(), of(racer), "x", 0)
				})
				t.noDomain(added[0])
				for racer := range racers {
					t.gone(of(racer))
					if racer > 0 && !added[racer] {
						continue
					}
					u := of(racer)
					u.Tenant, u.Domain = rival, rivalDomain
					t.fails(t.AddUser(t.Context(), u, "x", 0), store.ErrTaken, "AddUser of a username that went with its domain")
				}
			}
		},
	},
	{
		name:  "Race/DomainDeletedWhileItIsRead",
		words: "DeleteDomain removes the tenant's domain and every user of it, in one step.",
		check: func(t *tester) {
			for i := range rounds {
				t.addDomain(acme, acmeDomain)
				const users = 5
				for n := range users {
					t.addUser(acme, acmeDomain, fmt.Sprintf("u%d-%d", i, n))
				}
				var deleted atomic.Bool
				t.race(store.ErrNotFound, func(st store.Store, racer int) error {
					if racer == 0 {
						defer deleted.Store(true)
						return st.DeleteDomain(t.Context(), acme, acmeDomain)
					}
					for {
						over := deleted.Load()
						list, _, err := st.Users(t.Context(), acme, acmeDomain, store.Query{})
						switch {
						case err != nil:
							return err
						case len(list) != users:
							return fmt.Errorf("the domain has %d users, want %d, or ErrNotFound", len(list), users)
						case over:
							return errors.New("the domain is still there after DeleteDomain")
						}
					}
				})
			}
		},
	},
	{
		name:  "Race/UserAndDomainDeleted",
		words: "Methods are safe for concurrent use.",
		check: func(t *tester) {
			for i := range rounds {
				t.addDomain(acme, acmeDomain)
				of := func(racer int) store.User { return newUser(acme, acmeDomain, fmt.Sprintf("u%d-%d", i, racer)) }
				for racer := range racers {
					t.addUser(acme, acmeDomain, of(racer).Username)
				}
				done := t.race(store.ErrNotFound, func(st store.Store, racer int) error {
					switch racer {
					case 0, 1:
						return st.DeleteDomain(t.Context(), acme, acmeDomain)
					case 2:
						return st.SetPassword(t.Context(), acme, of(racer).Username, 1, "x", day)
					case 3:
						return st.RecordLogin(t.Context(), of(racer).Username, 1, day, addr4)
					default:
						return st.DeleteUser(t.Context(), acme, of(racer).Username)
					}
				})
				t.exactlyOne(done[:2], "DeleteDomain")
				for racer := range racers {
					t.gone(of(racer))
				}
			}
		},
	},
	{
		name:  "Race/LastConnection",
		words: "It never sets a time back, and returns nil then, so that nodes may report logins in any order.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			for i := range rounds {
				at := day.Add(time.Duration(i) * time.Hour)
				t.race(nil, func(st store.Store, racer int) error {
					from := addr4
					if racer == 3 {
						from = addr6 // the latest of them
					}
					return st.RecordLogin(t.Context(), "u1", 1, at.Add(time.Duration((racer+4)%racers)*time.Microsecond), from)
				})
				u.LastConnection, u.LastConnectionFrom = at.Add((racers-1)*time.Microsecond), addr6
				t.holds(u, hashOf("u1"))
			}
		},
	},
	{
		name:  "Race/DifferentChanges",
		words: "Methods are safe for concurrent use.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			// Concurrent changes of different fields of a user are all kept.
			for i := range rounds {
				u := newUser(acme, acmeDomain, "u1")
				u.Name = fmt.Sprint("name ", i)
				u.Generation = int64(i + 2)
				u.Suspended = fmt.Sprint("reason ", i)
				u.LastConnection, u.LastConnectionFrom = day.Add(time.Duration(i)*time.Hour), addr4
				t.race(nil, func(st store.Store, racer int) error {
					switch racer {
					case 0:
						return st.RenameUser(t.Context(), acme, "u1", u.Name, "")
					case 1:
						return st.SetPassword(t.Context(), acme, "u1", u.Generation-1, u.Name, day)
					case 2:
						return st.RecordLogin(t.Context(), "u1", 1, u.LastConnection, addr4)
					case 3:
						return st.AddUser(t.Context(), newUser(acme, acmeDomain, fmt.Sprint("other ", i)), "x", 0)
					case 4:
						return st.SuspendUser(t.Context(), acme, "u1", u.Suspended, nil)
					default:
						_, _, _, err := st.Lookup(t.Context(), "u1")
						return err
					}
				})
				t.holds(u, u.Name)
			}
		},
	},
}

func tenantOf(racer int) store.TenantID { return store.TenantID(fmt.Sprintf("tenant%d", racer)) }

// race calls f for all racers at once, on two handles in turn. It returns which calls
// returned nil. An error that does not match expected ends the case.
func (t *tester) race(expected error, f func(st store.Store, racer int) error) []bool {
	t.Helper()
	handles := []store.Store{t.Store, t.second()}
	errs := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for racer := range racers {
		wg.Go(func() {
			<-start
			errs[racer] = f(handles[racer%2], racer)
		})
	}
	close(start)
	wg.Wait()
	want := "no error"
	if expected != nil {
		want = fmt.Sprintf("none or %q", expected)
	}
	done := make([]bool, racers)
	for racer, err := range errs {
		if err != nil && (expected == nil || !errors.Is(err, expected)) {
			t.Fatalf("racer %d: got error %v, want %s", racer, err, want)
		}
		done[racer] = err == nil
	}
	return done
}

// second returns a second handle on the data of the case. It opens it once.
func (t *tester) second() store.Store {
	if t.other == nil {
		t.other = t.open()
	}
	return t.other
}

// exactlyOne returns the index of the only true in won, or ends the case.
func (t *tester) exactlyOne(won []bool, method string) int {
	t.Helper()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		t.Fatalf("%s at the same time: %v succeeded, want exactly one", method, won)
	}
	return winner
}

// noDomain ends the case unless acme's domain was deleted.
func (t *tester) noDomain(deleted bool) {
	t.Helper()
	if !deleted {
		t.Fatal("DeleteDomain failed although the domain was there")
	}
	if got := t.domainNames(acme, store.Query{}); len(got) > 0 {
		t.Fatalf("Domains: got %q after DeleteDomain", got)
	}
}
