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
		t.Errorf("got %d calls of GetCertificate, want 2", asked)
	}
}

func TestTLSVersions(t *testing.T) {
	old := &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}, MinVersion: tls.VersionTLS10}
	for _, test := range []struct {
		name   string
		config *tls.Config
	}{
		{"MinVersion", old},
		{"GetConfigForClient", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return old, nil }}},
	} {
		name, config := test.name, test.config
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
					t.Errorf("implicit=%v: over TLS 1.1 got %q, %v; want no byte", implicit, got, err)
				}
			}
		})
	}
}

// If every handshake fails, the errors of the embedder's functions are the only sign
// of it.
func TestTLSErrorsAreLogged(t *testing.T) {
	fault := errors.New("the certificate can't be read")
	for _, test := range []struct {
		name   string
		config *tls.Config
	}{
		{"GetCertificate", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, fault }}},
		{"GetConfigForClient", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, fault }}},
	} {
		name, config := test.name, test.config
		t.Run(name, func(t *testing.T) {
			logged := new(syncBuilder)
			r := startRelay(t, func(s *relay.Server) { s.TLSConfig, s.Logger = config, errorLog(logged) })
			for range 3 {
				if c, err := tls.Dial("tcp", r.AddrTLS, relaytest.ClientTLS()); err == nil {
					c.Close()
					t.Fatal("got a handshake, want an error")
				}
			}
			got := logged.String()
			if strings.Count(got, "\n") != 1 || !strings.Contains(got, "TLSConfig."+name) || !strings.Contains(got, fault.Error()) {
				t.Errorf("got the log\n%swant one line about %s", got, name)
			}
		})
	}
}

// Clients that ask for unknown names neither hide other errors nor fill the log.
func TestTLSErrorsOfManyClients(t *testing.T) {
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
		t.Errorf("got only the log\n%s", logged)
	}
	for i := range 30 {
		scan(fmt.Sprintf("n%d.example", i))
	}
	if n := strings.Count(logged.String(), "\n"); n > 20 {
		t.Errorf("got %d log lines, want at most 10", n)
	}
}
