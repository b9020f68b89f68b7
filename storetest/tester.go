package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Most cases begin with these two tenants and a domain of each.
const (
	acme  store.TenantID = "acme"
	rival store.TenantID = "rival"

	acmeDomain  = "acme.example"
	rivalDomain = "rival.example"
)

// day is the time that cases begin with. It is not a whole number of milliseconds.
var day = time.Date(2026, time.March, 29, 1, 59, 59, 987_654_000, time.UTC)

// A tester has the store of one case and the checks that several cases use.
type tester struct {
	*testing.T
	store.Store
	open  func() store.Store
	other store.Store // the second handle of a race

	sortNames map[string]string // of what addSorted has added
}

// fill adds both domains, and the given users to each.
func (t *tester) fill(ofAcme, ofRival []string) {
	t.Helper()
	t.addDomain(acme, acmeDomain)
	t.addDomain(rival, rivalDomain)
	for _, username := range ofAcme {
		t.addUser(acme, acmeDomain, username)
	}
	for _, username := range ofRival {
		t.addUser(rival, rivalDomain, username)
	}
}

func (t *tester) addDomain(tenant store.TenantID, name string) store.Domain {
	t.Helper()
	d := store.Domain{Tenant: tenant, Name: name, Created: day}
	t.ok(t.AddDomain(t.Context(), d, 0), "AddDomain(%q, %q)", tenant, name)
	return d
}

// claimed checks whether the tenant only claims the domain.
func (t *tester) claimed(tenant store.TenantID, want bool) {
	t.Helper()
	d, err := t.Domain(t.Context(), tenant, acmeDomain)
	t.ok(err, "Domain of %q", tenant)
	list, _, err := t.Domains(t.Context(), tenant, store.Query{})
	t.ok(err, "Domains of %q", tenant)
	if d.Claim != want || list[0].Claim != want {
		t.Errorf("%q: got Claim %t from Domain and %t from Domains, want %t", tenant, d.Claim, list[0].Claim, want)
	}
}

// newUser returns a user as package credentials makes it.
func newUser(tenant store.TenantID, domain, username string) store.User {
	return store.User{
		Tenant: tenant, Domain: domain, Username: username,
		Name: "the shop", Generation: 1, Created: day, PasswordSet: day,
	}
}

// hashOf is the hash that addUser gives a user.
func hashOf(username string) string { return "$hash of " + username }

func (t *tester) addUser(tenant store.TenantID, domain, username string) store.User {
	t.Helper()
	u := newUser(tenant, domain, username)
	t.ok(t.AddUser(t.Context(), u, hashOf(username), 0), "AddUser(%q, %q, %q)", tenant, domain, username)
	return u
}

// ok ends the case if err is not nil. The other arguments describe the call.
func (t *tester) ok(err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// fails reports err if it doesn't match want.
func (t *tester) fails(err, want error, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %q", fmt.Sprintf(format, args...), err, want)
	}
}

// holds checks that every method that reads users returns u, and Lookup its hash.
func (t *tester) holds(u store.User, hash string) {
	t.Helper()
	t.holdsBoth(u, hash, "")
}

// holdsBoth is holds for a user with an old hash.
func (t *tester) holdsBoth(u store.User, hash, old string) {
	t.Helper()
	got, err := t.User(t.Context(), u.Tenant, u.Username)
	t.ok(err, "User(%q, %q)", u.Tenant, u.Username)
	t.same(got, u, "User")
	got, gotHash, gotOld, err := t.Lookup(t.Context(), u.Username)
	t.ok(err, "Lookup(%q)", u.Username)
	t.same(got, u, "Lookup")
	if gotHash != hash || gotOld != old {
		t.Errorf("Lookup(%q): got hash %q and old hash %q, want %q and %q", u.Username, gotHash, gotOld, hash, old)
	}
	list, _, err := t.Users(t.Context(), u.Tenant, u.Domain, store.Query{Limit: 10_000})
	t.ok(err, "Users(%q, %q)", u.Tenant, u.Domain)
	for _, got := range list {
		if got.Username == u.Username {
			t.same(got, u, "Users")
			return
		}
	}
	t.Errorf("Users(%q, %q): no %q among %d users", u.Tenant, u.Domain, u.Username, len(list))
}

func (t *tester) same(got, want store.User, method string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s(%q):\n got %+v\nwant %+v", method, want.Username, got, want)
	}
}

// gone checks that no method finds the user.
func (t *tester) gone(u store.User) {
	t.Helper()
	ctx := t.Context()
	_, err := t.User(ctx, u.Tenant, u.Username)
	t.fails(err, store.ErrNotFound, "User(%q, %q)", u.Tenant, u.Username)
	_, _, _, err = t.Lookup(ctx, u.Username)
	t.fails(err, store.ErrNotFound, "Lookup(%q)", u.Username)
	t.fails(t.RenameUser(ctx, u.Tenant, u.Username, "x", "x"), store.ErrNotFound, "RenameUser(%q, %q)", u.Tenant, u.Username)
	t.fails(t.SetPassword(ctx, u.Tenant, u.Username, u.Generation, "x", day), store.ErrNotFound, "SetPassword(%q, %q)", u.Tenant, u.Username)
	t.fails(t.RotatePassword(ctx, u.Tenant, u.Username, u.Generation, "x", day, day), store.ErrNotFound, "RotatePassword(%q, %q)", u.Tenant, u.Username)
	t.fails(t.EndOverlap(ctx, u.Tenant, u.Username, u.Generation), store.ErrNotFound, "EndOverlap(%q, %q)", u.Tenant, u.Username)
	t.fails(t.SetNetworks(ctx, u.Tenant, u.Username, nil), store.ErrNotFound, "SetNetworks(%q, %q)", u.Tenant, u.Username)
	t.fails(t.SuspendUser(ctx, u.Tenant, u.Username, "x", nil), store.ErrNotFound, "SuspendUser(%q, %q)", u.Tenant, u.Username)
	t.fails(t.DeleteUser(ctx, u.Tenant, u.Username), store.ErrNotFound, "DeleteUser(%q, %q)", u.Tenant, u.Username)
	t.fails(t.RecordLogin(ctx, u.Username, 1, day, addr4), store.ErrNotFound, "RecordLogin(%q)", u.Username)
}

// domainNames returns the names of the tenant's domains on the page.
func (t *tester) domainNames(tenant store.TenantID, q store.Query) []string {
	t.Helper()
	list, _, err := t.Domains(t.Context(), tenant, q)
	t.ok(err, "Domains(%q, %+v)", tenant, q)
	return domainNamesOf(list)
}

func domainNamesOf(list []store.Domain) (names []string) {
	for _, d := range list {
		names = append(names, d.Name)
	}
	return names
}

// usernames returns the usernames of acme's domain on the page.
func (t *tester) usernames(q store.Query) []string {
	t.Helper()
	list, _, err := t.Users(t.Context(), acme, acmeDomain, q)
	t.ok(err, "Users(%q, %q, %+v)", acme, acmeDomain, q)
	return usernamesOf(list)
}

func usernamesOf(list []store.User) (names []string) {
	for _, u := range list {
		names = append(names, u.Username)
	}
	return names
}

// either reports err if it matches neither one nor other.
func (t *tester) either(err, one, other error, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, one) && !errors.Is(err, other) {
		t.Errorf("%s: got error %v, want %q or %q", fmt.Sprintf(format, args...), err, one, other)
	}
}
