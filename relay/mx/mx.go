package mx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A Forwarder delivers messages to the mail hosts of their recipients' domain.
// The zero value is ready to use, but Hostname should be set. The
// fields must not be changed once it is in use. Numbers and timeouts of less than
// zero count as zero. Its methods are safe for concurrent use.
type Forwarder struct {
	// Hostname is the name this server gives in EHLO. It must be the name that
	// the address of this server has in the DNS, otherwise many hosts refuse
	// mail. A mail host of this name is this server, and gets no mail. Empty
	// means the system's host name.
	Hostname string

	// Resolver looks up mail hosts, addresses and MTA-STS records. Nil means
	// [net.DefaultResolver].
	Resolver Resolver

	// Port is the port of mail hosts. Zero means 25.
	Port int

	// AllowAddr says which addresses may be connected to: the owner of a domain
	// decides where its names point. Nil means [IsPublic]; a function that
	// restricts addresses further should call that too.
	AllowAddr func(netip.Addr) bool

	// Network is "ip4" or "ip6" to connect over that only. Empty means both.
	Network string

	// Dial makes the connections to mail hosts, for instance from a certain
	// address; addr is an IP address and a port. Nil means a [net.Dialer].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// RequireTLS means that nothing is sent in plaintext: mail waits for hosts
	// whose TLS is missing or broken. Certificates are still not verified unless
	// the domain has an MTA-STS policy.
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

	// MaxConns is how many connections to one site are open at the same time. A
	// site is the group of mail hosts with the best preference, whatever domain
	// they take mail for; its name is their names, sorted, with commas between
	// them. If all connections are in use, Forward waits, or returns a
	// *relay.BusyError if the message has NoWait. Zero means 10. A site that
	// allows fewer gets no more than it allows.
	MaxConns int

	// MaxMessages is how many messages go over one connection before it is
	// closed. Zero means 100. A host may lower it with LIMITS MAILMAX (RFC
	// 9422).
	MaxMessages int

	// MaxRate is how many messages a second go to one site. Zero means no
	// limit. A site that answers that it gets too many is left alone for a
	// second, and longer each time, up to half an hour.
	MaxRate float64

	// Limits, if set, returns other limits for some sites. It is called with
	// each message.
	Limits func(site string) Limits

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

	// Logger gets failures of TLS and of MTA-STS policies, and at debug level
	// every delivery and every host that failed. Nil means [slog.Default].
	Logger *slog.Logger

	once       sync.Once
	pool       *outbound.Pool
	http       *http.Client
	domains    table[domainState]
	tlsRecords table[tlsRecord]
	silence    silence
}

// Limits bound the use of a site by this process; processes don't count together. Zero
// means the Forwarder's MaxConns, MaxMessages and MaxRate. A lower limit that a server
// shows by refusals, and a pause, are known to one process too, until it ends.
type Limits struct {
	MaxConns    int     // connections at the same time
	MaxMessages int     // messages over one connection
	MaxRate     float64 // messages a second
}

// Forward delivers m, whose recipients are of one domain, to one of the domain's
// mail hosts. The package documentation says what the errors mean. Forward returns
// soon after ctx ends, at every step. Recipients of other domains than the first's
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
	if f.Network != "" && f.Network != "ip4" && f.Network != "ip6" {
		return fmt.Errorf("Forwarder.Network is %q, it must be ip4, ip6 or empty", f.Network)
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

// Brakes returns what holds mail to sites back in this process at present: limits of
// connections and of messages a second that are reached, limits of connections that were
// learned, and pauses that servers have asked for. A queue before it knows how much waits.
func (f *Forwarder) Brakes() []relay.Brake {
	f.once.Do(f.setup)
	return f.pool.Brakes()
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
	f.domains.cache.Max, f.tlsRecords.cache.Max, f.silence.cache.Max = maxDomains, maxRecords, maxRecords
}

// limits returns the limits of a site.
func (f *Forwarder) limits(site string) outbound.Limits {
	var l Limits
	if f.Limits != nil {
		l = f.Limits(site)
	}
	rate := l.MaxRate
	if rate <= 0 {
		rate = f.MaxRate
	}
	return outbound.Limits{
		Conns:    or(l.MaxConns, or(f.MaxConns, 10)),
		Messages: or(l.MaxMessages, or(f.MaxMessages, 100)),
		Rate:     rate,
	}
}

// or returns n, or the default if n is not positive.
func or[T int | time.Duration](n, fallback T) T {
	if n > 0 {
		return n
	}
	return fallback
}

func (f *Forwarder) port() int { return or(f.Port, 25) }

func (f *Forwarder) logger() *slog.Logger {
	if f.Logger == nil {
		return slog.Default()
	}
	return f.Logger
}
