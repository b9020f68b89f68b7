package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// TestPanics has each of the embedder's functions panic for one message. That
// client is asked to try again later; a session at the same time goes on.
func TestPanics(t *testing.T) {
	panicky := func(_ context.Context, r *relay.PolicyRequest) error {
		if strings.HasPrefix(r.Address, "panic@") {
			panic("the embedder's mistake")
		}
		return nil
	}
	for _, test := range []struct {
		name   string
		change func(*relay.Server)
		send   string
	}{
		{"AllowSender at MAIL", func(s *relay.Server) { s.AllowSender = panicky }, "MAIL FROM:<panic@acme.example>\r\n"},
		{"AllowSender at From, DATA", func(s *relay.Server) { s.AllowSender = panicky }, envelope + "DATA\r\nFrom: panic@acme.example\r\n\r\n.\r\n"},
		{"AllowSender at From, BDAT", func(s *relay.Server) { s.AllowSender = panicky }, envelope + chunk("From: panic@acme.example\r\n\r\n", true)},
		{"AllowSender at Sender, large", func(s *relay.Server) { s.AllowSender = panicky }, envelope + chunk("Sender: panic@acme.example\r\n"+sized(400_000), true)},
		{"ReplaceExactDomain", func(s *relay.Server) { s.ReplaceExactDomain = panicky }, "MAIL FROM:<panic@acme.example>\r\n"},
		{"AllowRecipient", func(s *relay.Server) { s.AllowRecipient = panicky }, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<panic@example.com>\r\n"},
		{"Forwarder, DATA", forwarderPanics, envelope + "DATA\r\nComments: panic\r\n" + hello + ".\r\n"},
		{"Forwarder, BDAT", forwarderPanics, envelope + chunk("Comments: panic\r\n"+hello, true)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			r := startRelay(t, test.change)
			other := login(t, r)
			other.envelope()
			c := login(t, r)
			c.send(test.send)
			got := c.reply()
			for got[0] == '2' || got[0] == '3' {
				got = c.reply()
			}
			const want = "451 4.3.0"
			if !strings.HasPrefix(got, want) || strings.Contains(got, "mistake") {
				t.Errorf("the server answered %q, want %q", got, want)
			}
			other.cmd("DATA", "354")
			other.cmd(hello+".", "250")
			stillServes(t, r)
			accepted(t, r, 2)
			noFiles(t)
		})
	}
}

// TestPanicInHandshake has GetCertificate panic for one name, on both ports. That
// connection ends.
func TestPanicInHandshake(t *testing.T) {
	cert := relaytest.Certificate()
	r := startRelay(t, func(s *relay.Server) {
		s.TLSConfig = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "panic.test" {
				panic("the embedder's mistake")
			}
			return &cert, nil
		}}
	})
	for _, implicit := range []bool{false, true} {
		c := dialRaw(t, r, implicit)
		if !implicit {
			c.want("220")
			c.cmd("STARTTLS", "220")
		}
		c.conn.SetDeadline(time.Now().Add(20 * time.Second))
		if err := tls.Client(c.conn, &tls.Config{ServerName: "panic.test"}).Handshake(); err == nil || isTimeout(err) {
			t.Errorf("implicit=%v: the handshake ended with %v, want the end of the connection", implicit, err)
		}
	}
	stillServes(t, r)
}

// panicListener has connections that don't tell where they come from.
type panicListener struct{ net.Listener }

func (l panicListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return panicConn{c}, err
}

type panicConn struct{ net.Conn }

func (panicConn) RemoteAddr() net.Addr { panic("the embedder's mistake") }

func TestPanicInListener(t *testing.T) {
	r := startRelay(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go r.Server.Serve(panicListener{l})
	if got := newClient(t, dialFrom(t, "127.0.0.1", l.Addr().String())).readLine(); got != "EOF" {
		t.Errorf("the server said %q, want the end of the connection", got)
	}
	stillServes(t, r)
}

func forwarderPanics(s *relay.Server) {
	s.Forwarder = relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		if b, _ := io.ReadAll(m.Content()); strings.Contains(string(b), "Comments: panic") {
			panic("the embedder's mistake")
		}
		return nil
	})
}

