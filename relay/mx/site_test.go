package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// Domains with the same best hosts are one site and share its connections. Another
// site has its own.
func TestSitesShareLimits(t *testing.T) {
	z := mailFor()
	for i := range 20 {
		// Hosts after the best ones, and the order of hosts, don't change the site.
		z.mx[fmt.Sprintf("d%d.example", i)] = []string{"10 b.example.", "10 a.example.", fmt.Sprintf("20 c%d.example.", i)}
	}
	z.mx["other.example"] = []string{"10 other.example."}
	for _, h := range []string{"a.example", "b.example", "other.example"} {
		z.addrs[h] = []string{localhost}
	}
	release := make(chan struct{})
	var waiting atomic.Int32
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" && waiting.Add(1) < 4 {
			<-release
		}
		return relaytest.Answer{}
	}}
	f := start(t, up, z)
	var mu sync.Mutex
	sites := make(map[string]bool)
	f.Limits = func(site string) mx.Limits {
		mu.Lock()
		defer mu.Unlock()
		sites[site] = true
		return mx.Limits{MaxConns: 3}
	}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { mustForward(t, f, message(fmt.Sprintf("r@d%d.example", i))) })
	}
	for waiting.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	m := message("r@d9.example")
	m.NoWait = true
	var busy *relay.BusyError
	if err := forward(t, f, m); !errors.As(err, &busy) || busy.Site != "a.example,b.example" {
		t.Errorf("%v", err)
	}
	other := message("r@other.example")
	other.NoWait = true
	mustForward(t, f, other)
	close(release)
	wg.Wait()
	<-busy.Free
	mustForward(t, f, m)
	if len(sites) != 2 || !sites["a.example,b.example"] || !sites["other.example"] {
		t.Errorf("sites: %v", sites)
	}
}

// A host that is down is not taken for one that limits connections, although its site
// has connections to another host.
func TestHostThatIsDownIsNoLimit(t *testing.T) {
	z := mailFor("one.example", "two.example")
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" {
			return relaytest.Answer{Wait: 100 * time.Millisecond}
		}
		return relaytest.Answer{}
	}}
	z.addrs["one.example"] = []string{"127.0.0.2"}
	f := start(t, up, z)
	f.MaxConns = 20
	f.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "127.0.0.2") {
			addr = "127.0.0.1:1" // refuses connections
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		time.Sleep(2 * time.Millisecond)
		wg.Go(func() {
			m := message(fmt.Sprintf("r%d@example.com", i))
			m.NoWait = true
			if err := forward(t, f, m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made, _ := up.Connections(); made < 8 {
		t.Errorf("%d connections", made)
	}
}

// A site that throttles is asked at one more host, and then not at all for a while.
func TestThrottlingSite(t *testing.T) {
	up := &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Text: "421 4.7.0 too many connections\r\n", Close: true})}
	f := start(t, up, mailFor("one.example", "two.example", "three.example", "four.example"))
	for range 5 {
		wantTemporary(t, forward(t, f, message()), "421 4.7.0 too many connections")
	}
	wantConnections(t, up, 2)
}

// A host that was silent is asked last, and so is a silent address.
func TestSilentHostIsAskedLast(t *testing.T) {
	up := &relaytest.Upstream{Script: on(1, relaytest.Greeting, relaytest.Answer{Wait: time.Minute})}
	f := start(t, up, mailFor("one.example", "two.example"))
	f.Timeout, f.MaxMessages = 500*time.Millisecond, 1
	for range 3 {
		mustForward(t, f, message())
	}
	wantHosts(t, up, "two.example two.example two.example")
	wantConnections(t, up, 4)

	z := mailFor("one.example")
	z.addrs["one.example"] = []string{"::1", localhost}
	var dialed []string
	f = start(t, &relaytest.Upstream{}, z)
	f.Timeout, f.MaxMessages = 500*time.Millisecond, 1
	f.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed = append(dialed, addr[:3])
		if strings.HasPrefix(addr, "[::1]") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	for range 3 {
		mustForward(t, f, message())
	}
	if got := strings.Join(dialed, " "); got != "[:: 127 127 127" {
		t.Errorf("dialed %s", got)
	}
}

