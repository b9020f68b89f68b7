package conformance_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// BenchmarkSpool puts and settles mails of 4 KiB, one after another for each
// of so many callers, and compares with the same disk's rate of writing 4 KiB
// and waiting for it.
func BenchmarkSpool(b *testing.B) {
	for _, backend := range backends {
		for _, callers := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%s/callers=%d", backend.name, callers), func(b *testing.B) {
				st := backend.open(b, backend.create(b))
				raw := appendRate(b)
				b.ResetTimer()
				race(callers, b.N, func(i int) {
					if err := putAndSettle(b, st, fmt.Sprintf("m%012d", i)); err != nil {
						b.Error(err)
					}
				})
				rate := float64(b.N) / b.Elapsed().Seconds()
				b.ReportMetric(rate, "mails/s")
				b.ReportMetric(raw, "fsyncs/s")
				b.ReportMetric(rate/raw, "ratio")
			})
		}
	}
}

// race has so many goroutines call f with each number below n.
func race(goroutines, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

var fourKiB = bytes.Repeat([]byte("0123456789abcde\n"), 256)

// putAndSettle puts a mail that is leased from the start, and settles it.
func putAndSettle(t testing.TB, st store.Spool, id string) error {
	m := store.Mail{ID: id, Tenant: "acme", Domain: "acme.example", Username: "u1", From: "shop@acme.example", Received: now, Size: int64(len(fourKiB))}
	d := store.Delivery{Recipient: "bob@example.net", Node: "n1", Lease: 1, Next: now}
	if err := st.Put(t.Context(), m, []store.Delivery{d}, bytes.NewReader(fourKiB)); err != nil {
		return err
	}
	lost, err := st.Settle(t.Context(), []store.Outcome{{Mail: id, Lease: 1, Done: true}})
	if len(lost) > 0 {
		err = fmt.Errorf("lost %+v", lost)
	}
	return err
}

var now = time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)

// appendRate is how often a second 4 KiB can be appended to a file and made
// durable.
func appendRate(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start, n := time.Now(), 0
	for ; time.Since(start) < time.Second/2; n++ {
		if _, err := f.Write(fourKiB); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}
