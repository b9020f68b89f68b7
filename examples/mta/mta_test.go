package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/daemon"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// patience is how long anything may take on a slow machine.
const patience = 30 * time.Second

const hostname = "relay.test"

// resolver is a DNS in which some domains have their mail host at 127.0.0.1, and
// no others exist.
type resolver []string

func (r resolver) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	if name = strings.TrimSuffix(name, "."); slices.Contains(r, name) {
		return []*net.MX{{Host: "mail." + name + ".", Pref: 10}}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (r resolver) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if network == "ip4" && strings.HasPrefix(host, "mail.") {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (r resolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (r resolver) LookupAddr(_ context.Context, addr string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
}

// newSettings makes settings for a server in a directory of its own.
func newSettings(t *testing.T) settings {
	t.Helper()
	dir := t.TempDir()
	s := settings{
		Settings: daemon.Settings{
			Hostname: hostname,
			CertFile: filepath.Join(dir, "server.crt"), KeyFile: filepath.Join(dir, "server.key"),
			ShutdownTimeout: 10 * time.Second,
		},
		database: filepath.Join(dir, "gatepost.db"), keyDir: filepath.Join(dir, "dkim"),
	}
	for _, addr := range []*string{&s.Listen, &s.ListenTLS} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*addr = l.Addr().String()
	}
	cert := relaytest.Certificate()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, s.CertFile, "CERTIFICATE", cert.Certificate[0])
	writePEM(t, s.KeyFile, "PRIVATE KEY", key)
	return s
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a server that delivers to host, and returns what ends it.
func (s settings) start(t *testing.T, host *relaytest.Upstream, domains ...string) (stop func()) {
	t.Helper()
	_, port, _ := net.SplitHostPort(host.Addr())
	out := &mx.Forwarder{
		Hostname: s.Hostname, Resolver: resolver(domains), Logger: slog.New(slog.DiscardHandler),
		AllowAddr: func(a netip.Addr) bool { return a.IsLoopback() },
	}
	out.Port, _ = strconv.Atoi(port)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, s, out, slog.New(slog.DiscardHandler)) }()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Listen)
		if err == nil {
			c.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		if time.Since(begin) > patience {
			t.Fatal(err)
		}
	}
	return func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// addUser does what the product does.
func (s settings) addUser(t *testing.T) smtp.Auth {
	t.Helper()
	db, err := openDatabase(s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	acme := (&credentials.Manager{Store: sqlstore.New(db, sqlstore.SQLite)}).Tenant("acme")
	if _, err := acme.AddDomain(t.Context(), "acme.example"); err != nil {
		t.Fatal(err)
	}
	u, password, err := acme.AddUser(t.Context(), "acme.example", "billing")
	if err != nil {
		t.Fatal(err)
	}
	return smtp.PlainAuth("", u.Username, password.Reveal(), hostname)
}

// send sends a message to several recipients.
func (s settings) send(t *testing.T, auth smtp.Auth, to ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := smtp.NewClient(conn, hostname)
	must(err)
	config := relaytest.ClientTLS()
	config.ServerName = hostname
	must(c.StartTLS(config))
	must(c.Auth(auth))
	must(c.Mail("billing@acme.example"))
	for _, r := range to {
		must(c.Rcpt(r))
	}
	w, err := c.Data()
	must(err)
	io.WriteString(w, "From: billing@acme.example\r\nSubject: Your bill\r\n\r\nThank you.\r\n")
	must(w.Close())
	must(c.Quit())
}

// arrived waits until a host has n messages, and returns them by recipient.
func arrived(t *testing.T, host *relaytest.Upstream, n int) map[string]relaytest.Received {
	t.Helper()
	for begin := time.Now(); len(host.Received()) < n; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("%d messages arrived, want %d", len(host.Received()), n)
		}
	}
	byRecipient := make(map[string]relaytest.Received)
	for _, d := range host.Received() {
		byRecipient[d.To[0].Address] = d
	}
	if len(byRecipient) != n {
		t.Fatalf("messages arrived for %v, want %d recipients", byRecipient, n)
	}
	return byRecipient
}

// TestSending sends to three domains, one of which doesn't exist.
func TestSending(t *testing.T) {
	host := &relaytest.Upstream{}
	host.Start()
	defer host.Close()
	s := newSettings(t)
	stop := s.start(t, host, "one.example", "two.example", "acme.example")
	defer stop()
	s.send(t, s.addUser(t), "ann@one.example", "bob@two.example", "eve@missing.example")

	ks, err := loadKeys(s.keyDir) // those that the server has made
	if err != nil {
		t.Fatal(err)
	}
	got := arrived(t, host, 3)
	for to, want := range map[string]struct{ from, domain, says string }{
		"ann@one.example":      {"billing@acme.example", "acme.example", "Thank you.\r\n"},
		"bob@two.example":      {"billing@acme.example", "acme.example", "Thank you.\r\n"},
		"billing@acme.example": {"", hostname, "eve@missing.example"},
	} {
		d := got[to]
		if d.From != want.from || d.TLS == nil || d.Hello != hostname || !bytes.Contains(d.Content, []byte(want.says)) {
			t.Errorf("for %s came, from <%s>, %s, TLS: %v,\n%s", to, d.From, d.Hello, d.TLS != nil, d.Content)
		}
		if signed := verify(t, d.Content, ks); len(signed) != 1 || signed[0] != want.domain {
			t.Errorf("what came for %s is signed by %q, want %s", to, signed, want.domain)
		}
	}
}

// verify returns the domains that have signed a message, if the DNS has the
// record of a key.
func verify(t *testing.T, content []byte, ks keys) (domains []string) {
	t.Helper()
	found, err := dkim.VerifyWithOptions(bytes.NewReader(content), &dkim.VerifyOptions{
		LookupTXT: func(name string) (records []string, err error) {
			for _, k := range ks {
				if strings.HasPrefix(name, k.Selector+"._domainkey.") {
					records = append(records, record(k))
				}
			}
			return records, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		if v.Err != nil {
			t.Errorf("a signature for %s: %v", v.Domain, v.Err)
		}
		domains = append(domains, v.Domain)
	}
	return domains
}

// A message that a host defers waits in the database, and is delivered after a
// restart.
func TestRestart(t *testing.T) {
	busy := &relaytest.Upstream{Script: func(relaytest.Command) relaytest.Answer { return relaytest.Answer{Text: "421 4.3.2 Later"} }}
	busy.Start()
	defer busy.Close()
	s := newSettings(t)
	stop := s.start(t, busy, "one.example")
	s.send(t, s.addUser(t), "ann@one.example")
	stop()

	db, err := openDatabase(s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st := sqlstore.New(db, sqlstore.SQLite)
	found, err := st.Deliveries(t.Context(), store.Filter{Tenant: "acme"}, store.Page{})
	if err != nil || len(found) != 1 {
		t.Fatalf("the queue holds %+v, %v", found, err)
	}
	// The test does not wait for the next attempt.
	d := found[0].Delivery
	if _, err := st.Settle(t.Context(), []store.Outcome{{Mail: d.Mail, N: d.N, Lease: d.Lease, Next: d.Next.Add(-time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	host := &relaytest.Upstream{}
	host.Start()
	defer host.Close()
	defer s.start(t, host, "one.example")()
	arrived(t, host, 1)
}
