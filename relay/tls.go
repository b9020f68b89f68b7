package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// setUpTLS checks TLSConfig and makes the server's own of it.
func (s *Server) setUpTLS() error {
	c := s.TLSConfig.Clone()
	switch {
	case c == nil && s.InsecureAuth:
		return nil
	case c == nil:
		return errors.New("relay: Server.TLSConfig is required (or InsecureAuth, for tests)")
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

// logged has a function of TLSConfig log its errors: those may be the server's, and
// clients can't tell.
func logged[T any](s *Server, name string, f func(*tls.ClientHelloInfo) (T, error)) func(*tls.ClientHelloInfo) (T, error) {
	if f == nil {
		return nil
	}
	return func(hello *tls.ClientHelloInfo) (T, error) {
		v, err := f(hello)
		if err != nil {
			s.logTLSFault(name, err)
		}
		return v, err
	}
}

// tlsFaults are those of the last minute.
type tlsFaults struct {
	since time.Time
	n     int
	last  string
}

// maxTLSFaults is how many errors are logged in a minute. Every client may run into
// the same, which is logged once; one that asks for names at random makes new ones.
const maxTLSFaults = 10

func (s *Server) logTLSFault(name string, err error) {
	now, text := time.Now(), name+" "+err.Error()
	s.mu.Lock()
	f := &s.tlsFaults
	if now.Sub(f.since) >= time.Minute {
		*f = tlsFaults{since: now}
	}
	due := text != f.last && f.n < maxTLSFaults
	if due {
		f.n++
		f.last = text
	}
	s.mu.Unlock()
	if due {
		s.logger().Error("relay: TLSConfig."+name+" failed", "error", err)
	}
}

// handshake makes a TLS server of a connection. The new conn takes the place
// of the old one.
func (s *Server) handshake(c *conn) (*conn, error) {
	if !c.armHandshake() {
		return nil, net.ErrClosed
	}
	tc := tls.Server(c.Conn, s.tls)
	if err := s.shake(tc); err != nil {
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

// shake does the handshake. go-smtp recovers from a panic only while it runs a
// command, so one in a function of TLSConfig would end the process.
func (s *Server) shake(tc *tls.Conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("TLSConfig", p)
			err = errors.New("panic in TLSConfig")
		}
	}()
	if err := tc.Handshake(); err != nil {
		return err
	}
	if tc.ConnectionState().Version < tls.VersionTLS12 {
		return errors.New("GetConfigForClient allows TLS before 1.2") // MinVersion isn't asked then
	}
	return nil
}

// tlsVersion names the TLS version for events, "" without TLS.
func (c *conn) tlsVersion() string {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return tls.VersionName(t.ConnectionState().Version)
	}
	return ""
}
