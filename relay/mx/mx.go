package mx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A Forwarder delivers messages to the mail hosts of their recipients' domain.
// The zero value is ready to use, but for Hostname, which should be set. The
// fields must not be changed once it is in use. Numbers and timeouts of less than
// zero count as zero. Its methods are safe for concurrent use.
type Forwarder struct {
	// Hostname is the name this server greets with in EHLO: the name that its
	// address has in the DNS, or many hosts take no mail from it. A mail host
	// of this name is this server, and gets nothing. Empty means the system's
	// host name.
	Hostname string

	// Resolver looks up mail hosts, addresses and MTA-STS records. Nil means
	// [net.DefaultResolver].
	Resolver Resolver

	// Port is the port of mail hosts. Zero means 25.
	Port int

	// AllowAddr says which addresses may be connected to: whoever owns a domain
	// decides where its names point. Nil means public ones only: none that the
	// IANA registries set aside for private networks, carriers, loopback, links,
	// tests, multicast or the future. An IPv6 address made of one of those isn't
	// public either.
	AllowAddr func(netip.Addr) bool

	// RequireTLS means that nothing is sent in plaintext: mail waits for hosts
	// whose TLS is missing or broken. Whose certificate it is doesn't matter
	// then either, unless the domain has an MTA-STS policy.
	RequireTLS bool

	// TLSConfig, if set, adds to how TLS is done: which roots to trust, a
	// client certificate. ServerName and InsecureSkipVerify have no effect.
	TLSConfig *tls.Config

	// HTTPClient fetches MTA-STS policies. Redirects are never followed. Nil
	// means a client that connects to what AllowAddr allows, without a proxy.
	HTTPClient *http.Client

	// MaxHosts is how many hosts of a domain are tried for a message, each at up
	// to four addresses. Zero means 5.
	MaxHosts int

	// MaxConns is how many connections to one host are open at the same time,
	// of each kind: with a certificate that must be valid, or only looked at,
	// or neither. A Forward that finds them all busy waits for its turn. Zero
	// means 10.
	MaxConns int

	// MaxMessages is how many messages go over one connection before it is
	// closed. Zero means 100. A host may lower it with LIMITS MAILMAX (RFC
	// 9422).
	MaxMessages int

	// MaxRecipients is how many recipients of a message behind a queue go into
	// one transaction; the rest follows at once in the next. Zero means 100,
	// which every server takes. A host may lower it with LIMITS RCPTMAX (RFC
	// 9422), or by refusing the recipients that are too many.
	MaxRecipients int

	// NoChunking makes it send DATA to hosts that offer CHUNKING (RFC 3030).
	NoChunking bool

	// IdleTimeout is how long a connection is kept for the next message. Zero
	// means 5 seconds.
	IdleTimeout time.Duration

	// Timeout is how long a host may take for each step but the last. Zero
	// means the times of RFC 5321 section 4.5.3.2, up to 5 minutes, and 30
	// seconds each to connect and for the TLS handshake. The context given to
	// Forward may end it earlier.
	Timeout time.Duration

	// EndTimeout is how long a host may take to accept a message that it has
	// received. If it is too short, messages arrive twice. Zero means 10
	// minutes.
	EndTimeout time.Duration

	// Logger is told when TLS or an MTA-STS policy fails, and at debug level of
	// every delivery and of every host that failed. Nil means [slog.Default].
	Logger *slog.Logger

	once       sync.Once
	pool       *outbound.Pool
	http       *http.Client
	domains    lru[domainState]
	tlsRecords lru[tlsRecord]
}

// What is remembered is bounded: by domains, with their hosts and MTA-STS policy,
// and by hosts.
const (
	maxDomains = 5_000
	maxRecords = 10_000
)

// Forward delivers m, whose recipients are of one domain, to one of the domain's
// mail hosts; see the package's documentation for what the errors mean. It ends
// with ctx, at whatever step it is. Recipients of other domains than the first's
// are refused for now, with a *relay.RefusedError, and then nothing is sent.
func (f *Forwarder) Forward(ctx context.Context, m *relay.Message) error {
	f.once.Do(f.setup)
	err := f.forward(ctx, m)
	var refused *relay.RefusedError
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("mx: %w", err)
}

func (f *Forwarder) forward(ctx context.Context, m *relay.Message) error {
	domain, err := oneDomain(m.To)
	if err != nil {
		return err
	}
	r, err := f.route(ctx, domain)
	if err != nil {
		return err
	}
	if m.Options.RequireTLS {
		if err := r.requireTLS(domain); err != nil {
			return err
		}
	}
	return f.deliver(ctx, m, domain, r)
}

// Close closes the connections that are idle, and those in use when their
// message is done. Forward fails from then on. It returns nil.
func (f *Forwarder) Close() error {
	f.once.Do(f.setup)
	f.pool.Close()
	return nil
}

func (f *Forwarder) setup() {
	f.pool = &outbound.Pool{
		Dial:        f.dial,
		Limits:      f.limits,
		IdleTimeout: or(f.IdleTimeout, 5*time.Second),
	}
	f.http = f.httpClient()
	f.domains.max, f.tlsRecords.max = maxDomains, maxRecords
}

func (f *Forwarder) limits(string) outbound.Limits {
	return outbound.Limits{Conns: or(f.MaxConns, 10), Messages: or(f.MaxMessages, 100)}
}

// or returns n, or if that is not set what it then means.
func or[T int | time.Duration](n, otherwise T) T {
	if n > 0 {
		return n
	}
	return otherwise
}

func (f *Forwarder) port() int { return or(f.Port, 25) }

func (f *Forwarder) logger() *slog.Logger {
	if f.Logger == nil {
		return slog.Default()
	}
	return f.Logger
}
