package credentials_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var onceCost = credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}

func TestAddUserOnce(t *testing.T) {
	ctx := t.Context()
	st := new(memory.Store)
	// Two nodes, which share only the store.
	one := (&credentials.Manager{Store: st, Cost: onceCost}).Tenant("acme")
	two := (&credentials.Manager{Store: st, Cost: onceCost}).Tenant("acme")
	for _, name := range []string{"acme.example", "other.example"} {
		if _, err := one.AddDomain(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	first, password, err := one.AddUserOnce(ctx, "acme.example", "shop", "key 1")
	if err != nil || password.Reveal() == "" || len(first.Username) != 20 {
		t.Fatalf("got the user %+v, the error %v; want a user with a password", first, err)
	}
	for _, tc := range []struct {
		name   string
		tenant credentials.Tenant
	}{{"this node", one}, {"another node", two}} {
		again, password, err := tc.tenant.AddUserOnce(ctx, "ACME.example.", "shop again", "key 1")
		if !errors.Is(err, store.ErrTaken) || !reflect.DeepEqual(again, first) || password.Reveal() != "" {
			t.Errorf("same key on %s: got %+v, %q, %v; want %+v, no password, ErrTaken", tc.name, again, password.Reveal(), err, first)
		}
	}
	for _, tc := range []struct{ name, domain, key string }{
		{"another key", "acme.example", "key 2"}, {"another domain", "other.example", "key 1"},
	} {
		if u, _, err := two.AddUserOnce(ctx, tc.domain, "shop", tc.key); err != nil || u.Username == first.Username {
			t.Errorf("%s: got %+v, %v; want another user", tc.name, u, err)
		}
	}
	if err := one.DeleteUser(ctx, first.Username); err != nil {
		t.Fatal(err)
	}
	if again, _, err := one.AddUserOnce(ctx, "acme.example", "shop", "key 1"); !errors.Is(err, store.ErrTaken) || !reflect.DeepEqual(again, store.User{}) {
		t.Errorf("key of a deleted user: got %+v, %v; want no user and ErrTaken", again, err)
	}
	for _, key := range []string{"", strings.Repeat("k", 256)} {
		if _, _, err := one.AddUserOnce(ctx, "acme.example", "shop", key); !isInvalid(err) {
			t.Errorf("key of %d bytes: error is %v, want an InvalidError", len(key), err)
		}
	}
	if _, _, err := one.AddUserOnce(ctx, "no.example", "shop", "key"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown domain: error is %v, want ErrNotFound", err)
	}
}

func TestAddUserOnceDoesNotRetry(t *testing.T) {
	f := newFixture(t)
	f.spy.taken = 3
	_, _, err := f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	wantError(t, err, store.ErrTaken)
	if tries := 3 - f.spy.taken; tries != 1 {
		t.Errorf("AddUser was called %d times, want 1", tries)
	}
}

func TestAddUserOnceReportsStoreFailure(t *testing.T) {
	f := newFixture(t)
	u, _, err := f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	must(t, err)
	must(t, f.acme.DeleteUser(t.Context(), u.Username))
	away, reads := errors.New("the database is away"), 0
	f.spy.user = func() error {
		if reads++; reads > 1 { // the read after ErrTaken
			return away
		}
		return nil
	}
	_, _, err = f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	if !errors.Is(err, away) || errors.Is(err, store.ErrTaken) {
		t.Errorf("error is %v, want only the store's error", err)
	}
}

// Of simultaneous calls one succeeds, and its password works.
func TestOnceUnderConcurrency(t *testing.T) {
	ctx := t.Context()
	m := &credentials.Manager{Store: new(memory.Store), Cost: onceCost}
	acme := m.Tenant("acme")
	if _, err := acme.AddDomain(ctx, "acme.example"); err != nil {
		t.Fatal(err)
	}
	username := ""
	winner := race(t, store.ErrTaken, func() (credentials.Password, error) {
		u, p, err := acme.AddUserOnce(ctx, "acme.example", "shop", "key")
		if err == nil {
			username = u.Username
		}
		return p, err
	})
	logsIn(t, m, username, winner)
	winner = race(t, store.ErrConflict, func() (credentials.Password, error) {
		return acme.ResetPasswordOnce(ctx, username, 1)
	})
	logsIn(t, m, username, winner)
	if _, err := acme.ResetPasswordOnce(ctx, username, 1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second reset of generation 1: error is %v, want ErrConflict", err)
	}
	logsIn(t, m, username, winner)
	// Generation 1 has been reset, so a rotation of it would replace a password that its
	// caller has not seen.
	if _, err := acme.RotatePasswordOnce(ctx, username, time.Hour, 1); !errors.Is(err, store.ErrConflict) {
		t.Errorf("rotation of generation 1: error is %v, want ErrConflict", err)
	}
	fresh := race(t, store.ErrConflict, func() (credentials.Password, error) {
		return acme.RotatePasswordOnce(ctx, username, time.Hour, 2)
	})
	logsIn(t, m, username, fresh)
	logsIn(t, m, username, winner)
}

func race(t *testing.T, lost error, f func() (credentials.Password, error)) (winner credentials.Password) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for range 8 {
		wg.Go(func() {
			p, err := f()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won, winner = won+1, p
			case !errors.Is(err, lost) || p.Reveal() != "":
				t.Errorf("a call that lost got %q, %v; want no password, %v", p.Reveal(), err, lost)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 calls succeeded, want 1", won)
	}
	return winner
}

func logsIn(t *testing.T, m *credentials.Manager, username string, p credentials.Password) {
	t.Helper()
	if _, err := m.Authenticate(t.Context(), username, p, netip.Addr{}); err != nil {
		t.Errorf("login with the winner's password: error is %v, want none", err)
	}
}