// If a host may have taken the message for a recipient, no other host is asked, also if
// it refused the other recipients.
func TestUnknownForSomeIsSettled(t *testing.T) {
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Verb == "RCPT" && strings.Contains(c.Line, "<later@"):
			return relaytest.Answer{Text: "450 4.2.1 greylisted"}
		case c.Verb == relaytest.EndOfData:
			return relaytest.Answer{Close: true}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up, mailFor("one.example", "two.example"))
	m := message("later@example.com", "b@example.com")
	m.Partial = true
	err := forward(t, f, m)
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || len(refused.Recipients) != 2 || !relay.Temporary(err) {
		t.Errorf("%v", err)
	}
	wantConnections(t, up, 1)
}

// If no host takes the message, Forward returns the error of the host that got furthest.
func TestErrorOfTheFurthestStep(t *testing.T) {
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Conn == 1 && c.Verb == relaytest.Greeting, c.Conn == 3 && c.Verb == relaytest.Greeting:
			return relaytest.Answer{Close: true}
		case c.Conn == 2 && c.Verb == "MAIL":
			return relaytest.Answer{Close: true}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up, mailFor("one.example", "two.example", "three.example"))
	wantTemporary(t, forward(t, f, message()), "two.example: MAIL")
}

func TestNetwork(t *testing.T) {
	z := mailFor("one.example")
	z.addrs["one.example"] = []string{"::1", localhost}
	up := &relaytest.Upstream{}
	f := start(t, up, z)
	f.Network = "ip4"
	mustForward(t, f, message())
	if n := z.times("ip6", "one.example"); n > 0 {
		t.Errorf("AAAA was looked up %d times", n)
	}
	f = start(t, &relaytest.Upstream{}, z)
	f.Network = "tcp4"
	wantTemporary(t, forward(t, f, message()), "Network")
}

// The name, the addresses and the reverse entries of this server must agree.
func TestCheckSelf(t *testing.T) {
	four, six := netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("2606:4700::1111")
	for _, test := range []struct {
		name  string
		addrs []string            // of relay.example
		ptr   map[string][]string // reverse entries
		from  []netip.Addr
		want  []string // texts in the error; nil means no error
	}{
		{"all is well", []string{"8.8.4.4", "2606:4700::1111"}, map[string][]string{"8.8.4.4": {"Relay.Example."}, "2606:4700::1111": {"x.example.", "relay.example."}}, []netip.Addr{four, six}, nil},
		{"no AAAA", []string{"8.8.4.4"}, map[string][]string{"8.8.4.4": {"relay.example."}}, []netip.Addr{four, six}, []string{"2606:4700::1111, but relay.example has no AAAA"}},
		{"no A", nil, nil, []netip.Addr{four}, []string{"relay.example has no A record"}},
		{"no PTR", []string{"8.8.4.4"}, nil, []netip.Addr{four}, []string{"8.8.4.4 has no reverse entry"}},
		{"another PTR, for both", []string{"8.8.4.4", "2606:4700::1111"}, map[string][]string{"8.8.4.4": {"host7.isp.example."}, "2606:4700::1111": {"a.example."}}, []netip.Addr{four, six}, []string{"8.8.4.4 is host7.isp.example.", "2606:4700::1111 is a.example."}},
		{"NAT", nil, nil, []netip.Addr{netip.MustParseAddr("192.168.1.2")}, []string{"192.168.1.2, which is not public"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := &zone{addrs: map[string][]string{"relay.example": test.addrs}, ptr: test.ptr}
			f := &mx.Forwarder{Hostname: "relay.example", Resolver: z}
			err := f.CheckSelf(t.Context(), test.from...)
			if test.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, w := range test.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v doesn't say %q", err, w)
				}
			}
		})
	}
	f := &mx.Forwarder{Hostname: "relay", Resolver: &zone{}}
	if err := f.CheckSelf(t.Context()); err == nil || !strings.Contains(err.Error(), "Forwarder.Hostname") {
		t.Error(err)
	}
}
