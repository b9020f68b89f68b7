package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"
)

// A connection that has to go between STARTTLS and the handshake isn't given time
// for it.
func TestNoHandshakeAtTheEnd(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	s := &Server{LoginTimeout: time.Second, tls: new(tls.Config)}
	c := &conn{Conn: there, srv: s, accepted: time.Now(), rec: new(record)}
	c.end(replyTooMany)
	if _, err := s.handshake(c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the handshake ended with %v, want %v", err, net.ErrClosed)
	}
}
