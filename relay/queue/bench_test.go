package queue_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// BenchmarkForward accepts messages of 4 KiB on 10 connections and delivers
// them, with a spool in memory: what the queue itself costs. The yardstick is
// the same load on a Forwarder that discards.
func BenchmarkForward(b *testing.B) {
	content := []byte(hello + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 63))
	discard := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		_, err := io.Copy(io.Discard, m.Content())
		return err
	})
	load := func(b *testing.B, f relay.Forwarder, count *atomic.Int64) {
		var wg sync.WaitGroup
		var next atomic.Int64
		for range 10 {
			wg.Go(func() {
				for {
					n := int(next.Add(1))
					if n > b.N {
						return
					}
					m := message(int(count.Add(1)), "a@acme.example", "r@example.com")
					m.SetContent(bytes.NewReader(content), int64(len(content)))
					if err := f.Forward(context.Background(), m); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	b.Run("discard", func(b *testing.B) {
		load(b, discard, new(atomic.Int64))
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
	for name, limit := range map[string]int64{"end to end": 0, "end to end, memory short": -1} {
		b.Run(name, func(b *testing.B) {
			spool := new(memory.Store)
			q := &queue.Queue{Spool: spool, Next: discard, Logger: quiet, MaxMemory: limit}
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { q.Run(ctx) })
			b.ResetTimer()
			load(b, q, new(atomic.Int64))
			accepted := b.Elapsed()
			for {
				if d, _ := spool.Depth(ctx); d.Deliveries == 0 {
					break
				}
				time.Sleep(5 * time.Millisecond) // Depth looks at everything
			}
			b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "settled/s")
			cancel()
			wg.Wait()
		})
	}
}
