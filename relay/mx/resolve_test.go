package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func TestBestHostIsTriedFirst(t *testing.T) {
	z := mailFor("one.example", "two.example", "three.example")
	records := z.mx["example.com"]
	records[0], records[2] = records[2], records[0] // whatever the order of the answer
	up := &relaytest.Upstream{}
	mustForward(t, start(t, up, z), message())
	wantHosts(t, up, "one.example")
}

func TestEqualHostsShareTheLoad(t *testing.T) {
	z := mailFor("one.example", "two.example")
	z.mx["example.com"] = []string{"10 one.example.", "10 two.example."}
	up := &relaytest.Upstream{}
	first := start(t, up, z)
	for range 60 { // misses one of them once in 2^59 runs
		f := &mx.Forwarder{Hostname: first.Hostname, Resolver: z, Port: first.Port, AllowAddr: first.AllowAddr, TLSConfig: first.TLSConfig}
		mustForward(t, f, message())
		f.Close()
		if got := hosts(up); strings.Contains(got, "one.") && strings.Contains(got, "two.") {
			return
		}
	}
	t.Errorf("always the same: %s", hosts(up))
}

func TestDomainWithoutMXIsItsOwnHost(t *testing.T) {
	z := &zone{addrs: map[string][]string{"example.com": {localhost}}}
	up := &relaytest.Upstream{}
	mustForward(t, start(t, up, z), message())
	wantHosts(t, up, "example.com")
}

// RFC 5321 section 5.1: the address of the domain itself is not used when there
// are MX records.
func TestDomainWithMXIsNotItsOwnHost(t *testing.T) {
	z := mailFor("gone.example")
	z.addrs = map[string][]string{"example.com": {localhost}}
	up := &relaytest.Upstream{}
	wantReply(t, forward(t, start(t, up, z), message()), 550, "5.4.4")
	wantConnections(t, up, 0)
}

func TestWhatDNSSays(t *testing.T) {
	for _, test := range []struct {
		name     string
		mx       []string
		addrs    map[string][]string
		fail     map[string]error
		code     int
		enhanced string
	}{
		{name: "null MX", mx: []string{"0 ."}, addrs: map[string][]string{"example.com": {localhost}}, code: 556, enhanced: "5.1.10"},
		{name: "nothing at all", code: 550, enhanced: "5.1.2"},
		{name: "only IP addresses as hosts", mx: []string{"10 127.0.0.1", "20 127.0.0.1."}, code: 550, enhanced: "5.4.4"},
		{name: "only names that can't be", mx: []string{"10 a b.example.", "20 ."}, code: 550, enhanced: "5.4.4"},
		{name: "MX fails", fail: map[string]error{"MX example.com": servfail}, addrs: map[string][]string{"example.com": {localhost}}, code: 451, enhanced: "4.4.3"},
		{name: "MX times out", fail: map[string]error{"MX example.com": &net.DNSError{IsTimeout: true}}, code: 451, enhanced: "4.4.3"},
		{name: "MX fails strangely", fail: map[string]error{"MX example.com": errors.New("x")}, code: 451, enhanced: "4.4.3"},
		{name: "no MX, A fails, no AAAA", fail: map[string]error{"ip4 example.com": servfail}, code: 451, enhanced: "4.4.3"},
		{name: "no MX, no A, AAAA fails", fail: map[string]error{"ip6 example.com": servfail}, code: 451, enhanced: "4.4.3"},
		{name: "host's A fails", mx: []string{"10 mx.example."}, fail: map[string]error{"ip4 mx.example": servfail}, code: 451, enhanced: "4.4.3"},
		{name: "one host unknown, one without address", mx: []string{"10 mx.example.", "20 gone.example."},
			fail: map[string]error{"ip4 mx.example": servfail}, code: 451, enhanced: "4.4.3"},
		{name: "no host has an address", mx: []string{"10 gone.example.", "20 gone2.example."}, code: 550, enhanced: "5.4.4"},
		{name: "only forbidden addresses", mx: []string{"10 mx.example."}, addrs: map[string][]string{"mx.example": {"192.0.2.1", "2001:db8::1"}}, code: 451, enhanced: "4.4.4"},
		{name: "we are the best host", mx: []string{"10 relay.example.", "10 mx.example.", "20 mx2.example."}, code: 554, enhanced: "5.4.6"},
		{name: "we are, in capitals", mx: []string{"10 RELAY.Example.", "20 mx.example."}, code: 554, enhanced: "5.4.6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := &zone{mx: map[string][]string{"example.com": test.mx}, addrs: test.addrs, fail: test.fail}
			up := &relaytest.Upstream{}
			err := forward(t, start(t, up, z), message())
			wantReply(t, err, test.code, test.enhanced)
			if unreachable(err) != (test.code < 500) {
				t.Errorf("a trouble of the whole domain is %v: %v", unreachable(err), err)
			}
			wantConnections(t, up, 0)
		})
	}
}

// The domain itself may be this server.
func TestOwnDomainWithoutMXLoops(t *testing.T) {
	z := &zone{addrs: map[string][]string{"relay.example": {localhost}}}
	wantReply(t, forward(t, start(t, &relaytest.Upstream{}, z), message("b@relay.example")), 554, "5.4.6")
}

// If an MX list has our own name, only the better hosts are tried.
func TestOnlyBetterHostsThanOurselves(t *testing.T) {
	z := mailFor("better.example", "relay.example", "worse.example")
	up := &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Text: "421 not now", Close: true})}
	wantTemporary(t, forward(t, start(t, up, z), message()), "better.example")
	wantConnections(t, up, 1)
}

