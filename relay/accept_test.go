package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A proxyListener reads the client's address from the first line of a connection, as
// in version 1 of the PROXY protocol.
type proxyListener struct{ net.Listener }

func (l proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &proxyConn{Conn: c}, err
}

type proxyConn struct {
	net.Conn
	once sync.Once
	addr net.Addr
}

func (c *proxyConn) readHeader() {
	c.once.Do(func() {
		var line []byte
		for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, b[0]) {
			if _, err := c.Conn.Read(b); err != nil {
				return
			}
		}
		c.addr, _ = net.ResolveTCPAddr("tcp", strings.Fields(string(line))[1])
	})
}

func (c *proxyConn) RemoteAddr() net.Addr {
	c.readHeader()
	return c.addr
}

func (c *proxyConn) Read(b []byte) (int, error) {
	c.readHeader()
	return c.Conn.Read(b)
}

func TestProxyProtocolListener(t *testing.T) {
	for _, implicitTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("implicit TLS ", implicitTLS), func(t *testing.T) {
			r := relaytest.NewRelay(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			serve := r.Server.Serve
			if implicitTLS {
				serve = r.Server.ServeTLS
			}
			go serve(proxyListener{l})
			silent, err := net.Dial("tcp", l.Addr().String()) // sends no header, and must not delay others
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := newClient(t, nc)
			c.send("PROXY 192.0.2.7:4711\r\n")
			if implicitTLS {
				c.startTLS()
			}
			c.want("220")
			if !implicitTLS {
				c.cmd("STARTTLS", "220")
				c.startTLS()
			}
			c.cmd("EHLO client.test", "250")
			c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
			c.deliver()
			if m := r.Messages()[0]; m.Remote.String() != "192.0.2.7" || !bytes.Contains(m.Data, []byte("Received: from [192.0.2.7]\r\n")) {
				t.Errorf("the message is from %v, want 192.0.2.7 there and in Received:\n%s", m.Remote, m.Data)
			}
		})
	}
}

// A connection whose PROXY header does not arrive is closed after LoginTimeout.
func TestProxyHeaderTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		here, there := net.Pipe()
		c.l.conns <- &proxyConn{Conn: there}
		start := time.Now()
		io.Copy(io.Discard, here)
		took(t, start, time.Minute)
	})
}

func TestMaxConns(t *testing.T) {
	for _, test := range []struct {
		name          string
		total, anAddr int
		want          string
	}{
		{"in all", 2, 0, "421 4.7.0 too many connections, try again later"},
		{"an address", 0, 2, "421 4.7.0 too many connections from your address, try again later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := relaytest.NewUnstartedRelay(t)
			r.Server.MaxConns, r.Server.MaxConnsPerAddr = test.total, test.anAddr
			r.Start()
			first := login(t, r)
			login(t, r).beginData()
			first.beginData() // a session that receives a message is not evicted
			for _, implicitTLS := range []bool{false, true} {
				c := dial(t, r, implicitTLS)
				c.want(test.want)
				if got := c.readLine(); got != "EOF" {
					t.Errorf("the refused connection got %q, want EOF", got)
				}
			}
			first.send(hello)
			first.cmd(".", "250")
			first.cmd("QUIT", "221")
			if got := first.readLine(); got != "EOF" {
				t.Errorf("after QUIT the connection got %q, want EOF", got)
			}
			dial(t, r, true).want("220")
		})
	}
}
