package relay_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
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

// Clients that ask for names that don't exist hide nothing, nor do they fill the log.
func TestTLSFaultsAmongOthers(t *testing.T) {
	var broken atomic.Bool
	cert := relaytest.Certificate()
	logged := new(syncBuilder)
	r := startRelay(t, func(s *relay.Server) {
		s.TLSConfig = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			switch {
			case h.ServerName != "localhost":
				return nil, fmt.Errorf("host %q is not configured", h.ServerName)
			case broken.Load():
				return nil, errors.New("the certificate can't be read")
			}
			return &cert, nil
		}}
		s.Logger = errorLog(logged)
	})
	scan := func(name string) {
		if c, err := tls.Dial("tcp", r.AddrTLS, &tls.Config{ServerName: name, InsecureSkipVerify: true}); err == nil {
			c.Close()
		}
	}
	scan("scan.example")
	broken.Store(true)
	scan("localhost")
	if !strings.Contains(logged.String(), "can't be read") {
		t.Errorf("logged was only\n%s", logged)
	}
	for i := range 30 {
		scan(fmt.Sprintf("n%d.example", i))
	}
	if n := strings.Count(logged.String(), "\n"); n > 20 {
		t.Errorf("%d lines were logged", n)
	}
}
