package conformance_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The load: messages of 4 KiB, whose commands are pipelined (RFC 2920).
var (
	envelope = []byte("MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
	message  = []byte("From: shop@acme.example\r\nSubject: Your order\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52) + ".\r\n")
)

// A client costs as little as a client can.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// clients connects n clients, over TLS if there is a line to log in with, and
// returns what sends messages through all of them.
func clients(b *testing.B, addr, auth string, n int) func(messages int) error {
	b.Helper()
	sends := make([]func() error, n)
	for i := range sends {
		c, err := connect(addr, auth)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.conn.Close() })
		sends[i] = c.send
	}
	return yardstick.Parallel(sends)
}

func connect(addr, auth string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if auth != "" {
		conn = tls.Client(conn, relaytest.ClientTLS())
	}
	c := &client{conn, bufio.NewReader(conn)}
	if err := c.replies("2"); err != nil {
		return nil, err
	}
	if err := c.say("EHLO client.test\r\n", "2"); err != nil || auth == "" {
		return c, err
	}
	return c, c.say(auth+"\r\n", "2")
}

func (c *client) send() error {
	if _, err := c.conn.Write(envelope); err != nil {
		return err
	}
	if err := c.replies("223"); err != nil {
		return err
	}
	if _, err := c.conn.Write(message); err != nil {
		return err
	}
	return c.replies("2")
}

func (c *client) say(line, want string) error {
	if _, err := c.conn.Write([]byte(line)); err != nil {
		return err
	}
	return c.replies(want)
}

// replies reads replies that begin with the digits wanted.
func (c *client) replies(want string) error {
	for len(want) > 0 {
		line, err := c.r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case line[0] != want[0]:
			return fmt.Errorf("the server said %q", bytes.TrimSpace(line))
		case line[3] == ' ':
			want = want[1:]
		}
	}
	return nil
}
