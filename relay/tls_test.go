package relay_test

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The certificate can change while the server runs.
func TestCertificateIsAskedForEachTime(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	asked := 0
	cert := relaytest.Certificate()
	r.Server.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked++
		return &cert, nil
	}}
	r.Start()
	dial(t, r, true).want("220")
	c := dial(t, r, false)
	c.want("220")
	c.cmd("STARTTLS", "220")
	c.startTLS()
	c.cmd("EHLO client.test", "250")
	if asked != 2 {
		t.Errorf("GetCertificate was called %d times, want 2", asked)
	}
}

func TestTLS12IsTheLeast(t *testing.T) {
	old := &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}, MinVersion: tls.VersionTLS10}
	for name, config := range map[string]*tls.Config{
		"MinVersion":         old,
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return old, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, func(s *relay.Server) { s.TLSConfig = config })
			stillServes(t, r)
			for _, implicit := range []bool{false, true} {
				c := dialRaw(t, r, implicit)
				if !implicit {
					c.want("220")
					c.cmd("STARTTLS", "220")
				}
				config := relaytest.ClientTLS()
				config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				tc := tls.Client(c.conn, config)
				tc.SetDeadline(time.Now().Add(20 * time.Second))
				io.WriteString(tc, "NOOP\r\n")
				if got, err := io.ReadAll(tc); len(got) > 0 || isTimeout(err) {
					t.Errorf("implicit=%v: over TLS 1.1 the server said %q, %v", implicit, got, err)
				}
			}
		})
	}
}

// What the embedder's functions say is the only sign of a server that nobody can
// talk to.
func TestTLSFaultsAreLogged(t *testing.T) {
	fault := errors.New("the certificate can't be read")
	for name, config := range map[string]*tls.Config{
		"GetCertificate":     {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, fault }},
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, fault }},
	} {
		t.Run(name, func(t *testing.T) {
			logged := new(syncBuilder)
			r := startRelay(t, func(s *relay.Server) { s.TLSConfig, s.Logger = config, errorLog(logged) })
			for range 3 {
				if c, err := tls.Dial("tcp", r.AddrTLS, relaytest.ClientTLS()); err == nil {
					c.Close()
					t.Fatal("the handshake succeeded")
				}
			}
			got := logged.String()
			if strings.Count(got, "\n") != 1 || !strings.Contains(got, "TLSConfig."+name) || !strings.Contains(got, fault.Error()) {
				t.Errorf("logged was\n%swant one line about %s", got, name)
			}
		})
	}
}
