package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// These helpers run a server over pipes in a synctest bubble, in virtual time.

// inBubble runs f with a client that is connected to a relay with InsecureAuth.
func inBubble(t *testing.T, f func(*testing.T, *relaytest.Relay, *pipeClient)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
		serveInBubble(t, r, func(c *pipeClient) { f(t, r, c) })
	})
}

// inBubbleTLS is as inBubble, with TLS from the first byte.
func inBubbleTLS(t *testing.T, f func(*testing.T, *relaytest.Relay, *pipeClient)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
		l := newPipeListener()
		l.config = relaytest.ClientTLS()
		l.serve(t, r.Server, r.Server.ServeTLS, func(c *pipeClient) { f(t, r, c) })
	})
}

// inBubbleWith is as inBubble, with a changed server and a client that is logged in.
func inBubbleWith(t *testing.T, change func(*relay.Server), f func(*testing.T, *pipeClient)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		change(r.Server)
		serveInBubble(t, r, func(c *pipeClient) {
			c.login(r)
			f(t, c)
		})
	})
}

// A watchedStore calls onLookup, if set, before each Lookup.
type watchedStore struct {
	store.Store
	onLookup atomic.Pointer[func(context.Context)]
}

func (s *watchedStore) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	if f := s.onLookup.Load(); f != nil {
		(*f)(ctx)
	}
	return s.Store.Lookup(ctx, username)
}

// inStore is inBubble with a watchedStore and a client that has logged in.
func inStore(t *testing.T, f func(*testing.T, *relaytest.Relay, *pipeClient, *watchedStore)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		s := &watchedStore{Store: r.Credentials.Store}
		r.Credentials = &credentials.Manager{Store: s, Cost: r.Credentials.Cost}
		r.Server.Credentials = r.Credentials
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
		serveInBubble(t, r, func(c *pipeClient) {
			c.login(r)
			f(t, r, c, s)
		})
	})
}

func serveInBubble(t *testing.T, r *relaytest.Relay, f func(*pipeClient)) {
	r.Server.InsecureAuth = true
	r.Server.TLSConfig = nil
	newPipeListener().serve(t, r.Server, r.Server.Serve, f)
}

// A pipeListener accepts the server's ends of pipes.
type pipeListener struct {
	config *tls.Config // of clients, for TLS from the first byte
	conns  chan net.Conn
	done   chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// serve runs f with a client that has read the greeting, and then ends the
// server.
func (l *pipeListener) serve(t *testing.T, s *relay.Server, serve func(net.Listener) error, f func(*pipeClient)) {
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	c := l.dial(t)
	c.reply()
	f(c)
	c.conn.Close()
	c.sending.Wait()
	s.Close()
	if err := <-served; !errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("Serve: error is %v, want ErrServerClosed", err)
	}
}

func (l *pipeListener) dial(t *testing.T) *pipeClient {
	here, there := net.Pipe()
	l.conns <- there
	if l.config != nil {
		here = tls.Client(here, l.config)
	}
	return &pipeClient{t: t, conn: here, r: bufio.NewReader(here), l: l}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// A pipeClient has no deadlines. If the server does not answer, synctest reports a
// deadlock.
type pipeClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	l    *pipeListener

	sending sync.WaitGroup
}

func (c *pipeClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("sending %.40q: %v", s, err)
	}
}

func (c *pipeClient) reply() string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("waiting for a reply: %v", err)
		}
		if line[3] == ' ' {
			return strings.TrimSpace(line)
		}
	}
}

func (c *pipeClient) cmd(line string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.reply()
}

func (c *pipeClient) login(r *relaytest.Relay) {
	c.t.Helper()
	c.cmd("EHLO client.test")
	if got := c.cmd(expand(r, "AUTH PLAIN $plain")); !strings.HasPrefix(got, "235") {
		c.t.Fatalf("login: %s", got)
	}
}

func (c *pipeClient) begin() {
	c.t.Helper()
	for _, line := range []string{"MAIL FROM:<shop@acme.example>", "RCPT TO:<bob@example.com>", "DATA"} {
		if got := c.cmd(line); got[0] != '2' && got[0] != '3' {
			c.t.Fatalf("%s: %s", line, got)
		}
	}
}

// wantEnd checks that the next reply begins with want and is the last one.
func (c *pipeClient) wantEnd(want string) {
	c.t.Helper()
	if got := c.reply(); !strings.HasPrefix(got, want) {
		c.t.Errorf("the server answered %q, want %q", got, want)
	}
	if line, err := c.r.ReadString('\n'); err != io.EOF {
		c.t.Errorf("after %q the server sent %q, %v; want EOF", want, line, err)
	}
}

func took(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got < want-time.Second || got > want+time.Second {
		t.Errorf("it took %v, want %v", got, want)
	}
}
