package credentials_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

func TestEvents(t *testing.T) {
	f := newFixture(t)
	f.add("shop")
	var got, second []credentials.Event
	f.OnEvent = func(e credentials.Event) {
		// The store has executed the change before the event.
		if e, ok := e.(*credentials.PasswordReset); ok {
			u, _, _, err := f.spy.Store.Lookup(t.Context(), e.Username)
			if err != nil || u.Generation != e.Generation {
				t.Errorf("at %+v the store has %+v, %v; want generation %d", e, u, err, e.Generation)
			}
		}
		got = append(got, e)
	}
	cancel := f.Subscribe(func(e credentials.Event) { second = append(second, e) })

	_, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	must(t, err)
	must(t, f.acme.DeleteUser(t.Context(), f.user.Username))
	cancel()
	cancel()
	must(t, f.acme.DeleteDomain(t.Context(), "Acme.Example"))
	want := []credentials.Event{
		&credentials.PasswordReset{Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 2},
		&credentials.UserDeleted{Tenant: "acme", Domain: domain, Username: f.user.Username},
		&credentials.DomainDeleted{Tenant: "acme", Domain: domain},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("OnEvent got\n%v, want\n%v", got, want)
	}
	if !reflect.DeepEqual(second, want[:2]) {
		t.Errorf("a subscriber that canceled after two events got\n%v, want\n%v", second, want[:2])
	}
}

// A panic in a handler is logged. The caller gets the new password, and the other
// handlers get the event.
func TestPanicInOnEvent(t *testing.T) {
	f := newFixture(t)
	var log bytes.Buffer
	f.Logger = slog.New(slog.NewTextHandler(&log, nil))
	f.Subscribe(func(credentials.Event) { panic("the subscriber's mistake") })
	called := 0
	f.OnEvent = func(credentials.Event) { called++; panic("the embedder's mistake") }
	password, err := f.acme.ResetPassword(t.Context(), f.user.Username)
	must(t, err)
	if _, err := f.Authenticate(t.Context(), f.user.Username, password, netip.Addr{}); err != nil {
		t.Errorf("login with the new password: error is %v, want none", err)
	}
	if called != 1 {
		t.Errorf("OnEvent was called %d times, want once", called)
	}
	for _, want := range []string{"level=INFO msg=\"credentials: password reset\"", "the subscriber's mistake", "the embedder's mistake"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q:\n%s", want, &log)
		}
	}
}

func TestNoEventWithoutRevocation(t *testing.T) {
	f := newFixture(t)
	f.OnEvent = func(e credentials.Event) { t.Errorf("got the event %+v, want none", e) }
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
	reset := func(username string, generation int64) credentials.Event {
		return &credentials.PasswordReset{Tenant: "acme", Domain: "acme.example", Username: username, Generation: generation}
	}
	for _, tc := range []struct {
		event credentials.Event
		want  bool
	}{
		{reset("smtpa", 3), true},
		{reset("smtpa", 2), false}, // the new password
		{reset("smtpb", 3), false},
		{&credentials.UserDeleted{Tenant: "acme", Domain: "acme.example", Username: "smtpa"}, true},
		{&credentials.UserDeleted{Tenant: "acme", Domain: "acme.example", Username: "smtpb"}, false},
		{&credentials.DomainDeleted{Tenant: "acme", Domain: "acme.example"}, true},
		{&credentials.DomainDeleted{Tenant: "acme", Domain: "sub.acme.example"}, false},
		{&credentials.DomainDeleted{Tenant: "other", Domain: "acme.example"}, false}, // another tenant had the domain before
	} {
		if got := tc.event.Revokes(id); got != tc.want {
			t.Errorf("%T %+v: Revokes is %v, want %v", tc.event, tc.event, got, tc.want)
		}
	}
}
