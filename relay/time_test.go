package relay_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// These tests run in virtual time, see bubble_test.go.

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

// After a body has stalled, what follows must not be read as commands.
func TestStallInBodyEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
		c.login(r)
		c.begin()
		c.send("From: shop@acme.example\r\n\r\nhalf a mess")
		start := time.Now()
		c.wantEnd("421 4.4.2 idle for too long")
		took(t, start, 5*time.Minute)
		if n := len(r.Messages()); n != 0 {
			t.Errorf("%d messages were accepted, want 0", n)
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
			for { // 100 bytes a second, below the minimum of 256
				if _, err := io.WriteString(c.conn, line); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		c.wantEnd("421 4.4.2 the message came in too slowly")
		if d := time.Since(start); d < 5*time.Minute || d > 9*time.Minute {
			t.Errorf("the session ended after %v, want between 5 and 9 minutes", d)
		}
	})
}

// A body may take longer than IdleTimeout if it does not stall. go-smtp's
// ReadTimeout would apply to the whole body.
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

// Another node is another Manager on the same store. Its events do not arrive here.
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
			t.Errorf("the session ended after %v, want at most 30s", d)
		}
	})
}

// The look-up for one message also serves the MAIL of a message that follows at once.
// After a reset on another node such a message is refused at its end.
func TestMailAtOnceAfterAMessage(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after time.Duration
		reset bool
		want  [3]string // the replies to MAIL, to DATA and to the data
		reads int
	}{
		{"at once", 0, false, [3]string{"250", "354", "250"}, 1},
		{"at once after a reset", 0, true, [3]string{"250", "354", "421 4.7.0"}, 1},
		{"later", time.Second, false, [3]string{"250", "354", "250"}, 2},
		{"later after a reset", time.Second, true, [3]string{"421 4.7.0"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inStore(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient, s *watchedStore) {
				c.begin()
				if got := c.cmd(hello + "."); !strings.HasPrefix(got, "250") {
					t.Fatalf("the first message: %s", got)
				}
				if tc.reset {
					other := &credentials.Manager{Store: s.Store, Cost: r.Credentials.Cost}
					if _, err := other.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(tc.after)
				reads := 0
				s.onLookup.Store(new(func(context.Context) { reads++ }))
				for i, lines := range []string{"MAIL FROM:<shop@acme.example>", "RCPT TO:<bob@example.com>\r\nDATA", hello + "."} {
					if tc.want[i] == "" {
						break
					}
					got := c.cmd(lines)
					if i == 1 {
						got = c.reply()
					}
					if !strings.HasPrefix(got, tc.want[i]) {
						t.Errorf("got the reply %q to %.20q, want %q", got, lines, tc.want[i])
					}
				}
				if reads != tc.reads {
					t.Errorf("the message took %d look-ups, want %d", reads, tc.reads)
				}
			})
		})
	}
}

// A panic in the store ends the session, also while it is idle.
func TestPanicInStoreWhileIdle(t *testing.T) {
	inStore(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient, s *watchedStore) {
		panics := func(context.Context) { panic("a mistake in the adapter") }
		s.onLookup.Store(&panics)
		c.wantEnd("421 4.3.0 not possible right now")
	})
}

// A store that hangs does not delay Shutdown.
func TestShutdownDoesNotReadTheStore(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func(*pipeClient)
	}{
		{"idle", func(*pipeClient) {}},
		{"sending a message", (*pipeClient).begin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inStore(t, func(t *testing.T, r *relaytest.Relay, c *pipeClient, s *watchedStore) {
				tc.begin(c)
				synctest.Wait() // until the server waits for the client
				lookups := 0
				hangs := func(ctx context.Context) {
					lookups++
					<-ctx.Done()
				}
				s.onLookup.Store(&hangs)
				start := time.Now()
				go r.Server.Shutdown(t.Context())
				if tc.name == "idle" {
					c.wantEnd("421 4.3.2")
				}
				synctest.Wait()
				took(t, start, 0)
				if lookups > 0 {
					t.Errorf("the store was read %d times, want 0", lookups)
				}
			})
		})
	}
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
			t.Errorf("Shutdown: error is %v, want nil", err)
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
			t.Errorf("Shutdown: error is %v, want nil", err)
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
			t.Errorf("Shutdown: error is %v, want DeadlineExceeded", err)
		}
		c.send("From: shop@acme.example\r\n")
		r.Server.Close()
		if _, err := c.r.ReadString('\n'); err == nil {
			t.Error("the connection is open after Close, want it closed")
		}
	})
}

// A Forwarder that never returns is cancelled before the client gives up.
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
			if got, want := c.cmd("."), "451 4.4.1 no reply in time"; !strings.HasPrefix(got, want) {
				t.Errorf("the server answered %q, want %q", got, want)
			}
			took(t, start, 9*time.Minute)
		})
	})
}

// A client that neither logs in nor reads replies is evicted. A pipe has no buffer,
// so the server's first write to it blocks.
func TestStuckClientIsEvicted(t *testing.T) {
	for _, tc := range []struct{ name, send string }{{"sending", "NOOP\r\n"}, {"idle", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := relaytest.NewUnstartedRelay(t)
				r.Server.MaxConns = 1
				serveInBubble(t, r, func(c *pipeClient) {
					c.send(tc.send)
					synctest.Wait()
					start := time.Now()
					second := c.l.dial(t)
					second.reply()
					io.WriteString(c.conn, "NOOP\r\n") // blocks until the server reads or closes
					took(t, start, time.Second)
					second.conn.Close()
				})
			})
		})
	}
}

// A refused client has less time for the TLS handshake.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.MaxConnsPerAddr = 1
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		go r.Server.ServeTLS(l)
		defer r.Server.Close()
		served := l.dial(t)
		synctest.Wait()
		refused := l.dial(t)
		start := time.Now()
		io.Copy(io.Discard, refused.conn)
		took(t, start, 5*time.Second)
		io.Copy(io.Discard, served.conn)
		took(t, start, time.Minute)
	})
}

// A writingConn writes after each read, as TLS does to answer a KeyUpdate.
type writingConn struct{ net.Conn }

func (c writingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil {
		_, err = c.Conn.Write(nil)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// TLS can write while the server reads, a long time after the last reply.
func TestKeyUpdateAfterAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *relaytest.Relay, first *pipeClient) {
		here, there := net.Pipe()
		first.l.conns <- writingConn{there}
		c := &pipeClient{t: t, conn: here, r: bufio.NewReader(here)}
		defer here.Close()
		c.reply()
		c.login(r)
		time.Sleep(2 * time.Minute)
		if got := c.cmd("NOOP"); !strings.HasPrefix(got, "250") {
			t.Errorf("the server answered %q, want 250", got)
		}
	})
}
