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

// A protection says how much a connection to a host must be protected. It is
// part of what connections are kept under: a message finds only those that are
// protected as it must be.
type protection byte

const (
	opportunistic protection = 'o' // TLS if the host has it (RFC 7435)
	observed      protection = 't' // the same, and what is missing is logged: MTA-STS in testing mode
	encrypted     protection = 'e' // TLS, whoever it is with
	verified      protection = 'v' // TLS, with a certificate for the host's name
)

// key is under what the Pool keeps a host's connections.
func (p protection) key(host string) string { return string(p) + host }

func splitKey(key string) (protection, string) { return protection(key[0]), key[1:] }

const (
	// tlsMemory is how long a host with which TLS worked gets nothing without.
	tlsMemory = 24 * time.Hour

	// plainMemory is how long a host with which TLS failed isn't tried with it.
	plainMemory = time.Hour
)

// A tlsRecord remembers how TLS went with a host.
type tlsRecord struct {
	mu     sync.Mutex
	worked time.Time // the last time
	failed time.Time // when it was given up for plaintext
}

// mode returns how to connect when TLS is wished, but not required.
func (t *tlsRecord) mode(now time.Time) outbound.TLSMode {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.worked.IsZero() && now.Sub(t.worked) < tlsMemory:
		return outbound.Required
	case !t.failed.IsZero() && now.Sub(t.failed) < plainMemory:
		return outbound.None
	}
	return outbound.Opportunistic
}

func (t *tlsRecord) note(secure bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if secure {
		t.worked = now
	} else {
		t.failed = now
	}
}

// dial connects to a host for the Pool: to one of its addresses. The error is that
// of the first, but for one that lacks TLS: another may have had it.
func (f *Forwarder) dial(ctx context.Context, key string, noChunking bool) (*outbound.Conn, error) {
	p, host := splitKey(key)
	addrs, err := f.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var result error
	for _, a := range addrs {
		c, err := f.connect(ctx, p, host, a, noChunking)
		if err == nil {
			if p == observed && !c.Secure() {
				f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: plaintext is against the MTA-STS policy, which is in testing mode",
					slog.String("host", host))
			}
			return c, nil
		}
		if result == nil || lacksTLS(result) && !lacksTLS(err) {
			result = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, result
}

// connect connects to one address of a host.
func (f *Forwarder) connect(ctx context.Context, p protection, host string, a netip.Addr, noChunking bool) (*outbound.Conn, error) {
	d := &outbound.Dialer{
		Addr: net.JoinHostPort(a.String(), strconv.Itoa(f.port())), Host: host,
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
		record.note(true, time.Now())
	}
	if err == nil || d.TLS != outbound.Opportunistic || !tlsFailed(err) || ctx.Err() != nil {
		return c, err
	}
	f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: TLS failed, sending in plaintext",
		slog.String("host", host), slog.String("error", err.Error()))
	d.TLS = outbound.None
	if c, err = d.Dial(ctx); err == nil {
		record.note(false, time.Now())
	}
	return c, err
}

// tlsConfig returns the configuration for connections to a host.
func (f *Forwarder) tlsConfig(p protection, host string) *tls.Config {
	cfg := f.TLSConfig.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.ServerName = host
	// Who would take plaintext is better off with anybody's certificate (RFC
	// 7435 section 3).
	cfg.InsecureSkipVerify = p != verified
	switch p {
	case verified:
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12) // RFC 8461 section 4.2
	case observed:
		cfg.VerifyConnection = f.observe(host, cfg.RootCAs)
	}
	return cfg
}

// observe returns a function that lets every certificate pass, and logs those
// that MTA-STS in enforce mode would not.
func (f *Forwarder) observe(host string, roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if err := verifyCertificate(state, host, roots); err != nil {
			f.logger().Warn("mx: certificate is against the MTA-STS policy, which is in testing mode",
				"host", host, "error", err.Error())
		}
		return nil
	}
}

// verifyCertificate does what crypto/tls does unless it is told not to.
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
