package mx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A zone is a Resolver that knows what a test told it. Names have no trailing
// dot; MX records are written "10 host".
type zone struct {
	mx    map[string][]string
	addrs map[string][]string
	txt   map[string][]string
	ptr   map[string][]string // by address
	fail  map[string]error    // under "MX name", "ip4 name", "ip6 name", "TXT name"

	mu    sync.Mutex
	asked map[string]int // the same keys
}

// look counts a question and returns the error it is answered with, if any.
func (z *zone) look(ctx context.Context, kind, name string) (string, error) {
	name, absolute := strings.CutSuffix(name, ".")
	if !absolute {
		return "", fmt.Errorf("%s is no absolute name", name)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.asked == nil {
		z.asked = make(map[string]int)
	}
	z.asked[kind+" "+name]++
	if err := z.fail[kind+" "+name]; err != nil {
		return "", err
	}
	return name, ctx.Err()
}

func (z *zone) times(kind, name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[kind+" "+name]
}

func notFound(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

var servfail = &net.DNSError{Err: "server misbehaving", IsTemporary: true}

func (z *zone) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	name, err := z.look(ctx, "MX", name)
	if err != nil {
		return nil, err
	}
	var all []*net.MX
	for _, r := range z.mx[name] {
		pref, host, _ := strings.Cut(r, " ")
		n, _ := strconv.ParseUint(pref, 10, 16)
		all = append(all, &net.MX{Host: host, Pref: uint16(n)})
	}
	if all == nil {
		return nil, notFound(name)
	}
	return all, nil
}

func (z *zone) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	name, err := z.look(ctx, network, name)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, s := range z.addrs[name] {
		if a := netip.MustParseAddr(s); a.Is4() == (network == "ip4") {
			all = append(all, a)
		}
	}
	if all == nil {
		return nil, notFound(name)
	}
	return all, nil
}

func (z *zone) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name, err := z.look(ctx, "TXT", name)
	if err != nil {
		return nil, err
	}
	if z.txt[name] == nil {
		return nil, notFound(name)
	}
	return z.txt[name], nil
}

func (z *zone) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	if z.ptr[addr] == nil {
		return nil, notFound(addr)
	}
	return z.ptr[addr], nil
}

const localhost = "127.0.0.1"

// mailFor returns a zone in which the hosts, best first, take example.com's mail.
// All are one server: which of them a client means is seen by the name it gives
// when TLS begins.
func mailFor(hosts ...string) *zone {
	z := &zone{mx: map[string][]string{}, addrs: map[string][]string{}}
	for i, h := range hosts {
		z.mx["example.com"] = append(z.mx["example.com"], fmt.Sprintf("%d %s.", 10*(i+1), h))
		z.addrs[h] = []string{localhost}
	}
	return z
}

// start starts the server that all hosts are, and returns a Forwarder. Both end
// with the test.
func start(t testing.TB, up *relaytest.Upstream, z mx.Resolver) *mx.Forwarder {
	t.Helper()
	up.Start()
	t.Cleanup(up.Close)
	_, port, _ := net.SplitHostPort(up.Addr())
	n, _ := strconv.Atoi(port)
	f := &mx.Forwarder{
		Hostname: "relay.example", Resolver: z, Port: n,
		AllowAddr: netip.Addr.IsLoopback,
		TLSConfig: relaytest.ClientTLS(),
		Logger:    slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const hello = "From: a@example.org\r\nSubject: Hello\r\n\r\nHello\r\n"

// message makes a message from a@example.org, to b@example.com unless told
// otherwise.
func message(to ...string) *relay.Message {
	m := &relay.Message{ID: "x1", From: "a@example.org"}
	if to == nil {
		to = []string{"b@example.com"}
	}
	for _, addr := range to {
		m.To = append(m.To, relay.Recipient{Address: addr})
	}
	m = m.WithContent(strings.NewReader(hello), int64(len(hello)))
	return m
}

// forward forwards m within a time in which everything here happens.
func forward(t testing.TB, f *mx.Forwarder, m *relay.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := f.Forward(ctx, m)
	if ctx.Err() != nil {
		t.Fatalf("Forward took too long: %v", err)
	}
	return err
}

func mustForward(t testing.TB, f *mx.Forwarder, m *relay.Message) {
	t.Helper()
	if err := forward(t, f, m); err != nil {
		t.Fatalf("Forward: %v", err)
	}
}

// wantReply fails unless err carries this reply, and is final if the reply is.
func wantReply(t testing.TB, err error, code int, enhanced string) {
	t.Helper()
	var re *relay.ReplyError
	if !errors.As(err, &re) {
		t.Fatalf("no reply in the error: %v", err)
	}
	if re.Code != code || re.Enhanced != enhanced {
		t.Errorf("the reply is %d %s, not %d %s: %v", re.Code, re.Enhanced, code, enhanced, err)
	}
	if want := code < 500; relay.Temporary(err) != want {
		t.Errorf("temporary is %v, want %v: %v", !want, want, err)
	}
}

// wantTemporary fails unless err is temporary and says all of the words.
func wantTemporary(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("Forward succeeded")
	}
	if !relay.Temporary(err) {
		t.Errorf("final, not temporary: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error doesn't say %q: %v", w, err)
		}
	}
}

func unreachable(err error) bool {
	var u interface{ Unreachable() bool }
	return errors.As(err, &u) && u.Unreachable()
}

// hosts returns the names of the hosts that mail was delivered to; "plaintext" in
// place of the name where it can't be told.
func hosts(up *relaytest.Upstream) string {
	var names []string
	for _, d := range up.Received() {
		if d.TLS == nil {
			names = append(names, "plaintext")
		} else {
			names = append(names, d.TLS.ServerName)
		}
	}
	return strings.Join(names, " ")
}

func wantHosts(t testing.TB, up *relaytest.Upstream, want string) {
	t.Helper()
	if got := hosts(up); got != want {
		t.Errorf("delivered to %q, want %q", got, want)
	}
}

func wantConnections(t testing.TB, up *relaytest.Upstream, want int) {
	t.Helper()
	if made, _ := up.Connections(); made != want {
		t.Errorf("%d connections, want %d", made, want)
	}
}

// on returns a script with one rule: what to do on a connection (0: on each) at
// commands that begin so.
func on(conn int, command string, a relaytest.Answer) func(relaytest.Command) relaytest.Answer {
	return func(c relaytest.Command) relaytest.Answer {
		if (conn == 0 || c.Conn == conn) && (c.Verb == command || c.Line != "" && strings.HasPrefix(c.Line, command)) {
			return a
		}
		return relaytest.Answer{}
	}
}

// A journal is a log that tests can read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) has(words string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.buf.String(), words)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }
