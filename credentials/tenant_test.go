package credentials_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A call is a method of a Tenant or Manager.
type call struct {
	name string
	do   func() error
}

// calls returns all methods of a Tenant, applied to the given domain and user.
func calls(ctx context.Context, t credentials.Tenant, domain, username string) []call {
	return []call{
		{"AddDomain", func() error { _, err := t.AddDomain(ctx, "new."+domain); return err }},
		{"Domain", func() error { _, err := t.Domain(ctx, domain); return err }},
		{"Domains", func() error { _, _, err := t.Domains(ctx, store.Query{}); return err }},
		{"AddUser", func() error { _, _, err := t.AddUser(ctx, domain, "tool"); return err }},
		{"AddUserOnce", func() error { _, _, err := t.AddUserOnce(ctx, domain, "tool", "key"); return err }},
		{"User", func() error { _, err := t.User(ctx, username); return err }},
		{"Users", func() error { _, _, err := t.Users(ctx, domain, store.Query{}); return err }},
		{"RenameUser", func() error { return t.RenameUser(ctx, username, "tool") }},
		{"ResetPassword", func() error { _, err := t.ResetPassword(ctx, username); return err }},
		{"ResetPasswordOnce", func() error { _, err := t.ResetPasswordOnce(ctx, username, 1); return err }},
		{"RotatePasswordOnce", func() error { _, err := t.RotatePasswordOnce(ctx, username, time.Hour, 1); return err }},
		{"DeleteUser", func() error { return t.DeleteUser(ctx, username) }},
		{"DeleteDomain", func() error { return t.DeleteDomain(ctx, domain) }},
	}
}

func TestEmptyTenantFails(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		what   string
		tenant credentials.Tenant
	}{{"no ID", f.Tenant("")}, {"zero Tenant", credentials.Tenant{}}} {
		for _, c := range calls(t.Context(), tc.tenant, domain, f.user.Username) {
			if err := c.do(); err == nil || !strings.Contains(err.Error(), "no tenant") {
				t.Errorf("%s: %s: error is %v, want one with %q", tc.what, c.name, err, "no tenant")
			}
		}
	}
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
}

func TestManagerWithoutStoreFails(t *testing.T) {
	m := new(credentials.Manager)
	all := append(calls(t.Context(), m.Tenant("acme"), domain, "smtp"),
		call{"Authenticate", func() error {
			_, err := m.Authenticate(t.Context(), "smtp", credentials.Password{}, here)
			return err
		}},
		call{"Validate", func() error { return m.Validate(t.Context(), credentials.Identity{}) }})
	for _, c := range all {
		if err := c.do(); err == nil || !strings.Contains(err.Error(), "Store is required") {
			t.Errorf("%s: error is %v, want one with %q", c.name, err, "Store is required")
		}
	}
}

func TestOtherTenantGetsNotFound(t *testing.T) {
	f := newFixture(t)
	for _, c := range calls(t.Context(), f.Tenant("other"), domain, f.user.Username) {
		if c.name == "AddDomain" || c.name == "Domains" {
			continue
		}
		if err := c.do(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: error is %v, want ErrNotFound", c.name, err)
		}
	}
	if list, _, err := f.Tenant("other").Domains(t.Context(), store.Query{}); len(list) != 0 || err != nil {
		t.Errorf("Domains of the other tenant: got %v, %v; want none", list, err)
	}
	if u, err := f.acme.User(t.Context(), f.user.Username); !reflect.DeepEqual(u, f.user) || err != nil {
		t.Errorf("the user is %+v, %v; want %+v", u, err, f.user)
	}
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
}

func TestAddDomain(t *testing.T) {
	f := newFixture(t)
	d, err := f.acme.AddDomain(t.Context(), "Mün.Example.")
	must(t, err)
	if d.Name != "xn--mn-xka.example" || d.Tenant != "acme" || d.Created.IsZero() || d.Created.Location() != time.UTC {
		t.Errorf("got the domain %+v, want an A-label, the tenant and a time in UTC", d)
	}
	_, err = f.acme.AddDomain(t.Context(), "MÜN.example")
	wantError(t, err, store.ErrTaken)
	_, err = f.Tenant("other").AddDomain(t.Context(), "MÜN.example")
	wantError(t, err, store.ErrTaken)
	claims := credentials.Manager{Store: f.Store, ClaimDomains: true}
	if other, err := claims.Tenant("other").AddDomain(t.Context(), "MÜN.example"); err != nil || other.Tenant != "other" || !other.Claim {
		t.Errorf("another tenant with ClaimDomains: got %+v, %v; want a claim of its own", other, err)
	}
	list, _, err := f.acme.Domains(t.Context(), store.Query{})
	must(t, err)
	if len(list) != 2 || list[0].Name != domain || list[1] != d {
		t.Errorf("got the domains %+v, want %s and %+v", list, domain, d)
	}
	for name, ok := range map[string]bool{"localhost": false, "co.uk": false, "公司.cn": false, "github.io": true, "acme.co.uk": true} {
		if _, err = f.acme.AddDomain(t.Context(), name); ok && err != nil || !ok && !isInvalid(err) {
			t.Errorf("%s: got error %v, want an InvalidError: %t", name, err, !ok)
		}
	}
}

func TestDeleteDomainIsFinal(t *testing.T) {
	f := newFixture(t)
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	must(t, f.acme.DeleteDomain(t.Context(), "ACME.Example."))

	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
	wantError(t, f.Validate(t.Context(), id), credentials.ErrRevoked)
	_, err = f.acme.User(t.Context(), f.user.Username)
	wantError(t, err, store.ErrNotFound)
	wantError(t, f.acme.DeleteDomain(t.Context(), domain), store.ErrNotFound)

	other := f.Tenant("other")
	_, err = other.AddDomain(t.Context(), domain)
	must(t, err)
	users, _, err := other.Users(t.Context(), domain, store.Query{})
	if len(users) != 0 || err != nil {
		t.Errorf("the new domain has the users %v, %v; want none", users, err)
	}
	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
}

func TestEndedContext(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range calls(ctx, f.acme, domain, f.user.Username) {
		if err := c.do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error is %v, want context.Canceled", c.name, err)
		}
	}
	_, err := f.Authenticate(ctx, f.user.Username, f.password, here)
	wantError(t, err, context.Canceled)
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
}
