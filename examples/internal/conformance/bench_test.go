package conformance_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// BenchmarkLookup measures a login's look-up on SQLite among 1,000 users and
// among 1,000,000, in turn, and reports how many times as long the latter
// takes.
func BenchmarkLookup(b *testing.B) {
	for _, backend := range backends {
		if backend.dialect != sqlstore.SQLite {
			continue
		}
		b.Run(backend.name, func(b *testing.B) {
			const few, many = 1_000, 1_000_000
			small, large := filled(b, backend, few), filled(b, backend, many)
			lookup := func(st *sqlstore.Store, users int) time.Duration {
				username := fmt.Sprintf("u%07d", rand.IntN(users))
				start := time.Now()
				if _, _, err := st.Lookup(b.Context(), username); err != nil {
					b.Fatal(err)
				}
				return time.Since(start)
			}
			var fast, slow time.Duration
			for b.Loop() {
				fast += lookup(small, few)
				slow += lookup(large, many)
			}
			b.ReportMetric(0, "ns/op") // of both together: says nothing
			b.ReportMetric(float64(fast.Nanoseconds())/float64(b.N), "ns/lookup-1k")
			b.ReportMetric(float64(slow.Nanoseconds())/float64(b.N), "ns/lookup-1M")
			b.ReportMetric(float64(slow)/float64(fast), "ratio")
		})
	}
}

// filled returns a store of n users, u0000000 and so on.
func filled(b *testing.B, backend backend, n int) *sqlstore.Store {
	b.Helper()
	dsn := backend.create(b)
	st := backend.open(b, dsn)
	if err := st.AddDomain(b.Context(), domain); err != nil {
		b.Fatal(err)
	}
	db := backend.openDB(b, dsn)
	tx, err := db.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	for _, statement := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
		 INSERT INTO gatepost_usernames SELECT printf('u%07d', i) FROM n`,
		`INSERT INTO gatepost_users (tenant, domain, username, name, generation, created, password_set, last_connection, last_from, hash)
		 SELECT 'acme', 'acme.example', username, 'the shop', 1, 0, 0, 0, '192.0.2.1',
		        '$argon2id$v=19$m=19456,t=2,p=1$' || hex(randomblob(11)) || '$' || hex(randomblob(21))
		 FROM gatepost_usernames WHERE ? > 0`,
	} {
		if _, err := tx.ExecContext(b.Context(), statement, n); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	return st
}
