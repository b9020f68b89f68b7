package credentials_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func TestAddUser(t *testing.T) {
	f := newFixture(t)
	u, p, err := f.acme.AddUser(t.Context(), "ACME.example.", "WordPress")
	must(t, err)
	if u.Tenant != "acme" || u.Domain != domain || u.Name != "WordPress" || u.Generation != 1 ||
		u.Created.IsZero() || u.PasswordSet != u.Created || !u.LastConnection.IsZero() || u.LastConnectionFrom.IsValid() {
		t.Errorf("got the user %+v, want one without a connection, with password 1 from its creation", u)
	}
	if u.Created != u.Created.UTC().Truncate(time.Microsecond) {
		t.Errorf("created at %v, want UTC and whole microseconds", u.Created)
	}
	for range 2 { // it can be read again
		got, err := f.acme.User(t.Context(), u.Username)
		if !reflect.DeepEqual(got, u) || err != nil {
			t.Errorf("User returned %+v, %v; want %+v", got, err, u)
		}
	}
	users, _, err := f.acme.Users(t.Context(), domain, store.Query{})
	if len(users) != 2 || err != nil {
		t.Errorf("got the users %+v, %v; want 2", users, err)
	}
	must(t, f.login(u.Username, p.Reveal(), here))
	_, _, err = f.acme.AddUser(t.Context(), "other.example", "tool")
	wantError(t, err, store.ErrNotFound)
	_, _, err = f.acme.AddUser(t.Context(), "localhost", "tool")
	if !isInvalid(err) {
		t.Errorf("got error %v, want an InvalidError", err)
	}
}

func TestUsernames(t *testing.T) {
	f := newFixture(t)
	seen := make(map[string]bool)
	letters := make(map[rune]bool)
	for range 200 {
		u, _ := f.add("tool")
		random, found := strings.CutPrefix(u.Username, "smtp")
		if !found || seen[u.Username] {
			t.Fatalf("got the username %q, want a new one that begins with smtp", u.Username)
		}
		seen[u.Username] = true
		for _, r := range random {
			letters[r] = true
		}
		if bits := float64(len(random)) * math.Log2(31); bits < 75 {
			t.Fatalf("username %q has %.0f bits, want at least 75", u.Username, bits)
		}
	}
	for r := range letters {
		if !strings.ContainsRune("abcdefghjkmnpqrstuvwxyz23456789", r) {
			t.Errorf("usernames contain %q, want only letters and digits that differ in shape", r)
		}
	}
	if len(letters) != 31 {
		t.Errorf("usernames use %d letters and digits, want 31", len(letters))
	}
}

func TestAddUserRetriesTakenUsername(t *testing.T) {
	f := newFixture(t)
	f.spy.taken = 2
	u, p := f.add("tool")
	must(t, f.login(u.Username, p.Reveal(), here))

	f.spy.taken = math.MaxInt // a store that always returns ErrTaken
	_, _, err := f.acme.AddUser(t.Context(), domain, "tool")
	wantError(t, err, store.ErrTaken)
}

func TestDescriptiveNames(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct{ in, want string }{
		{"WordPress", "WordPress"},
		{"  Shop (new)\t\n", "Shop (new)"},
		{`O'Reilly "CRM" <b>; DROP --`, `O'Reilly "CRM" <b>; DROP --`},
		{"Größe 👩‍👩‍👧", "Größe 👩‍👩‍👧"},
		{"two  spaces", "two  spaces"},
		{strings.Repeat("ü", 64), strings.Repeat("ü", 64)},
	} {
		must(t, f.acme.RenameUser(t.Context(), f.user.Username, tc.in))
		renamed, err := f.acme.User(t.Context(), f.user.Username)
		must(t, err)
		added, _ := f.add(tc.in)
		if renamed.Name != tc.want || added.Name != tc.want {
			t.Errorf("%q became %q by RenameUser and %q by AddUser, want %q", tc.in, renamed.Name, added.Name, tc.want)
		}
	}
	for _, tc := range []struct{ in, want string }{
		{"", "empty"},
		{" \n ", "empty"},
		{"\u200b", "empty"},        // a zero-width space
		{"\u200d \ufe0f", "empty"}, // a joiner and a variation selector
		{"\u2060", "empty"},        // a word joiner
		{"\u3164", "empty"},        // a Hangul filler
		{"\ufeff", "empty"},        // a byte order mark
		{"\u00ad", "empty"},        // a soft hyphen
		{"\u202e\u2066", "empty"},  // bidirectional overrides
		{strings.Repeat("ü", 65), "longer than 64"},
		{"a\nb", "line break"},
		{"a\x00b", "control"},
		{"a\x1b[31mb", "control"},
		{"a\u0085b", "control"},
		{"a\u2028b", "line break"},
		{"a\xffb", "UTF-8"},
	} {
		_, _, added := f.acme.AddUser(t.Context(), domain, tc.in)
		renamed := f.acme.RenameUser(t.Context(), f.user.Username, tc.in)
		for _, err := range []error{added, renamed} {
			var invalid *credentials.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "name" || !strings.Contains(invalid.Reason, tc.want) {
				t.Errorf("%q: error is %v, want an InvalidError with %q", tc.in, err, tc.want)
			}
		}
	}
}

func TestRenameUserChangesOnlyTheName(t *testing.T) {
	f := newFixture(t)
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	want, err := f.acme.User(t.Context(), f.user.Username)
	must(t, err)
	must(t, f.acme.RenameUser(t.Context(), f.user.Username, "Accounting"))
	want.Name, want.SortName = "Accounting", "accounting"
	if got, err := f.acme.User(t.Context(), f.user.Username); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("got the user %+v, %v; want %+v", got, err, want)
	}
	must(t, f.Validate(t.Context(), id))
	must(t, f.login(f.user.Username, f.password.Reveal(), here))
}

func TestResetPassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
		must(t, err)
		before, err := f.acme.User(t.Context(), f.user.Username)
		must(t, err)
		time.Sleep(time.Hour)

		fresh, err := f.acme.ResetPassword(t.Context(), f.user.Username)
		must(t, err)
		wantError(t, f.Validate(t.Context(), id), credentials.ErrRevoked)
		wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)

		after, err := f.acme.User(t.Context(), f.user.Username)
		must(t, err)
		if after.Generation != 2 || !after.PasswordSet.Equal(before.PasswordSet.Add(time.Hour)) {
			t.Errorf("after the reset the user is %+v, want generation 2, set an hour later", after)
		}
		after.Generation, after.PasswordSet = before.Generation, before.PasswordSet
		if !reflect.DeepEqual(after, before) {
			t.Errorf("the reset changed %+v to %+v, want no other change", before, after)
		}

		again, err := f.Authenticate(t.Context(), f.user.Username, fresh, here)
		must(t, err)
		must(t, f.Validate(t.Context(), again))
		wantError(t, f.Validate(t.Context(), id), credentials.ErrRevoked)
	})
}

// Two Managers share a store, as two nodes do.
func TestResetAndDeleteApplyToAllNodes(t *testing.T) {
	shared := new(memory.Store)
	one := &credentials.Manager{Store: shared, Cost: cheap}
	two := &credentials.Manager{Store: shared, Cost: cheap}
	ctx := t.Context()
	_, err := one.Tenant("acme").AddDomain(ctx, domain)
	must(t, err)
	u, old, err := one.Tenant("acme").AddUser(ctx, domain, "tool")
	must(t, err)
	id, err := two.Authenticate(ctx, u.Username, old, here)
	must(t, err)

	fresh, err := one.Tenant("acme").ResetPassword(ctx, u.Username)
	must(t, err)
	_, err = two.Authenticate(ctx, u.Username, old, here)
	wantError(t, err, credentials.ErrDenied)
	wantError(t, two.Validate(ctx, id), credentials.ErrRevoked)
	id, err = two.Authenticate(ctx, u.Username, fresh, here)
	must(t, err)

	must(t, one.Tenant("acme").DeleteUser(ctx, u.Username))
	_, err = two.Authenticate(ctx, u.Username, fresh, here)
	wantError(t, err, credentials.ErrDenied)
	wantError(t, two.Validate(ctx, id), credentials.ErrRevoked)
}

func TestOneOfSimultaneousResetsWins(t *testing.T) {
	f := newFixture(t)
	const n = 8
	passwords := make([]credentials.Password, n)
	errs := make([]error, n)
	var read, all sync.WaitGroup
	read.Add(n)
	f.Manager = &credentials.Manager{Store: &barrier{Store: f.spy, all: &read}, Cost: cheap}
	acme := f.Manager.Tenant("acme")
	for i := range n {
		all.Go(func() { passwords[i], errs[i] = acme.ResetPassword(t.Context(), f.user.Username) })
	}
	all.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			must(t, f.login(f.user.Username, passwords[i].Reveal(), here))
			continue
		}
		wantError(t, err, store.ErrConflict)
		if passwords[i] != (credentials.Password{}) {
			t.Error("a reset that lost returned a password, want none")
		}
	}
	if won != 1 {
		t.Errorf("%d of %d resets won, want 1", won, n)
	}
}

// A barrier is a store in which all callers of User wait for each other.
type barrier struct {
	store.Store
	all *sync.WaitGroup
}

func (m *barrier) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	u, err := m.Store.User(ctx, tenant, username)
	m.all.Done()
	m.all.Wait()
	return u, err
}

func TestDeleteUserIsFinal(t *testing.T) {
	f := newFixture(t)
	other, password := f.add("shop")
	id, err := f.Authenticate(t.Context(), f.user.Username, f.password, here)
	must(t, err)
	must(t, f.acme.DeleteUser(t.Context(), f.user.Username))

	wantError(t, f.login(f.user.Username, f.password.Reveal(), here), credentials.ErrDenied)
	wantError(t, f.Validate(t.Context(), id), credentials.ErrRevoked)
	wantError(t, f.acme.DeleteUser(t.Context(), f.user.Username), store.ErrNotFound)
	_, err = f.acme.ResetPassword(t.Context(), f.user.Username)
	wantError(t, err, store.ErrNotFound)
	must(t, f.login(other.Username, password.Reveal(), here))
}

func TestImplausibleUsernames(t *testing.T) {
	f := newFixture(t)
	for _, username := range []string{"", "\x00", "smtp\xff", strings.Repeat("x", 1<<20), f.user.Username + "\x00"} {
		_, err := f.acme.User(t.Context(), username)
		wantError(t, err, store.ErrNotFound)
		wantError(t, f.acme.DeleteUser(t.Context(), username), store.ErrNotFound)
		wantError(t, f.acme.RenameUser(t.Context(), username, "x"), store.ErrNotFound)
		wantError(t, f.login(username, "x", here), credentials.ErrDenied)
		if len(err.Error()) > 300 {
			t.Errorf("the error has %d bytes, want at most 300", len(err.Error()))
		}
	}
	if len(f.spy.usernames) != 0 {
		t.Errorf("the store was asked for %q, want no call", f.spy.usernames)
	}
}
