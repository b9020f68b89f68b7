package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"
)

// A connection that is to end between STARTTLS and the handshake ends at once.
func TestNoHandshakeAfterEnd(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	s := &Server{LoginTimeout: time.Second, tls: new(tls.Config)}
	c := &conn{Conn: there, srv: s, accepted: time.Now(), rec: new(record)}
	c.end(replyTooMany)
	if _, err := s.handshake(c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the handshake: error is %v, want %v", err, net.ErrClosed)
	}
}
