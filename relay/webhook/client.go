package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/relay/mx"
)

const (
	// maxHeader is how many bytes of a header are read.
	maxHeader = 16 << 10

	// maxBody is how many bytes of a body are read, so that the connection can be
	// used again. bodyTime is how long that may take.
	maxBody  = 4 << 10
	bodyTime = time.Second

	// pingAfter is how long a connection of HTTP/2 may be silent before it is
	// pinged, and how long the answer may take.
	pingAfter = 5 * time.Second
)

// errAddr is why an address is not connected to. Its text does not have the address, because
// a customer could look up the names of this network with it.
type errAddr struct{ addr netip.Addr }

func (e errAddr) Error() string { return "not an address that is allowed" }

// connect makes the client before the first use. It must come before prepare changes
// Queue.Logger: a Sender that only tests is not prepared.
func (s *Sender) connect() {
	s.connected.Do(func() {
		s.client, s.log = s.newClient(), s.Queue.Logger
		if s.log == nil {
			s.log = slog.Default()
		}
	})
}

// newClient returns a client that connects only to addresses that AllowAddr allows.
func (s *Sender) newClient() http.Client {
	dialer := &net.Dialer{Resolver: s.resolver, ControlContext: s.control}
	config := &tls.Config{}
	if s.TLSConfig != nil {
		config = s.TLSConfig.Clone()
	}
	return http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // not from the environment
			DialContext:            dialer.DialContext,
			TLSClientConfig:        config,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter}, // finds dead connections
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    10,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    s.timeout(),
			ResponseHeaderTimeout:  s.timeout(),
		},
	}
}

// control is called with the address that is about to be connected to, after the
// look-up. So it does not matter what another look-up says.
func (s *Sender) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return s.allows(ap.Addr())
}

// allows returns an error if connections to an address are not allowed.
func (s *Sender) allows(addr netip.Addr) error {
	allowed := s.AllowAddr
	if allowed == nil {
		allowed = mx.IsPublic
	}
	if addr = addr.Unmap(); !allowed(addr) {
		return errAddr{addr}
	}
	return nil
}

// do makes a request. It returns when the header of the response is there, and
// ignores the body.
func (s *Sender) do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), s.timeout())
	defer cancel()
	resp, err := s.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, s.plain(ctx, req.URL, err)
	}
	timer := time.AfterFunc(bodyTime, cancel)
	defer timer.Stop()
	io.CopyN(io.Discard, resp.Body, maxBody) // the answer is there already
	resp.Body.Close()
	return resp, nil
}

// notAllowed returns why a host of a URL gets no requests.
func notAllowed(host string, err errAddr) error {
	if _, e := netip.ParseAddr(host); e == nil {
		return fmt.Errorf("%s is %w", host, err)
	}
	return fmt.Errorf("%s does not exist, or has no address that is allowed", host)
}

// plain returns an error that shows neither the URL, which may hold a password, nor
// the address of a DNS server or of another host. A name that does not exist has the same
// error as one that is not for customers.
func (s *Sender) plain(ctx context.Context, u *url.URL, err error) error {
	var addr errAddr
	var dns *net.DNSError
	var outer *url.Error
	switch {
	case errors.As(err, &addr):
		s.log.Info("webhook: the URL of an endpoint leads to an address that is not allowed", "host", u.Hostname(), "address", addr.addr)
		return notAllowed(u.Hostname(), addr)
	case errors.As(err, &dns) && dns.IsNotFound:
		return notAllowed(u.Hostname(), errAddr{})
	case errors.As(err, &dns):
		return fmt.Errorf("look-up of %s: %s", u.Hostname(), dns.Err)
	case ctx.Err() == context.DeadlineExceeded:
		return fmt.Errorf("%s did not answer within %v", u.Hostname(), s.timeout())
	case errors.As(err, &outer):
		return outer.Err
	}
	return err
}
