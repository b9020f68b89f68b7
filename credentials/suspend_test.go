package credentials_test

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// wantSuspended checks why Validate says that an identity may not send; both texts are
// empty if it may.
func wantSuspended(t *testing.T, f *fixture, id credentials.Identity, domain, reason string) {
	t.Helper()
	reads := len(f.spy.usernames)
	err := f.Validate(t.Context(), id)
	if n := len(f.spy.usernames) - reads; n != 1 {
		t.Errorf("Validate reads the store %d times, want once", n)
	}
	var suspended *credentials.SuspendedError
	if reason == "" {
		must(t, err)
	} else if !errors.As(err, &suspended) || suspended.Domain != domain || suspended.Reason != reason {
		t.Errorf("Validate: got %v, want a suspension of %q because of %q", err, domain, reason)
	}
}

func TestSuspend(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	var events []credentials.Event
	f.OnEvent = func(e credentials.Event) { events = append(events, e) }
	id, err := f.Authenticate(ctx, f.user.Username, f.password, here)
	must(t, err)

	must(t, f.acme.SuspendUser(ctx, f.user.Username, "  unpaid since 1 November\n"))
	wantSuspended(t, f, id, "", "unpaid since 1 November")
	must(t, f.acme.SuspendDomain(ctx, "Acme.Example.", "abuse"))
	wantSuspended(t, f, id, "", "unpaid since 1 November")
	must(t, f.acme.ResumeUser(ctx, f.user.Username))
	wantSuspended(t, f, id, domain, "abuse")

	late, password := f.add("late")
	lateID, err := f.Authenticate(ctx, late.Username, password, here)
	must(t, err)
	wantSuspended(t, f, lateID, domain, "abuse")
	before, _ := f.lastConnection()
	must(t, f.login(f.user.Username, f.password.Reveal(), there))
	if after, from := f.lastConnection(); !after.After(before) || from != there {
		t.Errorf("the login of a suspended user was not recorded: %v from %v", after, from)
	}

	_, err = f.acme.ResetPassword(ctx, f.user.Username)
	must(t, err)
	wantError(t, f.Validate(ctx, id), credentials.ErrRevoked) // which ends the session
	must(t, f.acme.ResumeDomain(ctx, domain))
	wantSuspended(t, f, lateID, "", "")

	want := []credentials.Event{
		&credentials.Suspended{Tenant: "acme", Domain: domain, Username: f.user.Username, Reason: "unpaid since 1 November"},
		&credentials.Suspended{Tenant: "acme", Domain: domain, Reason: "abuse"},
		&credentials.Resumed{Tenant: "acme", Domain: domain, Username: f.user.Username},
		&credentials.PasswordReset{Tenant: "acme", Domain: domain, Username: f.user.Username, Generation: 2},
		&credentials.Resumed{Tenant: "acme", Domain: domain},
	}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("OnEvent got\n%v, want\n%v", events, want)
	}
	for _, e := range events {
		if _, reset := e.(*credentials.PasswordReset); !reset && (e.Revokes(id) || e.Revokes(lateID)) {
			t.Errorf("%T revokes a login", e)
		}
	}
}

