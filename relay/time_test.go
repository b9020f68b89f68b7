package relay_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// The tests of this file run a server over pipes in a bubble of synctest, where
// minutes take no time.

func TestLoginTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.cmd("EHLO client.test")
		start := time.Now()
		for range 5 {
			time.Sleep(10 * time.Second)
			c.cmd("NOOP")
		}
		c.wantEnd("421 4.4.2 no login in time")
		took(t, start, time.Minute)
	})
}

func TestIdleTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		time.Sleep(4 * time.Minute)
		c.cmd("NOOP")
		start := time.Now()
		c.wantEnd("421 4.4.2 idle for too long")
		took(t, start, 5*time.Minute)
	})
}

// A body that stalls must not go on as commands once the client wakes up.
func TestStallInBodyEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		c.send("From: shop@acme.example\r\n\r\nhalf a mess")
		start := time.Now()
		c.wantEnd("421 4.4.2 idle for too long")
		took(t, start, 5*time.Minute)
		if n := len(r.Messages()); n != 0 {
			t.Errorf("%d messages were accepted, want none", n)
		}
	})
}

func TestBodyThatIsTooSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		start := time.Now()
		line := "X: " + strings.Repeat("x", 95) + "\r\n" // 100 bytes
		c.sending.Go(func() {
			for { // 100 bytes a second, where 256 are the least
				if _, err := io.WriteString(c.conn, line); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		c.wantEnd("421 4.4.2 the message came in too slowly")
		if d := time.Since(start); d < 5*time.Minute || d > 9*time.Minute {
			t.Errorf("the message was cut off after %v, want between 5 and 9 minutes", d)
		}
	})
}

// go-smtp's ReadTimeout covers a whole body; a slow but steady sender must not
// fail because of it.
func TestBodyThatIsSlowButSteady(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		c.send("From: shop@acme.example\r\n\r\n")
		for range 20 * 60 {
			c.send(strings.Repeat("x", 298) + "\r\n")
			time.Sleep(time.Second)
		}
		if got := c.cmd("."); !strings.HasPrefix(got, "250") {
			t.Errorf("the server answered %q, want 250", got)
		}
	})
}

func TestMessageTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		start := time.Now()
		c.begin()
		c.sending.Go(func() {
			for {
				if _, err := io.WriteString(c.conn, strings.Repeat("x", 998)+"\r\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		c.wantEnd("421 4.4.2 the message took too long")
		took(t, start, 30*time.Minute)
	})
}

// Another node is another Manager on the same store: it sends no event here.
func TestResetOnAnotherNodeEndsAnIdleSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		time.Sleep(time.Minute)
		other := &credentials.Manager{Store: r.Credentials.Store, Cost: r.Credentials.Cost}
		if _, err := other.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		c.wantEnd("421 4.7.0 the password was reset")
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("the session went on for %v, want at most 30s", d)
		}
	})
}

// A panic in the store ends one session, also when nobody sent anything.
func TestPanicInStoreWhileIdle(t *testing.T) {
	inStore(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient, s *watchedStore) {
		s.onLookup = func(context.Context) { panic("the adapter's mistake") }
		c.wantEnd("421 4.3.0 not possible right now")
	})
}

func TestShutdownLetsAMessageFinish(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		down := make(chan error, 1)
		go func() { down <- r.Server.Shutdown(t.Context()) }()
		time.Sleep(time.Minute)
		c.send(hello)
		if got := c.cmd("."); !strings.HasPrefix(got, "250") {
			t.Errorf("the server answered %q, want 250", got)
		}
		c.wantEnd("421 4.3.2")
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestShutdownTellsIdleClients(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		down := make(chan error, 1)
		go func() { down <- r.Server.Shutdown(t.Context()) }()
		c.wantEnd("421 4.3.2")
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestCloseAfterShutdownRanOutOfTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.Server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want DeadlineExceeded", err)
		}
		c.send("From: shop@acme.example\r\n")
		r.Server.Close()
		if _, err := c.r.ReadString('\n'); err == nil {
			t.Error("the connection is still open after Close")
		}
	})
}

// inBubble runs f with a client connected to a relay with InsecureAuth.
func inBubble(t *testing.T, f func(*testing.T, *relaytest.Relay, *pipeClient)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
		serveInBubble(t, r, func(c *pipeClient) { f(t, r, c) })
	})
}

// A watchedStore calls onLookup, if it is set, at each login and look at a login.
type watchedStore struct {
	store.Store
	onLookup func(context.Context)
}

func (s *watchedStore) Lookup(ctx context.Context, username string) (store.User, string, error) {
	if s.onLookup != nil {
		s.onLookup(ctx)
	}
	return s.Store.Lookup(ctx, username)
}

// inStore is as inBubble, with a store that is watched, and c logged in.
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
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- r.Server.Serve(l) }()
	here, there := net.Pipe()
	l.conns <- there
	c := &pipeClient{t: t, conn: here, r: bufio.NewReader(here)}
	c.reply()
	f(c)
	here.Close()
	c.sending.Wait()
	r.Server.Close()
	if err := <-served; !errors.Is(err, relay.ErrServerClosed) {
		t.Errorf("Serve: %v, want ErrServerClosed", err)
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
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

// A pipeClient has no deadlines: where the server doesn't answer, the bubble
// finds a deadlock.
type pipeClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader

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

// wantEnd wants a last reply, and then nothing more.
func (c *pipeClient) wantEnd(want string) {
	c.t.Helper()
	if got := c.reply(); !strings.HasPrefix(got, want) {
		c.t.Errorf("the server answered %q, want %q", got, want)
	}
	if line, err := c.r.ReadString('\n'); err != io.EOF {
		c.t.Errorf("after its last reply the server said %q, %v; want EOF", line, err)
	}
}

func took(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got < want-time.Second || got > want+time.Second {
		t.Errorf("it took %v, want %v", got, want)
	}
}

// A Forwarder that never answers is given up before the client gives up.
func TestForwardTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.Forwarder = relay.ForwarderFunc(func(ctx context.Context, _ *relay.Message) error {
			<-ctx.Done()
			return ctx.Err()
		})
		serveInBubble(t, r, func(c *pipeClient) {
			c.login(r)
			c.begin()
			start := time.Now()
			c.send(hello)
			if got, want := c.cmd("."), "451 4.4.1 no answer in time"; !strings.HasPrefix(got, want) {
				t.Errorf("the server answered %q, want %q", got, want)
			}
			took(t, start, 9*time.Minute)
		})
	})
}
