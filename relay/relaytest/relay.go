package relaytest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A Relay is a real relay on the loopback interface with one tenant, one domain
// and one SMTP user, everything in memory. It records what it accepted. Its
// methods may be called from several goroutines.
type Relay struct {
	// Server is the relay itself. Its fields may be changed between
	// NewUnstartedRelay and Start. A message that its Forwarder refuses is not
	// recorded.
	Server *relay.Server

	// Credentials are the server's. Domain and its user belong to Tenant. Reset
	// or delete the user to see how your product reacts.
	Credentials *credentials.Manager
	Tenant      store.TenantID
	Domain      string // "acme.example"
	Username    string
	Password    string

	// Addr is the address for STARTTLS, AddrTLS the one for TLS from the first
	// byte. Both look like "127.0.0.1:port".
	Addr, AddrTLS string

	tb       testing.TB
	accepted Recorder
}

// NewRelay starts a relay that is shut down when the test ends.
func NewRelay(tb testing.TB) *Relay {
	tb.Helper()
	r := NewUnstartedRelay(tb)
	r.Start()
	return r
}

// NewUnstartedRelay makes a relay that doesn't listen yet, so that its Server
// can be changed before Start.
func NewUnstartedRelay(tb testing.TB) *Relay {
	tb.Helper()
	ctx := context.Background()
	// A password hash of the usual cost would take most of a test's time.
	creds := &credentials.Manager{Store: new(memory.Store), Cost: credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}, Logger: quiet}
	r := &Relay{Credentials: creds, Tenant: "acme", Domain: "acme.example", tb: tb}
	acme := creds.Tenant(r.Tenant)
	if _, err := acme.AddDomain(ctx, r.Domain); err != nil {
		tb.Fatal(err)
	}
	user, password, err := acme.AddUser(ctx, r.Domain, "test")
	if err != nil {
		tb.Fatal(err)
	}
	r.Username, r.Password = user.Username, password.Reveal()
	r.Server = &relay.Server{
		Hostname:    "relay.test",
		Credentials: creds,
		Forwarder:   relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{Certificate()}},
		Logger:      quiet,
	}
	return r
}

var quiet = slog.New(slog.DiscardHandler)

// Start begins to listen on two free ports of the loopback interface. If Serve
// fails, for example because a required field is missing, the test fails at once.
func (r *Relay) Start() {
	r.tb.Helper()
	if r.Server.Forwarder != nil { // otherwise Serve says so
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
	}
	r.Addr = r.serve(r.Server.Serve)
	if r.Server.TLSConfig != nil {
		r.AddrTLS = r.serve(r.Server.ServeTLS)
	}
}

// serve returns an address when the relay accepts connections there.
func (r *Relay) serve(serve func(net.Listener) error) string {
	r.tb.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.tb.Fatal(err)
	}
	l := &listener{Listener: tcp, accepting: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- serve(l) }()
	select {
	case <-l.accepting:
	case err := <-ended:
		r.tb.Fatalf("relaytest: %v", err)
	}
	r.tb.Cleanup(func() {
		r.Server.Close()
		if err := <-ended; !errors.Is(err, relay.ErrServerClosed) {
			r.tb.Errorf("relaytest: %v", err)
		}
	})
	return l.Addr().String()
}

// A listener tells when it is used.
type listener struct {
	net.Listener
	once      sync.Once
	accepting chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.accepting) })
	return l.Listener.Accept()
}

// Messages returns what was accepted so far. A client that was answered 250
// finds its message here.
func (r *Relay) Messages() []Message { return r.accepted.Messages() }

// Wait waits until n messages were accepted, and returns all there are. After 30
// seconds it fails the test.
func (r *Relay) Wait(n int) []Message {
	r.tb.Helper()
	return r.accepted.Wait(r.tb, n)
}

// Send sends a message through the relay, which must be started: it connects to
// Addr, uses STARTTLS and logs in as Username. From and to are the envelope. A
// bare LF in the content is sent as CRLF. The error of a refusal is a
// [*net/textproto.Error], which has the reply's code and text.
func (r *Relay) Send(from string, to []string, content string) error {
	c, err := smtp.Dial(r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if offered, _ := c.Extension("STARTTLS"); offered {
		if err := c.StartTLS(r.ClientTLS()); err != nil {
			return err
		}
	}
	if err := c.Auth(smtp.PlainAuth("", r.Username, r.Password, "127.0.0.1")); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, address := range to {
		if err := c.Rcpt(address); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// ClientTLS returns a configuration with which a client trusts the relay.
func (r *Relay) ClientTLS() *tls.Config { return ClientTLS() }

// Record returns a Forwarder that records, for Messages, what next takes. Start
// puts it before the Server's own. Call it yourself if you serve the Server
// without Start, on your own listener.
func (r *Relay) Record(next relay.Forwarder) relay.Forwarder {
	return relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error { return r.accepted.forward(ctx, m, next) })
}
