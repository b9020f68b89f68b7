package conformance_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// BenchmarkSpoolLanes leases 100 deliveries from a spool with 100,000 lanes, and settles
// them: all lanes are due, or only 100 of them are. It reports the time of the first
// Lease of a process, and of a later one.
func BenchmarkSpoolLanes(b *testing.B) {
	for _, due := range []int{100_000, 100} {
		b.Run(fmt.Sprintf("memory/due=%d", due), func(b *testing.B) {
			st := new(memory.Store)
			putLanes(b, st, due)
			leaseLanes(b, st)
		})
		for _, backend := range databases() {
			b.Run(fmt.Sprintf("%s/due=%d", backend.name, due), func(b *testing.B) {
				dsn := backend.create(b)
				putLanes(b, backend.open(b, dsn), due)
				st := backend.open(b, dsn)
				leaseLanes(b, st)
			})
		}
	}
}

// putLanes puts a delivery to each of 100,000 destinations, of which the first are due.
func putLanes(b *testing.B, st store.Spool, due int) {
	b.Helper()
	ds := make([]store.Delivery, 100_000)
	for i := range ds {
		ds[i] = store.Delivery{Recipient: "bob@example.net", Destination: fmt.Sprintf("d%05d.example", i*7919%len(ds)), Next: now}
		if i >= due {
			ds[i].Next = now.Add(time.Hour)
		}
	}
	m := store.Mail{ID: "m1", Tenant: "acme", Received: now, Size: 100}
	if err := st.Put(b.Context(), m, ds, bytes.NewReader(fourKiB[:100])); err != nil {
		b.Fatal(err)
	}
}

// leaseLanes leases 100 deliveries again and again.
func leaseLanes(b *testing.B, st store.Spool) {
	lease := func(want int) {
		leased, err := st.Lease(b.Context(), store.LeaseRequest{Node: "n1", Now: now, Limit: 100})
		if err != nil || len(leased) < want {
			b.Fatalf("Lease: got %d, %v, want %d", len(leased), err, want)
		}
		b.StopTimer()
		defer b.StartTimer()
		var outcomes []store.Outcome
		for _, l := range leased {
			outcomes = append(outcomes, store.Outcome{Mail: l.Delivery.Mail, N: l.Delivery.N, Lease: l.Delivery.Lease, Next: now})
		}
		if lost, err := st.Settle(b.Context(), outcomes); err != nil || len(lost) > 0 {
			b.Fatalf("Settle: %d lost, %v", len(lost), err)
		}
	}
	began := time.Now()
	lease(0)
	first := time.Since(began)
	for range 5 { // a slow database is not read in one call
		lease(0)
	}
	for b.Loop() {
		lease(100)
	}
	b.ReportMetric(first.Seconds()*1000, "first-ms")
}
