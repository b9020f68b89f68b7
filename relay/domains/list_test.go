package domains_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// States and NotVerified agree with Domain, make no records and see no other tenant.
func TestLists(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		failing := f.add(acme, "failing.example")
		remove := f.publish(failing)
		f.publish(f.add(acme, "fine.example"))
		f.add(acme, "waits.example")
		f.add(rival, "other.example")
		sleep(2 * time.Minute)
		remove()
		f.expectNotVerified("waits.example unverified")
		sleep(20 * time.Hour)
		f.expectNotVerified("failing.example failing, waits.example unverified")
		sleep(80 * time.Hour)
		f.expectNotVerified("failing.example failed, waits.example unverified")
		if list, err := f.NotVerified(t.Context(), acme, 1); err != nil || len(list) != 1 {
			t.Errorf("got %v, %v, want one", list, err)
		}

		fresh, err := f.creds.Tenant(acme).AddDomain(t.Context(), "fresh.example")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.creds.Tenant(acme).AddDomain(t.Context(), "fine.example"); err == nil {
			t.Fatal("added twice")
		}
		if err := f.creds.Tenant(acme).DeleteDomain(t.Context(), "waits.example"); err != nil {
			t.Fatal(err)
		}
		f.expectNotVerified("failing.example failed")
		synctest.Wait()
		var list []store.Domain
		for _, name := range []string{"fine.example", "failing.example"} {
			d, err := f.store.Domain(t.Context(), acme, name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, d)
		}
		states, err := f.States(t.Context(), acme, append(list, fresh))
		if got, want := named(states), "fine.example verified, failing.example failed, fresh.example unverified"; err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		if got, want := fmt.Sprint(states[0]), fmt.Sprint(f.domain(acme, "fine.example")); got != want {
			t.Errorf("got %s, want what Domain returns: %s", got, want)
		}
		if len(states[2].Records) != 0 {
			t.Errorf("got the records %v, want none: States makes none", states[2].Records)
		}
	})
}

// Domains that wait, and those that were deleted, do not hide one that failed.
func TestNotVerifiedOfMany(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		remove := f.publish(f.add(acme, "z.example"))
		sleep(2 * time.Minute)
		for i := range 20 {
			f.add(acme, fmt.Sprintf("new%02d.example", i))
			gone := fmt.Sprintf("gone%02d.example", i)
			f.add(acme, gone)
			if err := f.creds.Tenant(acme).DeleteDomain(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 { // they come in no order
			if list, err := f.NotVerified(t.Context(), acme, 10); err != nil || len(list) != 10 {
				t.Errorf("got %d domains, %v, want 10", len(list), err)
			}
		}
		remove()
		sleep(100 * time.Hour)
		for range 5 {
			list, err := f.NotVerified(t.Context(), acme, 10)
			if err != nil || len(list) != 10 || !strings.HasPrefix(named(list), "z.example failed, new") {
				t.Errorf("got %s, %v, want 10 with the one that failed first", named(list), err)
			}
		}
	})
}

func (f *fixture) expectNotVerified(want string) {
	f.Helper()
	list, err := f.NotVerified(f.Context(), acme, 10)
	if got := named(list); err != nil || got != want {
		f.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// named returns domains with their states.
func named(list []domains.Domain) string {
	var names []string
	for _, d := range list {
		names = append(names, d.Name+" "+string(d.State))
	}
	return strings.Join(names, ", ")
}
