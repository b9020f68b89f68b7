package relay_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// dialFrom connects from an address of the loopback network, so that one host can
// act as many clients. If the host has only 127.0.0.1, the test is skipped, or fails
// if REQUIRE_SERVICES is 1 in the environment.
func dialFrom(t testing.TB, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		if strings.Contains(err.Error(), "assign requested address") && os.Getenv("REQUIRE_SERVICES") != "1" {
			t.Skipf("no connection from %s: %v", from, err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// TestSilentAndSlowConnections opens 500 connections that send nothing and 500 that
// send a byte a second. They do not delay another client.
func TestSilentAndSlowConnections(t *testing.T) {
	r := startRelay(t, nil)
	stop := make(chan struct{})
	var slow sync.WaitGroup
	defer slow.Wait()
	defer close(stop)
	for i := range 1000 {
		to := r.Addr
		if i%4 >= 2 {
			to = r.AddrTLS
		}
		nc := dialFrom(t, fmt.Sprintf("127.0.0.%d", 2+i/100), to)
		if i%2 == 0 {
			continue
		}
		slow.Go(func() {
			every := time.NewTicker(time.Second)
			defer every.Stop()
			for j := 0; ; j++ {
				if _, err := nc.Write([]byte{"EHLO client.test\r\n\x16\x03\x01"[j%21]}); err != nil {
					return
				}
				select {
				case <-every.C:
				case <-stop:
					return
				}
			}
		})
	}
	const messages = 20
	for range messages {
		start := time.Now()
		stillServes(t, r)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a message took %v, want at most 2s", took)
		}
	}
	accepted(t, r, messages)
}

// TestConnectionsOverTheLimit exceeds the limits on both ports, from one address and
// from several.
func TestConnectionsOverTheLimit(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.MaxConns, s.MaxConnsPerAddr = 5, 3 })
	connect := func(from string, implicit bool) *client {
		to := r.Addr
		if implicit {
			to = r.AddrTLS
		}
		c := newClient(t, dialFrom(t, from, to))
		if implicit {
			c.startTLS()
		}
		return c
	}
	stay := func(from string) *client { // sending a message, it is not evicted
		c := connect(from, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
		c.beginData()
		return c
	}
	for _, implicit := range []bool{false, true} {
		var held []*client
		for range 3 {
			held = append(held, stay("127.0.0.2"))
		}
		connect("127.0.0.2", implicit).wantCodes("421 4.7.0 too many connections from your address")
		for range 2 {
			held = append(held, stay("127.0.0.3"))
		}
		connect("127.0.0.4", implicit).wantCodes("421 4.7.0 too many connections")
		// Commands that the client sends anyway are not executed.
		c := connect("127.0.0.4", implicit)
		c.sendAnyway(expand(r, "EHLO client.test\r\nAUTH PLAIN $plain\r\n") + smuggled + ".\r\n")
		for _, line := range c.rest() {
			if strings.HasPrefix(line, "2") {
				t.Errorf("the server answered %q, want only 421", line)
			}
		}
		for _, c := range held {
			c.conn.Close()
		}
		eventually(t, "free places", func() bool {
			c := connect("127.0.0.2", true)
			defer c.conn.Close()
			return strings.HasPrefix(c.reply(), "220")
		})
	}
	accepted(t, r, 0)
}

// TestConnectionsWithoutLoginAreEvicted takes all connections with clients that never
// log in, from many addresses.
func TestConnectionsWithoutLoginAreEvicted(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.MaxConns, s.MaxConnsPerAddr = 20, 2 })
	first := login(t, r)
	idle := make([]*client, 60)
	for i := range idle {
		idle[i] = newClient(t, dialFrom(t, fmt.Sprintf("127.0.1.%d", i/2), r.Addr))
		idle[i].want("220")
	}
	idle[0].want("421 4.7.0 too many connections")
	second := login(t, r)
	for _, c := range []*client{first, second} {
		c.deliver()
	}
	accepted(t, r, 2)
}

