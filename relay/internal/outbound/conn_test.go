package outbound

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// An end of the context that comes between two steps isn't forgotten by the next
// one.
func TestInterruptedForGood(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(ours, "host", timeouts{})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c.begin(ctx)
	defer c.end()
	cancel()
	for done := false; !done; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		done = c.interrupted
		c.mu.Unlock()
	}
	if err := c.write(Mail, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.read(Mail); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// With little room between the two sides, many recipients and long replies don't
// make both wait for each other to read.
func TestManyRecipientsLittleRoom(t *testing.T) {
	const recipients, room = 20_000, 64 << 10
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- serveEach(l, room, "250 "+strings.Repeat("x", 400)+"\r\n") }()

	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw.(*net.TCPConn).SetReadBuffer(room)
	raw.(*net.TCPConn).SetWriteBuffer(room)
	c := newConn(raw, "host", timeouts{step: 10 * time.Second, end: 10 * time.Second})
	c.ext = extensions{pipelining: true, chunking: true, utf8: true, eightBit: true}
	c.usable = true
	m := &relay.Message{From: "a@example.org"}
	for i := range recipients {
		m.To = append(m.To, relay.Recipient{Address: fmt.Sprintf("user%d@example.com", i)})
	}
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	raw.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// serveEach replies to each line immediately. It reads nothing while it writes.
func serveEach(l net.Listener, room int, reply string) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(room)
	conn.(*net.TCPConn).SetWriteBuffer(room)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := conn.Write([]byte(reply)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Bytes after a reply are noticed, also if TLS has read them together with the reply.
func TestUnsolicitedReplyInTLS(t *testing.T) {
	for _, says := range [][]string{{"250 a\r\n"}, {"250 a\r\n", "250 b\r\n"}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		go sayAtOnce(server, says)
		c := newConn(raw, "host", timeouts{})
		defer c.Close()
		c.begin(t.Context())
		if err := c.handshake(relaytest.ClientTLS()); err != nil {
			t.Fatal(err)
		}
		if err := c.expect(Greeting, 250); err != nil {
			t.Fatal(err)
		}
		c.end()
		if want := len(says) == 1; c.alive() != want {
			t.Errorf("%d replies: alive is %v", len(says), !want)
		}
	}
}

// sayAtOnce sends replies in one TLS record each, but all together.
func sayAtOnce(conn net.Conn, says []string) {
	g := &gatheringConn{Conn: conn}
	server := tls.Server(g, &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}})
	server.Handshake()
	g.on = true
	for _, reply := range says {
		server.Write([]byte(reply))
	}
	conn.Write(g.buf.Bytes())
}

// A gatheringConn keeps what is written, so that it can be sent at once.
type gatheringConn struct {
	net.Conn
	on  bool
	buf bytes.Buffer
}

func (c *gatheringConn) Write(b []byte) (int, error) {
	if c.on {
		return c.buf.Write(b)
	}
	return c.Conn.Write(b)
}

// Where the header ends is found wherever it ends.
func TestEightBit(t *testing.T) {
	for _, tc := range []struct {
		content      string
		header, body bool
	}{
		{"", false, false},
		{"a: b\r\n\r\nc\r\n", false, false},
		{"a: \xff\r\n\r\nc\r\n", true, false},
		{"a: b\r\n\r\n\xff\r\n", false, true},
		{"\r\n\xff\r\n", false, true},
		{"\xff", true, false},
		{"a: b\r\n.\r\n\xff", true, false},
	} {
		check(t, tc.content, tc.header, tc.body)
	}
	for n := 16<<10 - 20; n < 16<<10+20; n++ {
		header := "a: " + strings.Repeat("x", n)
		check(t, header+"\r\n\r\n\xff\r\n", false, true)
		check(t, header+"\xff\r\n\r\nx\r\n", true, false)
	}
}

func check(t *testing.T, content string, header, body bool) {
	t.Helper()
	h, b, err := eightBit(bytes.NewReader([]byte(content)))
	if h != header || b != body || err != nil {
		t.Errorf("%d bytes: header %v, body %v, %v", len(content), h, b, err)
	}
}
