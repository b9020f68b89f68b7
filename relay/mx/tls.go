package mx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A protection says how a connection to a host must be protected. It is a part of the
// Pool's key, so that a message uses only connections with the protection it needs.
type protection byte

const (
	opportunistic protection = 'o' // TLS if the host has it (RFC 7435)
	observed      protection = 't' // the same, and violations are logged: MTA-STS in testing mode
	encrypted     protection = 'e' // TLS, with any certificate
	verified      protection = 'v' // TLS, with a certificate for the host's name
)

// key returns the Pool's key for connections to a host.
func (p protection) key(host string) string { return string(p) + host }

func splitKey(key string) (protection, string) { return protection(key[0]), key[1:] }

const (
	// tlsMemory is how long a host gets nothing in plaintext after TLS worked.
	tlsMemory = 24 * time.Hour

	// plainAfter is how long after a first failure of TLS a second one means
	// plaintext. Until then mail waits: the cause may be an attacker or a restart.
	plainAfter = 5 * time.Minute

	// plainMemory is how long TLS is not tried after that.
	plainMemory = time.Hour
)

// A tlsRecord remembers how TLS went with a host.
type tlsRecord struct {
	mu     sync.Mutex
	worked time.Time // the last time
	failed time.Time // the first time since it worked
	plain  time.Time // until when the host gets plaintext
}

// mode returns how to connect when TLS is wished, but not required.
func (t *tlsRecord) mode(now time.Time) outbound.TLSMode {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.worked.IsZero() && now.Sub(t.worked) < tlsMemory:
		return outbound.Required
	case now.Before(t.plain):
		return outbound.None
	}
	return outbound.Opportunistic
}

// succeeded records that TLS worked.
func (t *tlsRecord) succeeded(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worked, t.failed, t.plain = now, time.Time{}, time.Time{}
}

// failedAt records that TLS failed, and reports whether the host gets plaintext.
func (t *tlsRecord) failedAt(now time.Time) (plaintext bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed.IsZero() || now.Sub(t.failed) > tlsMemory {
		t.failed = now
	}
	if now.Sub(t.failed) < plainAfter {
		return false
	}
	t.plain = now.Add(plainMemory)
	return true
}

// dial connects to a host for the Pool: to one of its addresses. If all
// fail, it returns the error of the address that got furthest. It prefers any other
// error to "no TLS", because another address might have offered TLS.
func (f *Forwarder) dial(ctx context.Context, key string, noChunking bool) (*outbound.Conn, error) {
	p, host := splitKey(key)
	addrs, err := f.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var result error
	for _, a := range last(&f.silence, addrs, netip.Addr.String) {
		c, err := f.connect(ctx, p, host, a, noChunking)
		if err == nil {
			f.silence.note(a.String(), false)
			if p == observed && !c.Secure() {
				f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: plaintext violates the MTA-STS policy, which is in testing mode",
					slog.String("host", host))
			}
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		var e *outbound.Error
		f.silence.note(a.String(), errors.As(err, &e) && e.Silent())
		if result == nil || worse(result, err) {
			result = err
		}
	}
	return nil, result
}

// worse reports whether error a says less about the host than error b.
func worse(a, b error) bool {
	if lacksTLS(a) != lacksTLS(b) {
		return lacksTLS(a)
	}
	return stepOf(a) < stepOf(b)
}

// connect connects to one address of a host.
func (f *Forwarder) connect(ctx context.Context, p protection, host string, a netip.Addr, noChunking bool) (*outbound.Conn, error) {
	d := &outbound.Dialer{
		Addr: net.JoinHostPort(a.String(), strconv.Itoa(f.port())), Host: host, DialContext: f.Dial,
		TLS: outbound.Required, TLSConfig: f.tlsConfig(p, host),
		Hostname: f.Hostname, Timeout: f.Timeout, EndTimeout: f.EndTimeout,
		MaxRecipients: f.MaxRecipients, NoChunking: f.NoChunking || noChunking,
	}
	record := f.tlsRecords.get(host)
	if p == opportunistic || p == observed {
		d.TLS = record.mode(time.Now())
	}
	c, err := d.Dial(ctx)
	if err == nil && c.Secure() {
		record.succeeded(time.Now())
	}
	if err == nil || d.TLS != outbound.Opportunistic || !tlsFailed(err) || ctx.Err() != nil {
		return c, err
	}
	if !record.failedAt(time.Now()) {
		return nil, err
	}
	f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: TLS failed again, sending in plaintext",
		slog.String("host", host), slog.String("error", err.Error()))
	d.TLS = outbound.None
	return d.Dial(ctx)
}

// tlsConfig returns the configuration for connections to a host.
func (f *Forwarder) tlsConfig(p protection, host string) *tls.Config {
	cfg := f.TLSConfig.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.ServerName = host
	// If plaintext is allowed, any certificate is better than none (RFC 7435
	// section 3).
	cfg.InsecureSkipVerify = p != verified
	switch p {
	case verified:
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12) // RFC 8461 section 4.2
	case observed:
		cfg.VerifyConnection = f.observe(host, cfg.RootCAs)
	}
	return cfg
}

// observe returns a function that accepts every certificate, and logs those that
// MTA-STS in enforce mode would refuse.
func (f *Forwarder) observe(host string, roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if err := verifyCertificate(state, host, roots); err != nil {
			f.logger().Warn("mx: certificate violates the MTA-STS policy, which is in testing mode",
				"host", host, "error", err.Error())
		}
		return nil
	}
}

// verifyCertificate does what crypto/tls does without InsecureSkipVerify.
func verifyCertificate(state tls.ConnectionState, host string, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("there is no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}
