package credentials_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var onceCost = credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}

func TestAddUserOnce(t *testing.T) {
	ctx := t.Context()
	st := new(memory.Store)
	// Two nodes, which share nothing but the store.
	one := (&credentials.Manager{Store: st, Cost: onceCost}).Tenant("acme")
	two := (&credentials.Manager{Store: st, Cost: onceCost}).Tenant("acme")
	for _, name := range []string{"acme.example", "other.example"} {
		if _, err := one.AddDomain(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	first, password, err := one.AddUserOnce(ctx, "acme.example", "shop", "key 1")
	if err != nil || password.Reveal() == "" || len(first.Username) != 20 {
		t.Fatalf("got %+v, %v", first, err)
	}
	for name, tenant := range map[string]credentials.Tenant{"this node": one, "another node": two} {
		again, password, err := tenant.AddUserOnce(ctx, "ACME.example.", "shop again", "key 1")
		if !errors.Is(err, store.ErrTaken) || again != first || password.Reveal() != "" {
			t.Errorf("again, on %s: got %+v, %q, %v", name, again, password.Reveal(), err)
		}
	}
	for name, add := range map[string][2]string{"another key": {"acme.example", "key 2"}, "another domain": {"other.example", "key 1"}} {
		if u, _, err := two.AddUserOnce(ctx, add[0], "shop", add[1]); err != nil || u.Username == first.Username {
			t.Errorf("%s: got %+v, %v", name, u, err)
		}
	}
	if err := one.DeleteUser(ctx, first.Username); err != nil {
		t.Fatal(err)
	}
	if again, _, err := one.AddUserOnce(ctx, "acme.example", "shop", "key 1"); !errors.Is(err, store.ErrTaken) || again != (store.User{}) {
		t.Errorf("after it was deleted: got %+v, %v", again, err)
	}
	for _, key := range []string{"", strings.Repeat("k", 256)} {
		if _, _, err := one.AddUserOnce(ctx, "acme.example", "shop", key); !isInvalid(err) {
			t.Errorf("a key of %d bytes: got %v", len(key), err)
		}
	}
	if _, _, err := one.AddUserOnce(ctx, "no.example", "shop", "key"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown domain: got %v", err)
	}
}

func TestAddUserOnceTriesOnce(t *testing.T) {
	f := newFixture(t)
	f.spy.taken = 3
	_, _, err := f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	wantError(t, err, store.ErrTaken)
	if tries := 3 - f.spy.taken; tries != 1 {
		t.Errorf("the store was asked %d times", tries)
	}
}

func TestAddUserOnceTellsTroubleFromDeletion(t *testing.T) {
	f := newFixture(t)
	u, _, err := f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	must(t, err)
	must(t, f.acme.DeleteUser(t.Context(), u.Username))
	away, reads := errors.New("the database is away"), 0
	f.spy.user = func() error {
		if reads++; reads > 1 { // after the username turned out to be taken
			return away
		}
		return nil
	}
	_, _, err = f.acme.AddUserOnce(t.Context(), domain, "shop", "key")
	if !errors.Is(err, away) || errors.Is(err, store.ErrTaken) {
		t.Errorf("got %v", err)
	}
}

// Whatever comes at the same time, there is one winner, whose password works.
func TestOnceAtTheSameTime(t *testing.T) {
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
		t.Errorf("again: got %v", err)
	}
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
				t.Errorf("a loser got %q, %v", p.Reveal(), err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 won", won)
	}
	return winner
}

func logsIn(t *testing.T, m *credentials.Manager, username string, p credentials.Password) {
	t.Helper()
	if _, err := m.Authenticate(t.Context(), username, p, netip.Addr{}); err != nil {
		t.Errorf("the winner's password: %v", err)
	}
}
