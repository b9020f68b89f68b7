package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// serve serves the connections of a listener until the server is closed.
func (s *Server) serve(l net.Listener, implicitTLS bool) error {
	defer l.Close()
	s.start.Do(func() { s.startErr = s.setUp() })
	if s.startErr != nil {
		return s.startErr
	}
	switch {
	case s.tls == nil && !s.InsecureAuth:
		return errors.New("relay: Server.TLSConfig is required (or InsecureAuth, for tests)")
	case s.tls == nil && implicitTLS:
		return errors.New("relay: ServeTLS needs Server.TLSConfig")
	}
	if !s.addListener(&l) {
		return ErrServerClosed
	}
	defer s.removeListener(&l)
	s.serving.Do(func() { go s.smtp.Serve(s.handoff) })
	return s.acceptFrom(l, implicitTLS)
}

// acceptFrom admits the connections of a listener until the server is closed.
func (s *Server) acceptFrom(l net.Listener, implicitTLS bool) error {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return ErrServerClosed
			}
			var ne net.Error
			if !errors.As(err, &ne) || errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("relay: accept: %w", err)
			}
			// The process is probably out of file descriptors. Retry once some
			// connections have been closed.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger().Error("relay: accept failed, retrying", "error", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		go s.admit(nc, implicitTLS)
	}
}

// admit registers a new connection and hands it to go-smtp, after the TLS
// handshake if TLS comes first. If a limit is reached, it sends 421 instead.
//
// It calls RemoteAddr here and not in the accept loop, because with the PROXY
// protocol RemoteAddr reads from the connection.
func (s *Server) admit(nc net.Conn, implicitTLS bool) {
	c := &conn{Conn: nc, srv: s, accepted: time.Now(), id: NewID(), rec: new(record)}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("a connection of the listener", p, slog.String("session", c.id))
			s.unregister(c)
			c.cancel()
			nc.Close()
		}
	}()
	nc.SetReadDeadline(c.accepted.Add(s.loginTimeout()))
	c.remote = remoteAddr(nc)
	refusal := s.register(c, implicitTLS)
	if refusal != (reply{}) {
		s.reportRefused(c, refusal)
	}
	if implicitTLS && refusal == replyShutdown {
		c.Close() // Shutdown does not wait for a handshake
		return
	}
	if implicitTLS {
		next, err := s.handshake(c)
		if err != nil {
			c.Close()
			return
		}
		c = next
	}
	if refusal != (reply{}) {
		c.hangup(refusal)
		c.Close()
		return
	}
	s.passToSMTP(c)
}

// passToSMTP passes a connection to go-smtp.
func (s *Server) passToSMTP(c *conn) {
	select {
	case s.handoff.conns <- c:
	case <-s.handoff.done:
		c.Close()
	}
}

// reportRefused emits the event of a refused connection. It logs only the first one
// in a minute as a warning, because a flood may cause thousands a second.
func (s *Server) reportRefused(c *conn, refusal reply) {
	e := &ConnRefused{Client: c.client(), Code: refusal.code, Reason: refusal.text}
	s.mu.Lock()
	warn := !s.closed && c.accepted.Sub(s.connsRefused) >= time.Minute
	if warn {
		s.connsRefused = c.accepted
	}
	s.mu.Unlock()
	if warn {
		s.logger().LogAttrs(s.ctx, slog.LevelWarn, "relay: refusing connections", e.attrs()...)
	}
	s.emit(e)
}

func (s *Server) addListener(l *net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[*net.Listener]struct{})
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l *net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// remoteAddr returns the client's address, or the zero Addr if the connection does
// not use IP.
func remoteAddr(nc net.Conn) netip.Addr {
	var ap netip.AddrPort
	switch a := nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil: // a wrapper that does not know the address
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return ap.Addr().Unmap().WithZone("")
}
