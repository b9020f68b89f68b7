package relay_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

// A message takes at most 256 KiB of memory and the buffers of its connection,
// whatever its size.
func TestMemoryOfAMessageInFlight(t *testing.T) {
	const most = 400
	for _, size := range []int{1, 10} {
		receiving, forwarding := messageMemory(t, size)
		t.Logf("%d MiB: %d KiB while it is received, %d KiB while it is forwarded", size, receiving, forwarding)
		if receiving > most || forwarding > most {
			t.Errorf("a message of %d MiB takes %d KiB while it is received and %d KiB while it is forwarded, want at most %d",
				size, receiving, forwarding, most)
		}
	}
}

// BenchmarkMessageMemory reports how much memory a message of 10 MiB takes while it
// is received or forwarded.
func BenchmarkMessageMemory(b *testing.B) {
	receiving, forwarding := 0, 0
	for b.Loop() {
		receiving, forwarding = messageMemory(b, 10)
	}
	b.ReportMetric(float64(max(receiving, forwarding)), "KB/message")
	b.ReportMetric(0, "ns/op") // not meaningful here
}

// messageMemory makes 20 clients send a message of size MiB at the same time, half of
// them with DATA and half with BDAT. It returns how many KiB a message takes after
// all but its end was sent, and while it is forwarded.
func messageMemory(tb testing.TB, size int) (receiving, forwarding int) {
	tb.Helper()
	const n = 20
	var arrived atomic.Int64
	goOn := make(chan struct{})
	addr := serveTLS(tb, relay.ForwarderFunc(func(context.Context, *relay.Message) error {
		arrived.Add(1)
		<-goOn
		return nil
	}))
	clients := make([]*benchClient, n)
	for i := range clients {
		clients[i] = logInBench(tb, addr)
	}
	step := func(c *benchClient, line string, want byte) {
		tb.Helper()
		if err := c.cmd(line, want); err != nil {
			tb.Fatal(err)
		}
	}
	idle := liveMemory()
	line := strings.Repeat("x", 1022) + "\r\n"
	chunk := strings.Repeat(line, 1024)
	for i, c := range clients {
		step(c, mailFrom, '2')
		step(c, rcptTo, '2')
		if i < n/2 {
			step(c, "DATA\r\n", '3')
			io.WriteString(c.conn, "From: shop@acme.example\r\n\r\n"+strings.Repeat(chunk, size))
			continue
		}
		step(c, "BDAT 27\r\nFrom: shop@acme.example\r\n\r\n", '2')
		for range size {
			step(c, fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk), '2')
		}
	}
	receiving = (liveMemory() - idle) / n
	for i, c := range clients {
		end := "BDAT 0 LAST\r\n"
		if i < n/2 {
			end = ".\r\n"
		}
		io.WriteString(c.conn, end)
	}
	eventually(tb, "all messages are forwarded", func() bool { return arrived.Load() == n })
	forwarding = (liveMemory() - idle) / n
	close(goOn)
	for _, c := range clients {
		if err := c.want('2'); err != nil {
			tb.Fatal(err)
		}
	}
	return receiving, forwarding
}

// liveMemory returns how many KiB of the heap and of stacks are in use.
func liveMemory() int {
	runtime.GC()
	runtime.GC() // the first one does not free the contents of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc+m.StackInuse) >> 10
}
