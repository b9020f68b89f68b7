package credentials_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

const week = 7 * 24 * time.Hour

// rotating runs f with a user whose password was rotated, in a bubble.
func rotating(t *testing.T, f func(t *testing.T, f *fixture, fresh credentials.Password)) {
	synctest.Test(t, func(t *testing.T) {
		fix := newFixture(t)
		must(t, fix.login(fix.user.Username, fix.password.Reveal(), here))
		time.Sleep(time.Hour)
		fresh, err := fix.acme.RotatePassword(t.Context(), fix.user.Username, week)
		must(t, err)
		f(t, fix, fresh)
	})
}

// Both passwords work until the overlap ends by itself, by EndOverlap or by a reset,
// and the sessions of the old one as well, on any node.
func TestRotate(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *fixture, credentials.Identity){
		"by itself": func(t *testing.T, f *fixture, id credentials.Identity) {
			time.Sleep(week - time.Second)
			must(t, f.Validate(t.Context(), id))
			must(t, f.login(f.user.Username, f.password.Reveal(), here))
			time.Sleep(time.Second)
		},
		"EndOverlap": func(t *testing.T, f *fixture, _ credentials.Identity) {
			must(t, f.acme.EndOverlap(t.Context(), f.user.Username))
		},
		"ResetPassword": func(t *testing.T, f *fixture, _ credentials.Identity) {
			_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			rotating(t, func(t *testing.T, f *fixture, fresh credentials.Password) {
				other := &credentials.Manager{Store: f.spy, Cost: cheap, Logger: f.Logger}
				ctx := t.Context()
				var ids [2]credentials.Identity
				for i, p := range []credentials.Password{f.password, fresh} {
					for _, m := range []*credentials.Manager{f.Manager, other} {
						id, err := m.Authenticate(ctx, f.user.Username, p, here)
						must(t, err)
						if ids[i] = id; id.Generation != int64(i+1) {
							t.Errorf("login with password %d: generation %d", i+1, id.Generation)
						}
						must(t, m.Validate(ctx, id))
					}
				}
				older := ids[0]
				older.Generation--
				wantError(t, f.Validate(ctx, older), credentials.ErrRevoked)

				end(t, f, ids[0])
				for _, m := range []*credentials.Manager{f.Manager, other} {
					wantError(t, m.Validate(ctx, ids[0]), credentials.ErrRevoked)
					_, err := m.Authenticate(ctx, f.user.Username, f.password, here)
					wantError(t, err, credentials.ErrDenied)
					_, err = m.Authenticate(ctx, f.user.Username, fresh, here)
					if name == "ResetPassword" {
						wantError(t, err, credentials.ErrDenied)
						continue
					}
					must(t, err)
					must(t, m.Validate(ctx, ids[1]))
				}
			})
		})
	}
}

// It is known when each password was last used.
func TestRotateTellsLastUse(t *testing.T) {
	rotating(t, func(t *testing.T, f *fixture, fresh credentials.Password) {
		user := func() store.User {
			u, err := f.acme.User(t.Context(), f.user.Username)
			must(t, err)
			return u
		}
		u := user()
		if u.OldConnection != u.LastConnection || u.OldConnection.IsZero() || !u.NewConnection.IsZero() || !u.OldUntil.Equal(u.PasswordSet.Add(week)) {
			t.Errorf("after the rotation: %+v", u)
		}
		must(t, f.login(f.user.Username, fresh.Reveal(), here))
		first := user()
		if first.NewConnection != first.LastConnection || first.OldConnection != u.OldConnection {
			t.Errorf("after a login with the new password: %+v", first)
		}
		// At the same moment, so that no login is left out as a repeated one.
		must(t, f.login(f.user.Username, f.password.Reveal(), here))
		if got := user(); got.OldConnection != first.NewConnection || got.NewConnection != first.NewConnection {
			t.Errorf("after a login with the old password: %+v", got)
		}
		must(t, f.acme.EndOverlap(t.Context(), f.user.Username))
		if got := user(); !got.OldUntil.IsZero() || !got.OldConnection.IsZero() || !got.NewConnection.IsZero() || got.Generation != 2 {
			t.Errorf("after the overlap: %+v", got)
		}
	})
}

// A password costs one hash, whether it is the new one, the old one or a wrong one. A
// known one costs none, a wrong one counts once for the rate limit, and an old one that
// has ended is refused without a hash.
func TestRotateCosts(t *testing.T) {
	rotating(t, func(t *testing.T, f *fixture, fresh credentials.Password) {
		login := func(password string, hashes float64, want error) {
			t.Helper()
			var err error
			if got := f.hashes(func() { err = f.login(f.user.Username, password, here) }); got != hashes || !errors.Is(err, want) {
				t.Errorf("got %v hashes and %v, want %v and %v", got, err, hashes, want)
			}
		}
		login(f.password.Reveal(), 0, nil) // verified before the rotation
		login(fresh.Reveal(), 1, nil)
		login(fresh.Reveal(), 0, nil)
		begin := time.Now()
		for i := range 10 {
			login(string(rune('a'+i)), 1, credentials.ErrDenied)
			login(string(rune('a'+i)), 0, credentials.ErrDenied)
		}
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("ten wrong passwords wait %v, want none", waited)
		}
		login("k", 1, credentials.ErrDenied)
		if waited := time.Since(begin); waited != 4*time.Second {
			t.Errorf("the eleventh waits %v, want 4s", waited)
		}

		restarted := &credentials.Manager{Store: f.spy, Cost: cheap, Logger: f.Logger}
		f.Manager = restarted
		login(f.password.Reveal(), 1, nil)
		login(f.password.Reveal(), 0, nil)
		must(t, f.acme.EndOverlap(t.Context(), f.user.Username))
		login(f.password.Reveal(), 0, credentials.ErrDenied)
		login(fresh.Reveal(), 1, nil)
	})
}

