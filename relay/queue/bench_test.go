package queue_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// BenchmarkQueue sends messages of 4 KiB over 10 TLS connections to a server
// with a queue in memory whose Next discards, and in turns to its yardstick: the
// same server without the queue. The ratios are of messages accepted, and of
// messages accepted, handed on and settled; 1 is as fast as the yardstick.
func BenchmarkQueue(b *testing.B) {
	discard := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		_, err := io.Copy(io.Discard, m.Content())
		return err
	})
	for _, bm := range []struct {
		name   string
		memory int64
	}{{"from memory", 0}, {"from the spool", -1}} {
		b.Run(bm.name, func(b *testing.B) {
			spool := new(memory.Store)
			q := &queue.Queue{Spool: spool, Next: discard, Logger: quiet, MaxMemory: bm.memory}
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { q.Run(ctx) })
			defer running.Wait()
			defer cancel()
			yardstick, ours := benchClients(b, discard), benchClients(b, q)
			var base, accepted, settled time.Duration
			b.ResetTimer()
			const turn = 1000
			for n := b.N; n > 0; n -= turn {
				base += load(b, yardstick, min(n, turn))
				start := time.Now()
				accepted += load(b, ours, min(n, turn))
				awaitEmpty(b, spool)
				settled += time.Since(start)
			}
			b.ReportMetric(float64(base)/float64(accepted), "accepted-ratio")
			b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted-ours/s")
			b.ReportMetric(float64(base)/float64(settled), "settled-ratio")
			b.ReportMetric(float64(b.N)/base.Seconds(), "yardstick/s")
			b.ReportMetric(float64(b.N)/settled.Seconds(), "settled-ours/s")
			b.ReportMetric(0, "ns/op") // the time of both together is of no use
		})
	}
}

func awaitEmpty(b *testing.B, spool store.Spool) {
	for {
		d, err := spool.Depth(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if d.Deliveries == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// benchClients starts a server in front of f, and logs in 10 clients.
func benchClients(b *testing.B, f relay.Forwarder) (clients []*benchClient) {
	r := relaytest.NewUnstartedRelay(b)
	r.Server.Forwarder = f
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go r.Server.ServeTLS(l)
	b.Cleanup(func() { r.Server.Close() })
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + r.Username + "\x00" + r.Password))
	for range 10 {
		conn, err := tls.Dial("tcp", l.Addr().String(), r.ClientTLS())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c := &benchClient{conn: conn, r: bufio.NewReader(conn)}
		if err := c.reply('2'); err != nil {
			b.Fatal(err)
		}
		for _, line := range []string{"EHLO client.test\r\n", "AUTH PLAIN " + plain + "\r\n"} {
			if err := c.cmd(line, '2'); err != nil {
				b.Fatal(err)
			}
		}
		clients = append(clients, c)
	}
	return clients
}

// load sends n messages.
func load(b *testing.B, clients []*benchClient, n int) time.Duration {
	b.Helper()
	start := time.Now()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for range work {
				if err := c.send(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return time.Since(start)
}

// A benchClient costs as little as a client can.
type benchClient struct {
	conn net.Conn
	r    *bufio.Reader
}

var benchBody = hello + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 63) + ".\r\n"

func (c *benchClient) send() error {
	for _, step := range []struct {
		line string
		want byte
	}{
		{"MAIL FROM:<shop@acme.example>\r\n", '2'}, {"RCPT TO:<bob@example.com>\r\n", '2'}, {"DATA\r\n", '3'}, {benchBody, '2'},
	} {
		if err := c.cmd(step.line, step.want); err != nil {
			return err
		}
	}
	return nil
}

func (c *benchClient) cmd(line string, want byte) error {
	if _, err := io.WriteString(c.conn, line); err != nil {
		return err
	}
	return c.reply(want)
}

func (c *benchClient) reply(want byte) error {
	for {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case line[0] != want:
			return fmt.Errorf("the server said %q", line)
		case len(line) > 3 && line[3] == ' ':
			return nil
		}
	}
}
