package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/credentials/console"
	"github.com/gatepost-mail/gatepost/store"
)

// newConsole returns the console of the one tenant. It shares the relay's
// Manager, so a reset on a page ends live sessions at once.
func newConsole(creds *credentials.Manager, a access, logger *slog.Logger) *http.Server {
	h := &console.Handler{
		Credentials:  creds,
		Tenant:       visitor,
		SMTPHost:     a.Server,
		PortSTARTTLS: a.PortSTARTTLS,
		PortTLS:      a.PortTLS,
		Logger:       logger,
	}
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
}

// visitor says for whom the visitor acts. A product looks at its session here;
// the quickstart has no accounts and trusts whoever sits at this machine. A name
// that is none of this machine's is that of a site which had it lead here.
func visitor(r *http.Request) (store.TenantID, error) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if loopback(host) {
		return tenant, nil
	}
	return "", fmt.Errorf("the console is for this machine alone, and was asked for as %q", r.Host)
}

// loopback reports whether a host is this machine, to itself alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serveConsole is Serve, but for the error that means that all is well.
func serveConsole(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
