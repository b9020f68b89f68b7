package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// acceptFrom lets in whoever connects, until the server is closed.
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
			// Out of file descriptors, most likely: others have to go first.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.logger().Error("relay: accept failed, trying again", "error", err, "pause", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		go s.letIn(nc, implicitTLS)
	}
}

// letIn counts a new connection and hands it to go-smtp, after the TLS
// handshake if TLS comes first. The address is asked for here and not in the
// accept loop, because a listener that speaks the PROXY protocol has to read
// from the connection to know it.
func (s *Server) letIn(nc net.Conn, implicitTLS bool) {
	c := &conn{Conn: nc, srv: s, accepted: time.Now()}
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("a connection of the listener's", p)
			s.forget(c)
			nc.Close()
		}
	}()
	c.remote = remoteAddr(nc)
	refusal := s.track(c)
	if refusal == dropped {
		nc.Close()
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
		c.hangup(refusal.line())
		c.Close()
		return
	}
	s.hand(c)
}

// hand gives a connection to go-smtp.
func (s *Server) hand(c *conn) {
	select {
	case s.door.conns <- c:
	case <-s.door.done:
		c.Close()
	}
}

// addrConns counts the connections of an address.
type addrConns struct{ served, refused int }

// dropped is the refusal of those who aren't even answered.
var dropped = reply{code: -1}

// track counts a connection. If it is one too many it returns the reply to
// refuse it with; some of those are answered, which costs a TLS handshake on one
// of the ports, and the rest just dropped.
func (s *Server) track(c *conn) (refusal reply) {
	key := mailtext.Network(c.remote)
	s.mu.Lock()
	defer s.mu.Unlock()
	served := len(s.conns) - s.refusing // or about to make room
	if s.closed || served >= s.maxConns()+maxRefusing {
		return dropped
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
		s.perAddr = make(map[netip.Prefix]addrConns)
	}
	from := s.perAddr[key]
	switch {
	case from.served >= s.maxConnsPerAddr():
		refusal = replyTooManyFromAddr
	case served >= s.maxConns() && !s.makeRoom():
		refusal = replyTooMany
	}
	switch {
	case refusal == (reply{}):
		from.served++
	case s.refusing >= maxRefusing || from.refused >= maxRefusing/4:
		return dropped
	default:
		c.refused = true
		s.refusing++
		from.refused++
	}
	s.conns[c] = struct{}{}
	s.perAddr[key] = from
	return refusal
}

// makeRoom ends a connection that has not logged in, so that those who hold on
// to connections and never do keep nobody out. Of a few at random it takes the
// oldest: to look at all of them would be what a flood of connections costs. The
// caller holds mu.
func (s *Server) makeRoom() bool {
	var oldest *conn
	looked := 0
	for c := range s.conns { // in random order
		if c.refused {
			continue // takes nobody's place
		}
		if looked++; looked > maxRefusing {
			break
		}
		if c.isIdler() && (oldest == nil || c.accepted.Before(oldest.accepted)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	oldest.end(replyTooMany)
	return true
}

const (
	maxRefusing    = 64              // bounds how many connections are being refused, or make room, at once
	refusalTimeout = 5 * time.Second // for the handshake of one that is refused
)

// forget takes a connection off the list. It may be called more than once.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return
	}
	delete(s.conns, c)
	key := mailtext.Network(c.remote)
	from := s.perAddr[key]
	if c.refused {
		s.refusing--
		from.refused--
	} else {
		from.served--
	}
	if s.perAddr[key] = from; from == (addrConns{}) {
		delete(s.perAddr, key)
	}
	if s.closed && len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
	}
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

// remoteAddr returns the client's address, or the zero Addr if the connection
// is of another kind than TCP.
func remoteAddr(nc net.Conn) netip.Addr {
	var ap netip.AddrPort
	switch a := nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case nil: // a wrapper that never learned it
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return ap.Addr().Unmap().WithZone("")
}

// A door is the listener on which go-smtp accepts the connections that the
// server has let in.
type door struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.done) })
	return nil
}

func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

// smtpLog takes what go-smtp has to say: troubles of single connections, and
// panics, which are ours.
type smtpLog struct{ l *slog.Logger }

func (g smtpLog) Printf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	level := slog.LevelDebug
	if strings.HasPrefix(msg, "panic") {
		level = slog.LevelError
	}
	g.l.Log(context.Background(), level, "relay: "+strings.TrimSpace(msg))
}

func (g smtpLog) Println(v ...any) { g.Printf("%s", fmt.Sprintln(v...)) }
