package credentials_test

import (
	"reflect"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

func TestEvents(t *testing.T) {
	f := newFixture(t)
	shop, _ := f.add("shop")
	var got []credentials.Event
	cancel := f.Subscribe(func(e credentials.Event) {
		// The store has confirmed: what was revoked is gone already.
		u, _, err := f.spy.Store.Lookup(t.Context(), e.Username)
		if e.Kind == credentials.PasswordReset && (err != nil || u.Generation != e.Generation) {
			t.Errorf("at %v the store has %+v, %v", e, u, err)
		}
		got = append(got, e)
	})
	second := 0
	stop := f.Subscribe(func(credentials.Event) { second++ })

	_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	must(t, err)
	must(t, f.acme.DeleteUser(t.Context(), f.user.Username))
	stop()
	stop()
	must(t, f.acme.DeleteDomain(t.Context(), "Acme.Example"))
	want := []credentials.Event{
		{Kind: credentials.PasswordReset, Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 2},
		{Kind: credentials.UserDeleted, Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 2},
		{Kind: credentials.DomainDeleted, Tenant: "acme", Domain: domain},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events\n%+v, want\n%+v", got, want)
	}
	if second != 2 {
		t.Errorf("a subscriber that left after two events got %d", second)
	}

	cancel()
	f.acme.AddDomain(t.Context(), domain)
	must(t, f.acme.DeleteDomain(t.Context(), domain))
	if len(got) != len(want) {
		t.Error("an event came after cancel")
	}
	_ = shop
}

func TestNothingHappenedNoEvent(t *testing.T) {
	f := newFixture(t)
	f.Subscribe(func(e credentials.Event) { t.Errorf("event %+v", e) })
	other := f.Tenant("other")
	_, err := other.ResetPassword(t.Context(), f.user.Username)
	wantError(t, err, store.ErrNotFound)
	wantError(t, other.DeleteUser(t.Context(), f.user.Username), store.ErrNotFound)
	wantError(t, other.DeleteDomain(t.Context(), domain), store.ErrNotFound)
	wantError(t, f.acme.DeleteUser(t.Context(), "smtpnobody"), store.ErrNotFound)
	must(t, f.acme.RenameUser(t.Context(), f.user.Username, "x"))
	f.add("tool")
}

func TestEventRevokes(t *testing.T) {
	id := credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "smtpa", Generation: 2}
	event := func(kind credentials.Kind, tenant store.TenantID, domain, username string, generation int64) credentials.Event {
		return credentials.Event{Kind: kind, Tenant: tenant, Domain: domain, Username: username, Generation: generation}
	}
	for _, tc := range []struct {
		event credentials.Event
		want  bool
	}{
		{event(credentials.PasswordReset, "acme", "acme.example", "smtpa", 3), true},
		{event(credentials.PasswordReset, "acme", "acme.example", "smtpa", 2), false}, // it is the new password's
		{event(credentials.PasswordReset, "acme", "acme.example", "smtpb", 3), false},
		{event(credentials.UserDeleted, "acme", "acme.example", "smtpa", 2), true},
		{event(credentials.UserDeleted, "acme", "acme.example", "smtpa", 1), true},
		{event(credentials.UserDeleted, "acme", "acme.example", "smtpb", 2), false},
		{event(credentials.DomainDeleted, "acme", "acme.example", "", 0), true},
		{event(credentials.DomainDeleted, "acme", "sub.acme.example", "", 0), false},
		{event(credentials.DomainDeleted, "other", "acme.example", "", 0), false}, // deleted before it was ours
		{credentials.Event{}, false},
	} {
		if got := tc.event.Revokes(id); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.event, got, tc.want)
		}
	}
}
