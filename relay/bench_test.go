package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// BenchmarkSubmission sends messages of 4 KiB over 10 TLS connections, to a
// server that discards them and to a bare go-smtp server that does.
func BenchmarkSubmission(b *testing.B) {
	body := []byte(hello[:len(hello)-7] + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52) + ".\r\n")
	for _, pipelining := range []bool{false, true} {
		name := map[bool]string{false: "lockstep", true: "pipelining"}[pipelining]
		b.Run(name, func(b *testing.B) {
			senders := func(addr string) func(n int) error {
				return dialBench(b, addr, 10, func(c *benchClient) error { return c.sendData(body, pipelining) })
			}
			yardstick.Compare(b, senders(newBare(b)), senders(newDiscard(b)))
		})
	}
}

// BenchmarkBDAT sends messages of 10 MiB in chunks of 1 MiB.
func BenchmarkBDAT(b *testing.B) {
	chunk := bytes.Repeat([]byte(strings.Repeat("x", 1022)+"\r\n"), 1024)
	senders := func(addr string) func(n int) error {
		return dialBench(b, addr, 2, func(c *benchClient) error { return c.sendBDAT(chunk, 10) })
	}
	yardstick.Compare(b, senders(newBare(b)), senders(newDiscard(b)))
}

// BenchmarkLogin connects, does the TLS handshake, logs in and quits; the
// yardstick does all that but log in.
func BenchmarkLogin(b *testing.B) {
	r := relaytest.NewUnstartedRelay(b)
	r.Start()
	visitors := func(line string) func(n int) error {
		return yardstick.Parallel(slices.Repeat([]func() error{func() error { return visit(r.AddrTLS, line) }}, 10))
	}
	yardstick.Compare(b, visitors(""), visitors(expand(r, "AUTH PLAIN $plain\r\n")))
}

// visit connects, says line unless it is empty, and quits.
func visit(addr, line string) error {
	c, err := connect(addr, benchTLS)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if line != "" {
		if err := c.cmd(line, '2'); err != nil {
			return err
		}
	}
	return c.cmd("QUIT\r\n", '2')
}

// pieces are as large as those that relay/smarthost reads; io.Discard by itself
// reads 8 KiB at a time.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func newDiscard(tb testing.TB) string {
	return serveTLS(tb, relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		buf := pieces.Get().(*[32 << 10]byte)
		defer pieces.Put(buf)
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, m.Content(), buf[:])
		return err
	}))
}

// serveTLS starts a relay by hand: one of relaytest remembers every message.
func serveTLS(tb testing.TB, f relay.Forwarder) string {
	r := relaytest.NewUnstartedRelay(tb)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r.Server.Forwarder = f
	r.Server.MaxConnsPerAddr, r.Server.MaxConnsPerUser = 4096, 4096
	go r.Server.ServeTLS(l)
	tb.Cleanup(func() { r.Server.Close() })
	credentialsOf[l.Addr().String()] = expand(r, "AUTH PLAIN $plain\r\n")
	return l.Addr().String()
}

// credentialsOf maps a server's address to the command with which to log in.
var credentialsOf = map[string]string{}

// newBare starts a go-smtp server with a session that accepts and discards.
func newBare(b testing.TB) string {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}})
	if err != nil {
		b.Fatal(err)
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return bareSession{}, nil }))
	srv.Domain = "bare.test"
	srv.EnableSMTPUTF8 = true
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	credentialsOf[l.Addr().String()] = "AUTH PLAIN AGEAYg==\r\n"
	return l.Addr().String()
}

type bareSession struct{}

func (bareSession) Reset()                               {}
func (bareSession) Logout() error                        { return nil }
func (bareSession) Mail(string, *smtp.MailOptions) error { return nil }
func (bareSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (bareSession) AuthMechanisms() []string             { return []string{sasl.Plain} }
func (bareSession) Auth(mech string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(string, string, string) error { return nil }), nil
}

func (bareSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// A benchClient costs as little as a client can.
type benchClient struct {
	conn net.Conn
	r    *bufio.Reader
}

var benchTLS = func() *tls.Config {
	c := relaytest.ClientTLS()
	c.ClientSessionCache = nil // a full handshake each time
	return c
}()

func connect(addr string, cfg *tls.Config) (*benchClient, error) {
	nc, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	c := &benchClient{nc, bufio.NewReader(nc)}
	if err := c.want('2'); err != nil {
		return nil, err
	}
	return c, c.cmd("EHLO bench.test\r\n", '2')
}

// dialBench logs in n clients, which do a round of the load each.
func dialBench(b *testing.B, addr string, n int, round func(*benchClient) error) func(n int) error {
	b.Helper()
	clients := make([]func() error, n)
	for i := range clients {
		c := logInBench(b, addr)
		clients[i] = func() error { return round(c) }
	}
	return yardstick.Parallel(clients)
}

func logInBench(tb testing.TB, addr string) *benchClient {
	tb.Helper()
	c, err := connect(addr, benchTLS)
	if err == nil {
		err = c.cmd(credentialsOf[addr], '2')
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.conn.Close() })
	return c
}

func (c *benchClient) cmd(line string, want byte) error {
	if _, err := io.WriteString(c.conn, line); err != nil {
		return err
	}
	return c.want(want)
}

func (c *benchClient) want(want byte) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || line[0] != want {
			return fmt.Errorf("the server answered %q", line)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

const mailFrom, rcptTo = "MAIL FROM:<shop@acme.example>\r\n", "RCPT TO:<bob@example.com>\r\n"

func (c *benchClient) sendData(body []byte, pipelining bool) error {
	if pipelining {
		if _, err := io.WriteString(c.conn, mailFrom+rcptTo+"DATA\r\n"); err != nil {
			return err
		}
		for _, want := range "223" {
			if err := c.want(byte(want)); err != nil {
				return err
			}
		}
	} else {
		for _, step := range []struct {
			line string
			want byte
		}{{mailFrom, '2'}, {rcptTo, '2'}, {"DATA\r\n", '3'}} {
			if err := c.cmd(step.line, step.want); err != nil {
				return err
			}
		}
	}
	if _, err := c.conn.Write(body); err != nil {
		return err
	}
	return c.want('2')
}

func (c *benchClient) sendBDAT(chunk []byte, n int) error {
	header := "From: shop@acme.example\r\n\r\n"
	if _, err := fmt.Fprintf(c.conn, "%s%sBDAT %d\r\n%s", mailFrom, rcptTo, len(header), header); err != nil {
		return err
	}
	for range 3 {
		if err := c.want('2'); err != nil {
			return err
		}
	}
	for i := range n {
		last := ""
		if i == n-1 {
			last = " LAST"
		}
		if _, err := fmt.Fprintf(c.conn, "BDAT %d%s\r\n", len(chunk), last); err != nil {
			return err
		}
		if _, err := c.conn.Write(chunk); err != nil {
			return err
		}
		if err := c.want('2'); err != nil {
			return err
		}
	}
	return nil
}
