package conformance_test

import (
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// What an older program writes, which does not know the columns of suspensions and
// rotations: a user of a suspended domain is suspended, and a reset ends an overlap.
func TestOlderProgramBeside(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			db, st := b.openDB(t, dsn), b.open(t, dsn)
			ctx := t.Context()
			for _, err := range []error{
				st.AddDomain(ctx, domain, 0), st.AddUser(ctx, user, "first", 0),
				st.SuspendDomain(ctx, domain.Tenant, domain.Name, "abuse"),
				st.RotatePassword(ctx, user.Tenant, user.Username, 1, "second", user.PasswordSet, user.PasswordSet.Add(time.Hour)),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, hash, old, err := st.Lookup(ctx, user.Username); err != nil || hash != "second" || old != "first" {
				t.Fatalf("Lookup after the rotation: got %q, %q, %v", hash, old, err)
			}
			for _, statement := range []string{
				`UPDATE gatepost_users SET hash = 'third', generation = generation + 1`,
				`INSERT INTO gatepost_users (tenant, domain, username, name, generation, created, password_set, last_connection, last_from, hash)
					SELECT tenant, domain, 'u2', 'Büro Straße', 1, created, password_set, last_connection, last_from, hash FROM gatepost_users`,
			} {
				if _, err := db.ExecContext(ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			u, hash, old, err := st.Lookup(ctx, user.Username)
			if err != nil || hash != "third" || old != "" || !u.OldUntil.IsZero() || u.Generation != 3 {
				t.Errorf("Lookup after a reset by an older program: got %+v, %q, %q, %v", u, hash, old, err)
			}
			isFound(t, st, "u2")
			if u, _, _, err := st.Lookup(ctx, "u2"); err != nil || u.DomainSuspended != "abuse" || u.Suspended != "" || !u.OldUntil.IsZero() {
				t.Errorf("Lookup of a user that an older program added: got %+v, %v", u, err)
			}
		})
	}
}

// Users of before version 11, in which users have sort names, are found by their names.
func TestUsersOfVersion10(t *testing.T) {
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			db := b.openDB(t, dsn)
			atVersion(t, db, b.dialect, 10)
			for _, statement := range []string{
				`INSERT INTO gatepost_domains (name, tenant, created, owned) VALUES ('acme.example', 'acme', 0, 'acme.example')`,
				`INSERT INTO gatepost_users (tenant, domain, username, name, generation, created, password_set, last_connection, last_from, hash)
					VALUES ('acme', 'acme.example', 'u1', 'Büro Straße', 1, 0, 0, 0, '', 'h')`,
			} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			isFound(t, b.open(t, dsn), "u1")
		})
	}
}

// isFound checks that searches find the user of the name Büro Straße.
func isFound(t *testing.T, st store.Store, username string) {
	t.Helper()
	m := &credentials.Manager{Store: st}
	for _, search := range []string{"Büro", "buro", "Straße", "STRASSE"} {
		list, _, err := m.Tenant("acme").Users(t.Context(), "acme.example", store.Query{Search: search})
		if err != nil || len(list) != 1 || list[0].Username != username {
			t.Errorf("Users(%q): got %+v, %v, want %s", search, list, err, username)
		}
	}
}
