package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
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

const (
	tooMany       = "421 4.7.0 too many connections, try again later"
	tooManyOfUser = "454 4.7.0 too many connections of this user, try again later"
	replaced      = "421 4.7.0 too many connections of this user, the oldest idle one is closed"
)

// A fleet is a relay in a bubble with two listeners: one without TLS and one with
// implicit TLS. Clients connect from any address.
type fleet struct {
	*relaytest.Relay
	t          *testing.T
	store      *watchedStore
	plain, tls *pipeListener
}

func inFleet(t *testing.T, f func(*testing.T, *fleet), change func(*relay.Server)) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		s := &watchedStore{Store: r.Credentials.Store}
		r.Credentials = &credentials.Manager{Store: s, Cost: r.Credentials.Cost}
		r.Server.Credentials = r.Credentials
		r.Server.InsecureAuth = true
		change(r.Server)
		newListener := func() *pipeListener {
			return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		}
		fl := &fleet{r, t, s, newListener(), newListener()}
		var served sync.WaitGroup
		served.Go(func() { r.Server.Serve(fl.plain) })
		served.Go(func() { r.Server.ServeTLS(fl.tls) })
		defer served.Wait()
		defer r.Server.Close()
		f(t, fl)
	})
}

type fromAddr struct {
	net.Conn
	addr net.Addr
}

func (c fromAddr) RemoteAddr() net.Addr { return c.addr }

// dial connects from the address that n stands for, a millisecond after the previous
// call.
func (f *fleet) dial(l *pipeListener, n int) *pipeClient {
	time.Sleep(time.Millisecond)
	here, there := net.Pipe()
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	l.conns <- fromAddr{there, net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 4711))}
	f.t.Cleanup(func() { here.Close() })
	if l == f.tls {
		here = tls.Client(here, relaytest.ClientTLS())
	}
	return &pipeClient{t: f.t, conn: here, r: bufio.NewReader(here), l: l}
}

// hold connects without TLS and logs in with an AUTH PLAIN response.
func (f *fleet) hold(n int, plain string) *pipeClient {
	f.t.Helper()
	c := f.dial(f.plain, n)
	c.reply()
	c.cmd("EHLO client.test")
	if got := c.cmd("AUTH PLAIN " + plain); !strings.HasPrefix(got, "235") {
		f.t.Fatalf("login from address %d: got %q, want 235", n, got)
	}
	return c
}

// wait connects, sends a wrong password, and waits until the server decides on it.
func (f *fleet) wait(n int) *pipeClient {
	c := f.dial(f.plain, n)
	c.reply()
	c.cmd("EHLO client.test")
	c.send("AUTH PLAIN " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x00%s\x00wrong%d", f.Username, n)) + "\r\n")
	synctest.Wait()
	return c
}

// block makes logins wait until their context ends or release is called. waiting
// counts them.
func (f *fleet) block() (waiting *atomic.Int64, release func()) {
	waiting = new(atomic.Int64)
	free := make(chan struct{})
	hang := func(ctx context.Context) {
		waiting.Add(1)
		defer waiting.Add(-1)
		select {
		case <-free:
		case <-ctx.Done():
		}
	}
	f.store.onLookup.Store(&hang)
	return waiting, func() {
		f.store.onLookup.Store(nil)
		close(free)
	}
}

// 200 connections wait for the hash of a login, which is all that MaxConns allows.
// Each of 100 new connections gets 220 or 421 at once, on both ports. The logins of
// evicted connections end. A tool that is alone at its address is not evicted.
func TestWaitingLoginsAreEvicted(t *testing.T) {
	for _, test := range []struct {
		name  string
		addrs int // the waiting connections come from
		want  string
	}{
		{"from one address", 1, "220"},
		{"from 50 addresses", 50, "220"},
		{"from an address each", 199, tooMany},
	} {
		t.Run(test.name, func(t *testing.T) {
			limit := func(s *relay.Server) { s.MaxConns, s.MaxConnsPerAddr = 200, 200 }
			inFleet(t, func(t *testing.T, f *fleet) {
				blocked, release := f.block()
				tool := f.dial(f.plain, 0)
				tool.reply()
				tool.cmd("EHLO client.test")
				tool.send(expand(f.Relay, "AUTH PLAIN $plain\r\n"))
				waiting := make([]*pipeClient, 199)
				for i := range waiting {
					waiting[i] = f.wait(1000 + i%test.addrs)
				}
				if got := blocked.Load(); got != 200 {
					t.Fatalf("%d logins wait, want 200", got)
				}
				start := time.Now()
				for i := range 100 {
					c := f.dial([]*pipeListener{f.plain, f.tls}[i%2], 2000+i)
					if got := c.reply(); !strings.HasPrefix(got, test.want) {
						t.Fatalf("new connection %d: got %q, want %q", i, got, test.want)
					}
				}
				took(t, start, 0)
				synctest.Wait()
				if got := blocked.Load(); test.want == "220" && got != 100 {
					t.Errorf("%d logins wait after 100 were evicted, want 100", got)
				}
				if test.want == "220" { // the oldest one of its address is first
					waiting[0].wantEnd(tooMany)
				}
				release()
				if got := tool.reply(); !strings.HasPrefix(got, "235") {
					t.Errorf("the tool's login: got %q, want 235", got)
				}
			}, limit)
		})
	}
}

// Shutdown ends a login that waits for its hash.
func TestShutdownEndsLogins(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		f.block()
		c := f.wait(1)
		start := time.Now()
		go f.Server.Shutdown(t.Context())
		c.wantEnd("421 4.3.2")
		took(t, start, 0)
	}, func(*relay.Server) {})
}