// TestRefusedConnectionsAreNotEvicted opens connections that are refused on the port
// with implicit TLS and never do the handshake. They do not count, so evicting one
// of them does not make room.
func TestRefusedConnectionsAreNotEvicted(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.MaxConns = 2 })
	sending := []*client{login(t, r), login(t, r)}
	for _, c := range sending {
		c.beginData()
	}
	for range 5 {
		dialRaw(t, r, true)
		time.Sleep(20 * time.Millisecond) // until it is accepted
		dial(t, r, false).wantCodes("421 4.7.0 too many connections")
	}
	for _, c := range sending {
		c.send(hello)
		c.cmd(".", "250")
	}
	sending[0].cmd("QUIT", "221")
	eventually(t, "a free place", func() bool {
		c := dial(t, r, false)
		defer c.conn.Close()
		return strings.HasPrefix(c.reply(), "220")
	})
}

// A refused connection does not count for MaxConnsPerAddr either.
func TestRefusedConnectionsDoNotCountPerAddress(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.MaxConnsPerAddr = 2 })
	served := []*client{login(t, r), login(t, r)}
	dialRaw(t, r, true) // refused, and silent
	time.Sleep(20 * time.Millisecond)
	served[0].cmd("QUIT", "221")
	served[0].readLine() // EOF: its place is free
	dial(t, r, false).want("220")
}

// TestRandomBytes sends random bytes for some seconds, before and after login, with
// and without TLS. The server still works, and all mail that it accepted is well
// formed.
func TestRandomBytes(t *testing.T) {
	t.Parallel()
	long := 3 * time.Second
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		long = 30 * time.Second
	}
	if testing.Short() {
		long = 200 * time.Millisecond
	}
	logged := new(syncBuilder)
	r := startRelay(t, func(s *relay.Server) {
		s.InsecureAuth = true
		s.IdleTimeout = 2 * time.Second
		s.MaxMessageBytes = 5000
		s.Logger = errorLog(logged)
	})
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	var noise sync.WaitGroup
	for i := range 4 {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		noise.Go(func() {
			for end := time.Now().Add(long); time.Now().Before(end); {
				makeNoise(t, r, rnd)
			}
		})
	}
	noise.Wait()
	stillServes(t, r)
	for _, m := range r.Messages() {
		wellFormed(t, m.Data)
		if err := authors(m.Data); err != nil {
			t.Error(err)
		}
	}
	if s := logged.String(); s != "" {
		t.Errorf("the server logged errors, want none: %.1000s", s)
	}
}

// makeNoise sends some kilobytes on one connection. It reads the replies on two of
// three connections.
func makeNoise(t *testing.T, r *relaytest.Relay, rnd *rand.Rand) {
	var c *client
	switch rnd.IntN(4) {
	case 0:
		c = dialRaw(t, r, rnd.IntN(2) == 0)
	case 1:
		c = dial(t, r, rnd.IntN(2) == 0)
	case 2:
		c = loginPlain(t, r)
	case 3:
		c = login(t, r)
	}
	defer c.conn.Close()
	reading := rnd.IntN(3) > 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		if reading {
			c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			io.Copy(io.Discard, c.r)
		}
	}()
	for range rnd.IntN(30) {
		c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c.conn, someNoise(rnd)); err != nil {
			break
		}
	}
	if rnd.IntN(2) == 0 {
		if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		<-done
	}
	c.conn.Close()
	<-done
}

// words are the parts of noise, together with random bytes.
var words = []string{
	"EHLO x\r\n", "HELO x\r\n", "MAIL FROM:<shop@acme.example>\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<bob@example.com>\r\n",
	envelope, envelope, "DATA\r\n", "BDAT 10\r\n", "BDAT 30 LAST\r\n", "BDAT 0 LAST\r\n", "BDAT 4000000000\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n",
	"AUTH PLAIN\r\n", "AUTH LOGIN AAAA\r\n", "STARTTLS\r\n", "VRFY x\r\n", "HELP\r\n", "From: shop@acme.example\r\n", "From: x@evil.example\r\n", hello,
	"Sender: ", "Subject: x\r\n", "\r\n", "\r\n.\r\n", ".\r\n", ".", "\r", "\n", "\x00", "\xff", ":", " ", "\t", "<", ">", "@", "\"", ",", filler,
}

func someNoise(rnd *rand.Rand) string {
	if rnd.IntN(4) == 0 {
		b := make([]byte, rnd.IntN(2000))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	var b strings.Builder
	for range rnd.IntN(20) {
		b.WriteString(words[rnd.IntN(len(words))])
	}
	return b.String()
}

// A syncBuilder is a strings.Builder for several goroutines.
type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
