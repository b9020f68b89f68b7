package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/gatepost-mail/gatepost/internal/stack"
)

// setUpTLS checks TLSConfig and sets s.tls to a copy.
func (s *Server) setUpTLS() error {
	c := s.TLSConfig.Clone()
	switch {
	case c == nil:
		return nil // Submit needs none; serve checks that there is one
	case len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil:
		return errors.New("relay: Server.TLSConfig has no certificate: set Certificates or GetCertificate")
	case c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12:
		return errors.New("relay: Server.TLSConfig.MaxVersion is less than TLS 1.2")
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.GetCertificate = logged(s, "GetCertificate", c.GetCertificate)
	c.GetConfigForClient = logged(s, "GetConfigForClient", c.GetConfigForClient)
	s.tls = c
	return nil
}

// logged returns f with its errors logged. They may be faults of the server, which no
// client would report. It returns nil if f is nil.
func logged[T any](s *Server, name string, f func(*tls.ClientHelloInfo) (T, error)) func(*tls.ClientHelloInfo) (T, error) {
	if f == nil {
		return nil
	}
	return func(hello *tls.ClientHelloInfo) (T, error) {
		v, err := f(hello)
		if err != nil {
			s.logTLSError(name, err)
		}
		return v, err
	}
}

// tlsErrors counts the errors logged since the beginning of a minute.
type tlsErrors struct {
	since time.Time
	n     int
	last  string // the last error logged, which is not repeated
}

// maxTLSErrors is how many errors are logged in a minute. An error that every client
// gets is logged once, but a client that asks for random names causes new ones.
const maxTLSErrors = 10

func (s *Server) logTLSError(name string, err error) {
	now, text := time.Now(), name+" "+err.Error()
	s.mu.Lock()
	f := &s.tlsErrors
	if now.Sub(f.since) >= time.Minute {
		*f = tlsErrors{since: now}
	}
	due := text != f.last && f.n < maxTLSErrors
	if due {
		f.n++
		f.last = text
	}
	s.mu.Unlock()
	if due {
		s.logger().Error("relay: TLSConfig."+name+" failed", "error", err)
	}
}

// handshake does the TLS handshake and returns the conn above TLS, which replaces c.
func (s *Server) handshake(c *conn) (*conn, error) {
	if !c.armHandshake() {
		return nil, net.ErrClosed
	}
	tc := tls.Server(c.Conn, s.tls)
	if err := s.runHandshake(tc); err != nil {
		c.rec.handshakeFailed()
		s.emit(&HandshakeFailed{Client: c.client(), Reason: err.Error()})
		return nil, err
	}
	next := &conn{
		Conn: tc, srv: s, secure: true, remote: c.remote, accepted: c.accepted,
		id: c.id, rec: c.rec, refused: c.refused, ctx: c.ctx, cancel: c.cancel,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	next.final, next.draining, next.evicted = c.final, s.closed, c.evicted
	for _, conns := range []map[*conn]struct{}{s.conns, s.refused} {
		if _, ok := conns[c]; ok {
			delete(conns, c)
			conns[next] = struct{}{}
		}
	}
	return next, nil
}

// runHandshake does the handshake. A panic in a function of TLSConfig becomes an
// error. go-smtp recovers only from panics in commands.
func (s *Server) runHandshake(tc *tls.Conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("TLSConfig", p)
			err = errors.New("panic in TLSConfig")
		}
	}()
	stack.Grow()
	if err := tc.Handshake(); err != nil {
		return err
	}
	if tc.ConnectionState().Version < tls.VersionTLS12 {
		return errors.New("GetConfigForClient allows TLS before 1.2") // it overrides MinVersion
	}
	return nil
}

// tlsVersion returns the TLS version for events, or "" without TLS.
func (c *conn) tlsVersion() string {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return tls.VersionName(t.ConnectionState().Version)
	}
	return ""
}
