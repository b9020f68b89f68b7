package smarthost_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// BenchmarkForward hands messages over TLS to an upstream that throws them away,
// from ten senders on ten kept connections. The yardstick does the same with
// prepared bytes on bare connections: two writes, and the replies counted. The
// upstream's own work is in both.
func BenchmarkForward(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for how, extensions := range map[string][]string{"BDAT": nil, "DATA": without("CHUNKING")} {
			b.Run(fmt.Sprintf("%s-%dKiB", how, size>>10), func(b *testing.B) {
				up := &relaytest.Upstream{Discard: true, Extensions: extensions, ImplicitTLS: true}
				f := start(b, up)
				f.TLS = smarthost.ImplicitTLS
				line := strings.Repeat("x", 76) + "\r\n"
				content := "Subject: x\r\n\r\n" + strings.Repeat(line, size/len(line))
				b.SetBytes(int64(len(content)))
				b.ReportAllocs()

				bare := dialBare(b, up, how, content)
				var ours, yardstick time.Duration
				b.ResetTimer()
				for left, n := b.N, max(senders, b.N/20); left > 0; left -= n { // in turns: the machine isn't ours alone
					n = min(n, left)
					b.StartTimer()
					ours += parallel(b, n, func(_, n int) error { return forwardN(f, content, n) })
					b.StopTimer()
					yardstick += parallel(b, n, func(i, n int) error { return bare[i].send(n) })
				}
				b.ReportMetric(float64(yardstick)/float64(ours), "ratio")
			})
		}
	}
}

const senders = 10

// parallel has n messages sent by all senders, and returns how long it took.
func parallel(b *testing.B, n int, send func(i, n int) error) time.Duration {
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			if err := send(i, n/senders+min(1, max(0, n%senders-i))); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

func forwardN(f *smarthost.Forwarder, content string, n int) error {
	for range n {
		if err := f.Forward(context.Background(), message(content, "b@example.com")); err != nil {
			return err
		}
	}
	return nil
}

// A bare connection is the yardstick.
type bare struct {
	conn     *tls.Conn
	r        *bufio.Reader
	envelope []byte
	message  []byte
	replies  int // to the envelope
}

func dialBare(b *testing.B, up *relaytest.Upstream, how, content string) []*bare {
	conns := make([]*bare, senders)
	for i := range conns {
		cfg := up.ClientTLS()
		cfg.DynamicRecordSizingDisabled = true
		conn, err := tls.Dial("tcp", up.Addr(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c := &bare{conn: conn, r: bufio.NewReader(conn), replies: 2}
		c.envelope = fmt.Appendf(nil, "MAIL FROM:<a@example.org> SIZE=%d\r\nRCPT TO:<b@example.com>\r\n", len(content))
		c.message = fmt.Appendf(nil, "BDAT %d LAST\r\n%s", len(content), content)
		if how == "DATA" {
			c.envelope, c.replies = append(c.envelope, "DATA\r\n"...), 3
			c.message = []byte(content + ".\r\n")
		}
		if err := exchange(conn, c.r, []byte("EHLO bare\r\n"), 2); err != nil { // with the greeting
			b.Fatal(err)
		}
		conns[i] = c
	}
	return conns
}

func (c *bare) send(n int) error {
	for range n {
		if err := exchange(c.conn, c.r, c.envelope, c.replies); err != nil {
			return err
		}
		if err := exchange(c.conn, c.r, c.message, 1); err != nil {
			return err
		}
	}
	return nil
}

func exchange(w *tls.Conn, r *bufio.Reader, b []byte, replies int) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	for replies > 0 {
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("250 ")), bytes.HasPrefix(line, []byte("354 ")), bytes.HasPrefix(line, []byte("220 ")), bytes.HasPrefix(line, []byte("235 ")):
			replies--
		case !bytes.HasPrefix(line, []byte("250-")):
			return fmt.Errorf("%s", line)
		}
	}
	return nil
}