func TestMalformedRecordsDoNotHideGoodOnes(t *testing.T) {
	z := mailFor("mx.example.com")
	z.mx["example.com"] = append(z.mx["example.com"], "1 127.0.0.1.", "2 .", "3 -b!d-.example.")
	up := &relaytest.Upstream{}
	mustForward(t, start(t, up, z), message())
	wantHosts(t, up, "mx.example.com")
}

func TestFamiliesFillInForEachOther(t *testing.T) {
	z := mailFor("mx.example.com")
	z.fail = map[string]error{"ip6 mx.example.com": servfail}
	up := &relaytest.Upstream{}
	mustForward(t, start(t, up, z), message())
	wantHosts(t, up, "mx.example.com")
}

// The second address of a host is tried when the first doesn't answer.
func TestNextAddress(t *testing.T) {
	z := mailFor("mx.example.com")
	z.addrs["mx.example.com"] = []string{localhost, localhost}
	up := &relaytest.Upstream{Script: on(1, relaytest.Greeting, relaytest.Answer{Close: true})}
	mustForward(t, start(t, up, z), message())
	wantHosts(t, up, "mx.example.com")
	wantConnections(t, up, 2)
}

// A thousand MX records of a thousand addresses cost a few connections.
func TestNumberOfHostsIsBounded(t *testing.T) {
	z := &zone{mx: map[string][]string{}, addrs: map[string][]string{}}
	for i := range 1000 {
		host := fmt.Sprintf("mx%d.example", i)
		z.mx["example.com"] = append(z.mx["example.com"], fmt.Sprintf("%d %s.", i, host))
		for range 1000 {
			z.addrs[host] = append(z.addrs[host], localhost)
		}
	}
	up := &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Text: "554 no\r\n", Close: true})}
	f := start(t, up, z)
	wantTemporary(t, forward(t, f, message()), "mx0.example", "554")
	wantConnections(t, up, 5*4)

	f.MaxHosts = 2
	forward(t, f, message())
	wantConnections(t, up, 5*4+2*4)
}

// A host that is named a thousand times is tried once.
func TestSameHostTwiceIsOne(t *testing.T) {
	z := mailFor("mx.example.com")
	for range 1000 {
		z.mx["example.com"] = append(z.mx["example.com"], "10 MX.example.com")
	}
	up := &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Close: true})}
	wantTemporary(t, forward(t, start(t, up, z), message()))
	wantConnections(t, up, 1)
}

// By default no domain owner can make the relay connect to a private network.
func TestOnlyPublicAddressesByDefault(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254",
		"fe80::1", "fd00::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255"} {
		z := mailFor("mx.example.com")
		z.addrs["mx.example.com"] = []string{addr}
		f := start(t, &relaytest.Upstream{}, z)
		var log journal
		f.AllowAddr, f.Logger = nil, log.logger()
		err := forward(t, f, message())
		wantReply(t, err, 451, "4.4.4")
		// Tenants read the error: with the address they could look up the names of this network.
		if strings.Contains(err.Error(), addr) || !log.has("address=") {
			t.Errorf("%s: the error is %v, and the log %s", addr, err, log.buf.String())
		}
	}
}

// A look-up is remembered for a moment.
func TestLookUpsAreSpared(t *testing.T) {
	z := mailFor("mx.example.com")
	f := start(t, &relaytest.Upstream{}, z)
	for range 5 {
		mustForward(t, f, message())
	}
	for _, kind := range []string{"MX example.com", "TXT _mta-sts.example.com", "ip4 mx.example.com"} {
		if n := z.asked[kind]; n != 1 {
			t.Errorf("%s: asked %d times", kind, n)
		}
	}
}

// Messages that wait for the same look-up share its failure.
func TestFailedLookUpsAreShared(t *testing.T) {
	z := &zone{fail: map[string]error{"MX example.com": servfail}}
	f := start(t, &relaytest.Upstream{}, slowResolver{z})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := f.Forward(t.Context(), message()); err == nil {
				t.Error("delivered")
			}
		})
	}
	if wg.Wait(); z.times("MX", "example.com") != 1 {
		t.Errorf("asked %d times", z.times("MX", "example.com"))
	}
	time.Sleep(1100 * time.Millisecond)
	z.fail, z.mx, z.addrs = nil, mailFor("mx.example.com").mx, mailFor("mx.example.com").addrs
	mustForward(t, f, message())
}

// A slowResolver takes its time with MX records.
type slowResolver struct{ *zone }

func (r slowResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	time.Sleep(50 * time.Millisecond)
	return r.zone.LookupMX(ctx, name)
}

// A silentResolver never answers.
type silentResolver struct{ *zone }

func (silentResolver) LookupMX(ctx context.Context, _ string) ([]*net.MX, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Several messages wait for one look-up, each as long as it may.
func TestSilentDNSEndsWithTheContext(t *testing.T) {
	f := &mx.Forwarder{Resolver: silentResolver{&zone{}}, AllowAddr: netip.Addr.IsLoopback}
	defer f.Close()
	done := make(chan error)
	for _, wait := range []time.Duration{300, 10, 10} {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), wait*time.Millisecond)
			defer cancel()
			done <- f.Forward(ctx, message())
		}()
	}
	for range 3 {
		select {
		case err := <-done:
			wantTemporary(t, err)
		case <-time.After(10 * time.Second):
			t.Fatal("it still waits")
		}
	}
}
