package conformance_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// BenchmarkSpoolDepth puts, leases and settles mails in an empty spool and in
// one with 1,000,000 deferred deliveries, in turn, and reports how many times
// as long each takes in the latter (the medians).
//
// The plans, which are the same for both: Put appends to the primary key and to
// the two indexes; Lease reads that of lists, one entry for each list and as many
// of the lane as it returns; Settle, and Lease's update, go by primary key.
//
//	SQLite      SEARCH deliveries USING COVERING INDEX deliveries_of_list (list=? AND next<?)
//	            SEARCH deliveries USING INDEX sqlite_autoindex_deliveries_1 (mail=? AND n=?)
//	            SEARCH d USING COVERING INDEX sqlite_autoindex_deliveries_1 (mail=? AND n>?)    is any left?
//	PostgreSQL  Index Scan using deliveries_of_list, Index Cond: (list = $1 AND next <= $2)
//	            Nested Loop, Index Scan using deliveries_pkey, Index Cond: (mail = column1 AND n = column2)
//	            Index Only Scan using deliveries_pkey, Index Cond: (mail = m.mail AND n > 0)
//	MariaDB     range of_list, Using index
//	            range PRIMARY, both parts of the key
//	            range PRIMARY, ref PRIMARY
func BenchmarkSpoolDepth(b *testing.B) {
	for _, backend := range backends {
		b.Run(backend.name, func(b *testing.B) {
			empty := backend.open(b, backend.create(b))
			full := deferred(b, backend, 1_000_000)
			var took [2][4][]time.Duration // of empty and full; see step
			for i := 0; b.Loop(); i++ {
				for j, st := range []store.Spool{empty, full} {
					for k, d := range step(b, st, fmt.Sprintf("z%09d", i)) {
						took[j][k] = append(took[j][k], d)
					}
				}
			}
			b.ReportMetric(0, "ns/op") // of both together, which is of no use
			for k, name := range []string{"put", "lease", "settle", "settle-one"} {
				b.ReportMetric(float64(median(took[1][k]))/float64(median(took[0][k])), name+"-ratio")
			}
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// step puts ten recipients of a mail that is due at once, leases them, and settles
// nine together and the last by itself.
func step(b *testing.B, st store.Spool, id string) (took [4]time.Duration) {
	b.Helper()
	m := store.Mail{ID: id, Tenant: "acme", Received: now, Size: int64(len(fourKiB))}
	d := make([]store.Delivery, 10)
	for i := range d {
		d[i] = store.Delivery{Recipient: fmt.Sprintf("to%d@example.net", i), Next: now}
	}
	start := time.Now()
	if err := st.Put(b.Context(), m, d, bytes.NewReader(fourKiB)); err != nil {
		b.Fatal(err)
	}
	took[0] = time.Since(start)

	start = time.Now()
	leased, err := st.Lease(b.Context(), store.LeaseRequest{Node: "n1", Now: now, Limit: 10})
	if err != nil || len(leased) != 10 || leased[0].Mail.ID != id {
		b.Fatalf("Lease: got %d, %v", len(leased), err)
	}
	took[1] = time.Since(start)

	var outcomes []store.Outcome
	for _, l := range leased {
		outcomes = append(outcomes, store.Outcome{Mail: l.Delivery.Mail, N: l.Delivery.N, Lease: l.Delivery.Lease, Done: true})
	}
	for i, some := range [][]store.Outcome{outcomes[:9], outcomes[9:]} {
		start = time.Now()
		if lost, err := st.Settle(b.Context(), some); err != nil || len(lost) > 0 {
			b.Fatalf("Settle: got %+v, %v", lost, err)
		}
		took[2+i] = time.Since(start)
	}
	return took
}

// deferred returns a spool with n deliveries that are due within the next
// three days.
func deferred(b *testing.B, backend backend, n int) *sqlstore.Store {
	b.Helper()
	dsn := backend.create(b)
	st := backend.open(b, dsn)
	var batch []store.Delivery
	const each = 10
	for i := range each {
		batch = append(batch, store.Delivery{Recipient: fmt.Sprintf("to%d@example.net", i), Attempts: 1, Reason: "451 not now"})
	}
	var failed error
	race(100, n/each, func(i int) {
		d := slices.Clone(batch)
		for j := range d {
			d[j].Next = now.Add(time.Minute + time.Duration((i*each+j)*7919%n)*(3*24*time.Hour/time.Duration(n))).Truncate(time.Microsecond)
		}
		m := store.Mail{ID: fmt.Sprintf("m%09d", i), Tenant: "acme", Received: now, Size: 100}
		if err := st.Put(b.Context(), m, d, bytes.NewReader(fourKiB[:100])); err != nil {
			failed = err
		}
	})
	if failed != nil {
		b.Fatal(failed)
	}
	return st
}