// TestPanicInOnEvent has the embedder's counters panic at everything. No client
// notices.
func TestPanicInOnEvent(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = func(relay.Event) { panic("the embedder's mistake") } })
	c := login(t, r)
	c.deliver()
	c.send(envelope + chunk(hello, true))
	c.want("250")
	c.want("250")
	c.want("250 2.0.0 accepted")
	c.cmd("MAIL FROM:<x@evil.example>", "550")
	if _, err := r.Credentials.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
		t.Fatal(err)
	}
	c.want("421 4.7.0 the password was reset")
	accepted(t, r, 2)
}

// TestNoTemporaryFileIsLeft sends messages that don't fit in memory, which are
// accepted, refused and broken off, each in its own way.
func TestNoTemporaryFileIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := startRelay(t, func(s *relay.Server) {
		s.MaxMessageBytes = 1_000_000
		s.IdleTimeout = 500 * time.Millisecond
		s.Forwarder = relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			if strings.Contains(m.From, "refuse") {
				return errors.New("not today")
			}
			return nil
		})
	})
	large := sized(600_000)
	for _, test := range []struct {
		name, send string
	}{
		{"accepted", "DATA\r\n" + large + ".\r\nQUIT\r\n"},
		{"accepted, BDAT", chunk(large, true) + "QUIT\r\n"},
		{"too large", "DATA\r\n" + large + large + ".\r\nQUIT\r\n"},
		{"too large, BDAT", chunk(large, false) + chunk(large, true) + "QUIT\r\n"},
		{"foreign", chunk("Sender: x@evil.example\r\n"+large, true) + "QUIT\r\n"},
		{"bare CR", chunk(large+"\r", true) + "QUIT\r\n"},
		{"NUL", chunk(large+"\x00", true) + "QUIT\r\n"},
		{"stalled", "DATA\r\n" + large},
		{"stalled, BDAT", chunk(large, false)},
		{"abandoned by RSET", chunk(large, false) + "RSET\r\nQUIT\r\n"},
		{"abandoned by EHLO", chunk(large, false) + "EHLO x\r\nQUIT\r\n"},
		{"abandoned by QUIT", chunk(large, false) + "QUIT\r\n"},
		{"a line too long", "DATA\r\n" + large + strings.Repeat("x", 100_000)},
		{"a BDAT that's wrong", chunk(large, false) + "BDAT x\r\n"},
	} {
		name, send := test.name, test.send
		t.Run(name, func(t *testing.T) {
			c := login(t, r)
			c.envelope()
			go c.sendAnyway(send)
			c.rest()
		})
	}
	t.Run("refused by the Forwarder", func(t *testing.T) {
		c := login(t, r)
		c.cmd("MAIL FROM:<refuse@acme.example>", "250")
		c.cmd("RCPT TO:<bob@example.com>", "250")
		c.send(chunk(large, true))
		c.want("451")
	})
	t.Run("disconnected", func(t *testing.T) {
		c := login(t, r)
		c.envelope()
		c.send("DATA\r\n" + large)
		c.conn.Close()
	})
	r.Server.Close()
	nothingRuns(t)
	noFiles(t)
	accepted(t, r, 2)
}

// TestCloseLeavesNoGoroutine closes the server on connections in every state.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	r := startRelay(t, nil)
	dialRaw(t, r, false)
	dialRaw(t, r, true)
	dial(t, r, true).want("220")
	c := dial(t, r, false)
	c.want("220")
	c.cmd("STARTTLS", "220") // and no handshake
	for _, send := range []string{
		"", envelope, envelope + "DATA\r\n", envelope + "DATA\r\n" + hello, envelope + "BDAT 100\r\n", envelope + chunk(hello, false),
		envelope + chunk("", false), envelope + "BDAT 100 LAST\r\n" + hello, "MAIL FROM:", "BDAT 100\r\n",
	} {
		login(t, r).send(send)
	}
	stillServes(t, r)
	r.Server.Close()
	nothingRuns(t)
}

// nothingRuns waits until no goroutine of the relay is left. The test must not
// run in parallel with others.
func nothingRuns(t *testing.T) {
	t.Helper()
	var left []string
	defer func() {
		if len(left) > 0 {
			t.Logf("%d are left, such as\n%s", len(left), left[0])
		}
	}()
	eventually(t, "the end of the relay's goroutines", func() bool {
		buf := make([]byte, 4<<20)
		left = left[:0]
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "gatepost/relay.") || strings.Contains(g, "emersion/go-smtp.") {
				left = append(left, g)
			}
		}
		return len(left) == 0
	})
}
