package smarthost_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
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
				forward := func() error {
					return f.Forward(context.Background(), message(content, "b@example.com"))
				}
				ours := yardstick.Parallel(slices.Repeat([]func() error{forward}, senders))
				yardstick.Compare(b, dialBare(b, up, how, content), ours)
			})
		}
	}
}

const senders = 10

// A bare connection is the yardstick.
type bare struct {
	conn     *tls.Conn
	r        *bufio.Reader
	envelope []byte
	message  []byte
	replies  int // to the envelope
}

func dialBare(b *testing.B, up *relaytest.Upstream, how, content string) func(n int) error {
	clients := make([]func() error, senders)
	for i := range clients {
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
		clients[i] = c.send
	}
	return yardstick.Parallel(clients)
}

func (c *bare) send() error {
	if err := exchange(c.conn, c.r, c.envelope, c.replies); err != nil {
		return err
	}
	return exchange(c.conn, c.r, c.message, 1)
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
