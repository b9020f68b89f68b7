package relay

import (
	"crypto/tls"
	"errors"
	"net"
)

// handshake makes a TLS server of a connection. The new conn takes the place
// of the old one.
func (s *Server) handshake(c *conn) (*conn, error) {
	if !c.armHandshake() {
		return nil, net.ErrClosed
	}
	tc := tls.Server(c.Conn, s.tls)
	if err := s.shake(tc); err != nil {
		s.logger().Debug("relay: TLS handshake failed", "remote", c.remote, "error", err)
		return nil, err
	}
	next := &conn{Conn: tc, srv: s, remote: c.remote, accepted: c.accepted, refused: c.refused, secure: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	next.farewell, next.draining = c.farewell, s.closed
	delete(s.conns, c)
	s.conns[next] = struct{}{}
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