// A rotation applies the Manager's Cost. If that has changed, the old password needs a
// hash of its own until the overlap ends.
func TestRotateAppliesCost(t *testing.T) {
	rotating(t, func(t *testing.T, f *fixture, second credentials.Password) {
		time.Sleep(week)
		dear := credentials.Cost{MemoryKiB: 2 * cheap.MemoryKiB, Time: cheap.Time + 1, Threads: 1}
		f.Manager = &credentials.Manager{Store: f.spy, Cost: dear, Logger: f.Logger}
		third, err := f.Tenant("acme").RotatePassword(t.Context(), f.user.Username, week)
		must(t, err)
		_, hash, old, err := f.spy.Lookup(t.Context(), f.user.Username)
		must(t, err)
		if want := fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$", dear.MemoryKiB, dear.Time); !strings.HasPrefix(hash, want) {
			t.Error("the new hash does not have the Manager's Cost")
		}
		if strings.Split(hash, "$")[4] == strings.Split(old, "$")[4] {
			t.Error("the new hash has the salt of the old one")
		}
		for _, p := range []credentials.Password{third, second} {
			must(t, f.login(f.user.Username, p.Reveal(), here))
		}
		wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
		wantError(t, f.login(f.user.Username, "wrong", here), credentials.ErrDenied)
	})
}

func TestRotateRefused(t *testing.T) {
	rotating(t, func(t *testing.T, f *fixture, fresh credentials.Password) {
		ctx := t.Context()
		for _, overlap := range []time.Duration{-1, 0, 30*24*time.Hour + 1} {
			if _, err := f.acme.RotatePassword(ctx, f.user.Username, overlap); !isInvalid(err) {
				t.Errorf("RotatePassword for %v: got %v, want an InvalidError", overlap, err)
			}
		}
		_, err := f.acme.RotatePassword(ctx, f.user.Username, week)
		wantError(t, err, credentials.ErrOverlap)
		_, err = f.Tenant("rival").RotatePassword(ctx, f.user.Username, week)
		wantError(t, err, store.ErrNotFound)
		wantError(t, f.Tenant("rival").EndOverlap(ctx, f.user.Username), store.ErrNotFound)
		must(t, f.login(f.user.Username, f.password.Reveal(), here))
		time.Sleep(week)
		third, err := f.acme.RotatePassword(ctx, f.user.Username, 30*24*time.Hour)
		must(t, err)
		wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
		must(t, f.login(f.user.Username, fresh.Reveal(), here))
		must(t, f.login(f.user.Username, third.Reveal(), here))
	})
}

// A process died after a rotation was committed, so that nobody has the new password.
// The old one works, and a reset gives another, as the error of a second try says.
func TestRotateLosesNewPassword(t *testing.T) {
	rotating(t, func(t *testing.T, f *fixture, _ credentials.Password) {
		_, err := f.acme.RotatePassword(t.Context(), f.user.Username, week)
		wantError(t, err, credentials.ErrOverlap)
		if !strings.Contains(err.Error(), "ResetPassword replaces both if the new one was lost") {
			t.Errorf("the error does not tell what to do: %v", err)
		}
		must(t, f.login(f.user.Username, f.password.Reveal(), here))
		third, err := f.acme.ResetPassword(t.Context(), f.user.Username)
		must(t, err)
		must(t, f.login(f.user.Username, third.Reveal(), here))
		wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
	})
}

// If a reset comes before a rotation that began earlier, the rotation gets a conflict.
func TestRotateConflict(t *testing.T) {
	f := newFixture(t)
	f.spy.rotate = func() {
		_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
		must(t, err)
	}
	_, err := f.acme.RotatePassword(t.Context(), f.user.Username, week)
	wantError(t, err, store.ErrConflict)
}

func TestRotateEvents(t *testing.T) {
	id := credentials.Identity{Tenant: "acme", Domain: domain, Username: "u1", Generation: 2}
	for _, c := range []struct {
		event      credentials.Event
		generation int64
		want       bool
	}{
		{&credentials.PasswordRotated{Tenant: "acme", Domain: domain, Username: "u1", Generation: 3}, 2, false},
		{&credentials.PasswordRotated{Tenant: "acme", Domain: domain, Username: "u1", Generation: 3}, 1, true},
		{&credentials.OverlapEnded{Tenant: "acme", Domain: domain, Username: "u1", Generation: 3}, 2, true},
		{&credentials.OverlapEnded{Tenant: "acme", Domain: domain, Username: "u1", Generation: 3}, 3, false},
		{&credentials.OverlapEnded{Tenant: "acme", Domain: domain, Username: "u2", Generation: 3}, 2, false},
	} {
		if id.Generation = c.generation; c.event.Revokes(id) != c.want {
			t.Errorf("%+v revokes generation %d: got %t", c.event, c.generation, !c.want)
		}
	}
}