// One user sends NOOPs on 64 connections from 32 addresses.
func TestOneUserCannotHoldAllConnections(t *testing.T) {
	for _, test := range []struct {
		name    string
		perUser int
		held    int // connections the user gets
	}{
		{"limit for a user", 16, 16},
		{"limit for all", 64, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits := func(s *relay.Server) { s.MaxConns, s.MaxConnsPerAddr, s.MaxConnsPerUser = 64, 2, test.perUser }
			inFleet(t, func(t *testing.T, f *fleet) {
				var held []*pipeClient
				for i := range 64 {
					c := f.dial(f.plain, i/2)
					c.reply()
					c.cmd("EHLO client.test")
					got := c.cmd(expand(f.Relay, "AUTH PLAIN $plain"))
					want := "235"
					if i >= test.held {
						want = tooManyOfUser
					}
					if !strings.HasPrefix(got, want) {
						t.Fatalf("login %d: got %q, want %q", i, got, want)
					}
					if want == "235" {
						held = append(held, c)
					}
				}
				for i := range 20 { // another user's tools, from an address each
					for _, c := range held[min(i, len(held)):] {
						if test.held == 64 {
							c.cmd("NOOP")
						}
					}
					tool := f.hold(100+i, newUser(t, f.Relay))
					tool.begin()
					tool.send(hello)
					if got := tool.cmd("."); !strings.HasPrefix(got, "250") {
						t.Errorf("message of tool %d: got %q, want 250", i, got)
					}
					if test.held == 64 {
						held[i].wantEnd(tooMany) // the one that logged in first
					}
				}
			}, limits)
		})
	}
}

// Beyond MaxConnsPerUser, a login replaces the user's idlest connection, unless that
// was in use in the last ten seconds.
func TestMaxConnsPerUser(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		plain := expand(f.Relay, "$plain")
		first, second := f.hold(1, plain), f.hold(2, plain)
		time.Sleep(9 * time.Second)
		third := f.dial(f.plain, 3)
		third.reply()
		third.cmd("EHLO client.test")
		for range 3 { // counts as a failed login
			if got := third.cmd("AUTH PLAIN " + plain); got != tooManyOfUser {
				t.Errorf("third login: got %q, want %q", got, tooManyOfUser)
			}
		}
		third.wantEnd("421 4.7.0 too many failed logins")
		u, err := f.Credentials.Tenant(f.Tenant).User(t.Context(), f.Username)
		if age := time.Since(u.LastConnection); err != nil || age < 9*time.Second {
			t.Errorf("the last connection was %v ago, error %v; want 9s: a refused login does not count", age, err)
		}
		first.begin()
		first.send(hello)
		first.cmd(".")
		time.Sleep(time.Second)
		fourth := f.hold(3, plain)
		second.wantEnd(replaced)
		for _, c := range []*pipeClient{first, fourth} {
			if got := c.cmd("NOOP"); !strings.HasPrefix(got, "250") {
				t.Errorf("NOOP: got %q, want 250", got)
			}
		}
		f.hold(4, newUser(t, f.Relay)) // another user is not affected
		first.cmd("QUIT")
		synctest.Wait()
		f.hold(1, plain) // its place is free
	}, func(s *relay.Server) { s.MaxConnsPerUser = 2 })
}

