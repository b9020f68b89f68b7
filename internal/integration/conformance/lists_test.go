package conformance_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A page of a domain with 10,000 users, or of a tenant with 10,000 domains of one user
// each, takes less time than reading the whole list, whatever page, order, filter and
// search. On SQLite that is processor time. Pages about the last connections of
// domains read all users, and may take twice as long. The log has the times.
func TestListsOfTenThousand(t *testing.T) {
	services.OnlyLong(t)
	const entries = 10_000
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := listed(t, b, entries)
			clock := func() time.Duration { return time.Duration(time.Now().UnixNano()) }
			if b.dialect == sqlstore.SQLite { // the clock depends on the load of the machine
				clock = yardstick.CPUTime
			}
			whole := least(3, clock, func() error { return readAll(t, st, entries) })
			t.Logf("the whole list of users: %v", whole.Round(100*time.Microsecond))
			for what, q := range map[string]store.Query{
				"first page":           {},
				"descending":           {Descending: true},
				"search":               {Search: "tool 0777"},
				"search that has none": {Search: "nothing"},
				"search that has all":  {Search: "tool"},
				"never":                {Never: true},
				"unused":               {ConnectedBefore: now.Add(-time.Hour)},
				"suspended":            {Suspended: true},
			} {
				for _, order := range []store.Order{store.ByName, store.ByConnection} {
					q.Order, q.Limit = order, 50
					for list, read := range map[string]func(store.Query) (store.Found, error){
						"Users": func(q store.Query) (store.Found, error) {
							_, found, err := st.Users(t.Context(), "acme", "acme.example", q)
							return found, err
						},
						"Users of all domains": func(q store.Query) (store.Found, error) {
							_, found, err := st.Users(t.Context(), "many", "", q)
							return found, err
						},
						"Domains": func(q store.Query) (store.Found, error) {
							_, found, err := st.Domains(t.Context(), "many", q)
							return found, err
						},
					} {
						found, err := read(q)
						if err != nil {
							t.Fatal(err)
						}
						if q.Search == "" && found.All != entries {
							t.Fatalf("%s: got %+v, want %d entries", list, found, entries)
						}
						second := q
						second.After = found.Next
						for page, q := range map[string]store.Query{"": q, ", second page": second} {
							best := least(7, clock, func() error { _, err := read(q); return err })
							t.Logf("%s, %s, order %d%s: %v", list, what, order, page, best.Round(100*time.Microsecond))
							most := whole
							if list == "Domains" && (order == store.ByConnection || q.Never || !q.ConnectedBefore.IsZero()) {
								most *= 2 // all users are read
							}
							if best > most {
								t.Errorf("%s, %s, order %d%s: takes %v, want at most %v", list, what, order, page, best, most)
							}
						}
					}
				}
			}
		})
	}
}

// least returns the least time that one of n calls takes.
func least(n int, clock func() time.Duration, call func() error) time.Duration {
	var took []time.Duration
	for range n {
		began := clock()
		if err := call(); err != nil {
			panic(err)
		}
		took = append(took, clock()-began)
	}
	return slices.Min(took)
}

// readAll reads all users of a domain in pages.
func readAll(t *testing.T, st *sqlstore.Store, want int) error {
	t.Helper()
	q, n := store.Query{Limit: 500}, 0
	for {
		list, found, err := st.Users(t.Context(), "acme", "acme.example", q)
		if n += len(list); err != nil || found.Next == "" {
			if n != want {
				t.Errorf("the whole list has %d users, want %d", n, want)
			}
			return err
		}
		q.After = found.Next
	}
}

// listed returns a store with so many users of one domain, and as many domains with one
// user each.
func listed(t *testing.T, b backend, entries int) *sqlstore.Store {
	t.Helper()
	dsn := b.create(t)
	st, db := b.open(t, dsn), b.openDB(t, dsn)
	if err := st.AddDomain(t.Context(), store.Domain{Tenant: "acme", Name: "acme.example", Created: now}, 0); err != nil {
		t.Fatal(err)
	}
	series := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)", entries-1)
	i, number := "i", "printf('%05d', i * 7919 % 10000)"
	switch b.dialect {
	case sqlstore.Postgres:
		i, number = "CAST(i AS BIGINT)", "lpad(CAST(CAST(i AS BIGINT) * 7919 % 10000 AS TEXT), 5, '0')"
	case sqlstore.MySQL:
		number = "LPAD(i * 7919 % 10000, 5, '0')"
	}
	concat := func(a, b string) string { return a + " || " + b }
	if b.dialect == sqlstore.MySQL {
		concat = func(a, b string) string { return "CONCAT(" + a + ", " + b + ")" }
	}
	at := now.UnixMicro()
	for _, statement := range []string{
		`INSERT INTO gatepost_domains (name, tenant, sort_name, created) ` + series + fmt.Sprintf(` SELECT %s, 'many', %[1]s, %d FROM n`, concat("'tool '", number), at),
		`INSERT INTO gatepost_users (tenant, domain, username, name, sort_name, generation, created, password_set, last_connection, last_from, hash) ` + series +
			fmt.Sprintf(` SELECT 'many', %s, %s, 'x', %[1]s, 1, %[3]d, %[3]d, CASE WHEN i %% 3 = 0 THEN -62135596800000000 ELSE %[3]d - %[4]s * 100000000 END, '', 'h' FROM n`, concat("'tool '", number), concat("'m'", number), at, i),
		`INSERT INTO gatepost_users (tenant, domain, username, name, sort_name, generation, created, password_set, last_connection, last_from, hash) ` + series +
			fmt.Sprintf(` SELECT 'acme', 'acme.example', %s, 'x', %s, 1, %[3]d, %[3]d, CASE WHEN i %% 3 = 0 THEN -62135596800000000 ELSE %[3]d - %[4]s * 100000000 END, '', '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' FROM n`, concat("'u'", number), concat("'tool '", number), at, i),
	} {
		if b.dialect == sqlstore.MySQL { // WITH comes after INSERT ... only with the limit of recursions raised
			statement = "SET STATEMENT max_recursive_iterations = 100000 FOR " + statement
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if b.dialect == sqlstore.Postgres {
		if _, err := db.ExecContext(t.Context(), "ANALYZE gatepost_users, gatepost_domains"); err != nil {
			t.Fatal(err)
		}
	}
	return st
}