// ReplaceSuspension leaves a suspension that its caller has not seen.
func TestReplaceSuspension(t *testing.T) {
	f := newFixture(t)
	ctx, name := t.Context(), f.user.Username
	var events []credentials.Event
	f.OnEvent = func(e credentials.Event) { events = append(events, e) }
	wantError(t, f.acme.ReplaceSuspension(ctx, name, "abuse", "paused"), store.ErrConflict)
	must(t, f.acme.ReplaceSuspension(ctx, name, "", " paused "))
	wantError(t, f.acme.ReplaceSuspension(ctx, name, "", "unpaid"), store.ErrConflict)
	wantError(t, f.acme.ReplaceSuspension(ctx, name, "a\x00b", ""), store.ErrConflict)
	wantError(t, f.Tenant("rival").ReplaceSuspension(ctx, name, "paused", ""), store.ErrNotFound)
	if err := f.acme.ReplaceSuspension(ctx, name, "paused", "\u00fcberf\u00e4llig"); !isInvalid(err) {
		t.Errorf("a reason beyond ASCII: got %v, want an InvalidError", err)
	}
	u, err := f.acme.User(ctx, name)
	if err != nil || u.Suspended != "paused" {
		t.Errorf("got the reason %q and the error %v, want %q", u.Suspended, err, "paused")
	}
	must(t, f.acme.ReplaceSuspension(ctx, name, "paused", ""))
	want := []credentials.Event{
		&credentials.Suspended{Tenant: "acme", Domain: domain, Username: name, Reason: "paused"},
		&credentials.Resumed{Tenant: "acme", Domain: domain, Username: name},
	}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("OnEvent got\n%v, want\n%v", events, want)
	}
}

func TestSuspendOfOthers(t *testing.T) {
	f := newFixture(t)
	rival := f.Tenant("rival")
	ctx := t.Context()
	for _, c := range []struct {
		name string
		err  error
	}{
		{"SuspendUser", rival.SuspendUser(ctx, f.user.Username, "x")},
		{"ResumeUser", rival.ResumeUser(ctx, f.user.Username)},
		{"SuspendDomain", rival.SuspendDomain(ctx, domain, "x")},
		{"ResumeDomain", rival.ResumeDomain(ctx, domain)},
		{"SuspendUser of none", f.acme.SuspendUser(ctx, "nobody", "x")},
		{"SuspendUser of what is no username", f.acme.SuspendUser(ctx, "a\x00b", "x")},
		{"SuspendDomain of none", f.acme.SuspendDomain(ctx, "no.example", "x")},
	} {
		if !errors.Is(c.err, store.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", c.name, c.err)
		}
	}
	for _, reason := range []string{"", " \n", "a\nb", "\u202eabc", strings.Repeat("x", 201), "\xff", "\u200b", "Zahlung überfällig", "\u00a0paid\u00a0not"} {
		if err := f.acme.SuspendUser(ctx, f.user.Username, reason); !isInvalid(err) {
			t.Errorf("SuspendUser, reason %q: got %v, want an InvalidError", reason, err)
		}
		if err := f.acme.SuspendDomain(ctx, domain, reason); !isInvalid(err) {
			t.Errorf("SuspendDomain, reason %q: got %v, want an InvalidError", reason, err)
		}
	}
	var invalid *credentials.InvalidError
	if err := f.acme.SuspendUser(ctx, f.user.Username, "\u00fcberf\u00e4llig"); !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, "ASCII") {
		t.Errorf("a reason beyond ASCII: got %v, want an InvalidError that says so", err)
	}
	must(t, f.acme.SuspendUser(ctx, f.user.Username, strings.Repeat("x", 200)))
	if err := f.acme.SuspendDomain(ctx, "no domain", "x"); !isInvalid(err) {
		t.Errorf("SuspendDomain of what is no domain: got %v, want an InvalidError", err)
	}
}

// A user that is added while its domain is suspended is suspended, by any node.
func TestSuspendWhileUsersAreAdded(t *testing.T) {
	f := newFixture(t)
	other := &credentials.Manager{Store: f.spy, Cost: cheap, Logger: f.Logger}
	var wg sync.WaitGroup
	ids := make(chan credentials.Identity, 20)
	for range cap(ids) {
		wg.Go(func() {
			u, _, err := other.Tenant("acme").AddUser(t.Context(), domain, "tool")
			if err != nil {
				t.Error(err)
			}
			ids <- credentials.Identity{Tenant: u.Tenant, Domain: u.Domain, Username: u.Username, Generation: u.Generation}
		})
	}
	must(t, f.acme.SuspendDomain(t.Context(), domain, "abuse"))
	wg.Wait()
	close(ids)
	for id := range ids {
		wantSuspended(t, f, id, domain, "abuse")
	}
}