// A tenant with many users loses connections while it has more than half of all. The
// only connection of another tenant's user is not evicted.
func TestTenantWithManyUsers(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		other := f.Credentials.Tenant(store.TenantID("other"))
		if _, err := other.AddDomain(t.Context(), "other.example"); err != nil {
			t.Fatal(err)
		}
		hold := func(n int) *pipeClient {
			u, p, err := other.AddUser(t.Context(), "other.example", "tool")
			if err != nil {
				t.Fatal(err)
			}
			return f.hold(n, base64.StdEncoding.EncodeToString([]byte("\x00"+u.Username+"\x00"+p.Reveal())))
		}
		theirs := []*pipeClient{hold(1), hold(2)}
		var many []*pipeClient
		for i := range 6 {
			time.Sleep(time.Second)
			many = append(many, f.hold(10+i, newUser(t, f.Relay)))
		}
		for i := range 2 {
			hold(20 + i)
			many[i].wantEnd(tooMany)
		}
		c := f.dial(f.plain, 30) // each tenant has half now
		c.wantEnd(tooMany)
		for _, c := range theirs {
			if got := c.cmd("NOOP"); !strings.HasPrefix(got, "250") {
				t.Errorf("NOOP: got %q, want 250", got)
			}
		}
	}, func(s *relay.Server) { s.MaxConns = 8 })
}

// Evictions come in this order: a connection that does not log in, the idlest one of
// the user with the most, the oldest one. A session that receives a message is not
// evicted.
func TestEvictionOrder(t *testing.T) {
	inFleet(t, func(t *testing.T, f *fleet) {
		silent := f.dial(f.plain, 1)
		silent.reply()
		plain := expand(f.Relay, "$plain")
		sending, between := f.hold(2, plain), f.hold(3, plain)
		sending.begin()
		f.hold(8, plain).begin()
		time.Sleep(6 * time.Second)
		fresh := f.dial(f.plain, 4)
		fresh.reply()
		f.dial(f.plain, 5).reply()
		silent.wantEnd(tooMany)
		f.dial(f.plain, 6).reply()
		between.wantEnd(tooMany) // its user has three
		f.dial(f.plain, 7).reply()
		fresh.wantEnd(tooMany) // the oldest of those that have one
		sending.send(hello)
		if got := sending.cmd("."); !strings.HasPrefix(got, "250") {
			t.Errorf("the message: got %q, want 250", got)
		}
	}, func(s *relay.Server) { s.MaxConns = 5 })
}

// Every refused connection gets 421, even if hundreds of other connections never
// begin their TLS handshake.
func TestEveryRefusedConnectionGets421(t *testing.T) {
	const want = "421 4.7.0 too many connections from your address, try again later"
	inFleet(t, func(t *testing.T, f *fleet) {
		f.hold(1, expand(f.Relay, "$plain"))
		first := f.dial(f.tls, 1) // silent
		for i := range 300 {
			f.dial(f.tls, 1) // silent too
			f.dial(f.plain, 1).wantEnd(want)
			if i%10 == 0 {
				f.dial(f.tls, 1).wantEnd(want)
			}
		}
		start := time.Now()
		if _, err := first.r.ReadByte(); err == nil {
			t.Error("the oldest silent connection is still open, want it closed")
		}
		took(t, start, 0)
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { f.dial(f.tls, 1).wantEnd(want) })
		}
		all.Wait()
		f.dial(f.tls, 2).reply()
		down := make(chan error, 1)
		go func() { down <- f.Server.Shutdown(t.Context()) }()
		if err := <-down; err != nil { // it waits at most five seconds for the silent ones
			t.Errorf("Shutdown: got %v, want nil", err)
		}
	}, func(s *relay.Server) { s.MaxConnsPerAddr = 1 })
}
