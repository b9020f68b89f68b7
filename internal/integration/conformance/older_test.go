package conformance_test

import (
	"testing"
	"time"
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
					SELECT tenant, domain, 'u2', name, 1, created, password_set, last_connection, last_from, hash FROM gatepost_users`,
			} {
				if _, err := db.ExecContext(ctx, statement); err != nil {
					t.Fatal(err)
				}
			}
			u, hash, old, err := st.Lookup(ctx, user.Username)
			if err != nil || hash != "third" || old != "" || !u.OldUntil.IsZero() || u.Generation != 3 {
				t.Errorf("Lookup after a reset by an older program: got %+v, %q, %q, %v", u, hash, old, err)
			}
			if u, _, _, err := st.Lookup(ctx, "u2"); err != nil || u.DomainSuspended != "abuse" || u.Suspended != "" || !u.OldUntil.IsZero() {
				t.Errorf("Lookup of a user that an older program added: got %+v, %v", u, err)
			}
		})
	}
}
