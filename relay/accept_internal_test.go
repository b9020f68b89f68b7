package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestKeyOf(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true}, // one /64
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := keyOf(netip.MustParseAddr(test.a)) == keyOf(netip.MustParseAddr(test.b)); got != test.same {
			t.Errorf("%s and %s count as one: %v, want %v", test.a, test.b, got, test.same)
		}
	}
}

// A connection that has to go between STARTTLS and the handshake isn't given time
// for it.
func TestNoHandshakeAtTheEnd(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	s := &Server{LoginTimeout: time.Second, tls: new(tls.Config)}
	c := &conn{Conn: there, srv: s, accepted: time.Now()}
	c.end(replyTooMany)
	if _, err := s.handshake(c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the handshake ended with %v, want %v", err, net.ErrClosed)
	}
}
