package conformance_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// BenchmarkHistory applies what has waited: messages that were accepted and delivered,
// of so many tenants, and recorded in the order in which a queue records them. Its
// metrics are how many events a second are applied, and the processor time that this
// process and the database server need for one.
func BenchmarkHistory(b *testing.B) {
	const messages = 25_000
	for _, backend := range databases() {
		for _, tenants := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/tenants=%d", backend.name, tenants), func(b *testing.B) {
				st := backend.open(b, backend.create(b))
				var published atomic.Int64
				h := &history.History{Store: st, Publish: func(_ context.Context, events []store.Event) error {
					published.Add(int64(len(events)))
					return nil
				}}
				var ours, servers time.Duration
				for b.Loop() {
					b.StopTimer()
					recordMessages(b, st, messages, tenants)
					published.Store(0)
					runtime.GC() // of what made the events
					ours, servers = ours-yardstick.CPUTime(), servers-services.CPUTime()
					b.StartTimer()
					applyAll(b, h, func() bool { return published.Load() >= 2*messages })
					b.StopTimer()
					ours, servers = ours+yardstick.CPUTime(), servers+services.CPUTime()
					b.StartTimer()
				}
				events := float64(2 * messages * b.N)
				b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64(ours.Microseconds())/events, "cpu-us/event")
				b.ReportMetric(float64(servers.Microseconds())/events, "server-us/event")
			})
		}
	}
}

// recordMessages records the events of messages, ten messages at a time.
func recordMessages(t testing.TB, st store.History, messages, tenants int) {
	t.Helper()
	var accepted, delivered []store.Event
	for i := range messages {
		at := time.Now().UTC().Truncate(time.Microsecond)
		e := store.Event{
			Kind: store.EventAccepted, Time: at, Received: at, Tenant: store.TenantID(fmt.Sprintf("tenant%d", i%tenants)),
			Domain: "acme.example", Username: fmt.Sprintf("user%d", i%tenants), Mail: relay.NewID(),
			From: "shop@acme.example", Author: "shop@acme.example", Recipient: fmt.Sprintf("bob%d@example.com", i),
			Subject: fmt.Sprintf("Your order %d", i), MessageID: fmt.Sprintf("<%d@acme.example>", i), Size: 4096,
		}
		accepted = append(accepted, e)
		e.Kind, e.Time = store.EventDelivered, at.Add(50*time.Millisecond)
		e.Attempt, e.Reply = 1, store.Reply{Code: 250, Enhanced: "2.0.0", Text: "queued as 4Zx8kq1", Host: "mx1.example.com"}
		delivered = append(delivered, e)
	}
	for part := range slices.Chunk(slices.Collect(interleaved(accepted, delivered)), 20) {
		if err := st.Record(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
}

// interleaved has ten events of the first list, then ten of the second, and so on.
func interleaved(a, b []store.Event) func(yield func(store.Event) bool) {
	return func(yield func(store.Event) bool) {
		for i := range a {
			if !yield(a[i]) {
				return
			}
			if i%10 == 9 {
				for _, e := range b[i-9 : i+1] {
					if !yield(e) {
						return
					}
				}
			}
		}
	}
}

// applyAll runs a History until nothing waits. It asks for that, which takes time itself,
// only if nearly reports true.
func applyAll(t testing.TB, h *history.History, nearly func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if !nearly() && time.Now().Before(end) {
			continue
		}
		j, err := h.Backlog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if j.Records == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d records wait after five minutes", j.Records)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
