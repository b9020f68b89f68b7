package smarthost_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// BenchmarkPassThrough submits messages of 4 KiB over ten TLS connections to a
// relay that hands them to an upstream, which throws them away. The yardstick is
// the same relay with a Forwarder that throws them away itself.
func BenchmarkPassThrough(b *testing.B) {
	up := &relaytest.Upstream{Discard: true}
	through := submitters(b, start(b, up))
	discard := submitters(b, relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }))
	yardstick.Compare(b, discard, through)
}

// submitters logs in ten clients at a relay that forwards to f.
func submitters(b *testing.B, f relay.Forwarder) func(n int) error {
	r := relaytest.NewUnstartedRelay(b)
	r.Server.MaxConnsPerAddr, r.Server.MaxConnsPerUser = 2*senders, 2*senders
	addr := serve(b, r.Server, f)
	line := strings.Repeat("x", 76) + "\r\n"
	content := fmt.Sprintf("From: a@%s\r\nSubject: x\r\n\r\n", r.Domain) + strings.Repeat(line, 4<<10/len(line))
	clients := make([]func() error, senders)
	for i := range clients {
		conn, err := tls.Dial("tcp", addr, r.ClientTLS())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		c := &bare{conn: conn, r: bufio.NewReader(conn), replies: 3}
		c.envelope = fmt.Appendf(nil, "MAIL FROM:<a@%s>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n", r.Domain)
		c.message = []byte(content + ".\r\n")
		login := base64.StdEncoding.EncodeToString([]byte("\x00" + r.Username + "\x00" + r.Password))
		if err := exchange(conn, c.r, []byte("EHLO bare\r\n"), 2); err != nil {
			b.Fatal(err)
		}
		if err := exchange(conn, c.r, []byte("AUTH PLAIN "+login+"\r\n"), 1); err != nil {
			b.Fatal(err)
		}
		clients[i] = c.send
	}
	return yardstick.Parallel(clients)
}

// serve starts a relay by hand: one of relaytest remembers every message.
func serve(b *testing.B, srv *relay.Server, f relay.Forwarder) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv.Forwarder = f
	go srv.ServeTLS(l)
	b.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}
