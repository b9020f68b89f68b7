package relay

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// An idleConn is a net.Conn that only accepts deadlines.
type idleConn struct{ net.Conn }

func (idleConn) SetReadDeadline(time.Time) error  { return nil }
func (idleConn) SetWriteDeadline(time.Time) error { return nil }
func (idleConn) Close() error                     { return nil }

func limitsConn(s *Server, addr int) *conn {
	from := netip.AddrFrom4([4]byte{10, 0, byte(addr >> 8), byte(addr)})
	return &conn{Conn: idleConn{}, srv: s, remote: from, accepted: time.Now()}
}

func limitsIdentity(user int) credentials.Identity {
	return credentials.Identity{Tenant: store.TenantID(fmt.Sprint("tenant", user%2)), Username: fmt.Sprint("user", user)}
}

// counts are the counters of a Server.
type counts struct {
	served, evicted int
	perAddr         map[netip.Prefix]addrConns
	perUser         map[string]int
	perTenant       map[store.TenantID]int
}

// recount computes the counters from the connections.
func recount(s *Server) counts {
	n := counts{perAddr: make(map[netip.Prefix]addrConns), perUser: make(map[string]int), perTenant: make(map[store.TenantID]int)}
	for c := range s.conns {
		if c.evicted {
			n.evicted++
			continue
		}
		n.served++
		from := n.perAddr[mailtext.Network(c.remote)]
		from.served++
		if c.owner == (credentials.Identity{}) {
			from.anonymous++
		}
		n.perAddr[mailtext.Network(c.remote)] = from
		if c.session != nil {
			n.perUser[c.owner.Username]++
			n.perTenant[c.owner.Tenant]++
		}
	}
	return n
}

func counted(s *Server) counts {
	n := counts{s.served, s.evicted, s.perAddr, make(map[string]int), s.perTenant}
	for name, sessions := range s.sessions {
		n.perUser[name] = len(sessions)
	}
	return n
}

func (n counts) equal(o counts) bool {
	return n.served == o.served && n.evicted == o.evicted && maps.Equal(n.perAddr, o.perAddr) &&
		maps.Equal(n.perUser, o.perUser) && maps.Equal(n.perTenant, o.perTenant)
}

// The counters are right after any sequence of connections, logins, revocations and
// closes, and zero after the last close.
func TestLimitsCount(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := &Server{MaxConns: 20, MaxConnsPerAddr: 5, MaxConnsPerUser: 4}
	var open []*conn
	refused, evicted := 0, 0
	for step := range 20_000 {
		var c *conn
		if len(open) > 0 {
			c = open[rnd.IntN(len(open))]
		}
		switch op := rnd.IntN(10); {
		case op < 4 || c == nil:
			next := limitsConn(s, rnd.IntN(8))
			if refusal := s.register(next, rnd.IntN(2) == 0); refusal == (reply{}) {
				open = append(open, next)
			} else {
				refused++
				s.unregister(next)
			}
		case op < 6 && c.owner == (credentials.Identity{}):
			ses := &session{srv: s, conn: c}
			c.beginLogin()
			if refusal := s.addSession(ses, limitsIdentity(rnd.IntN(6))); refusal == (reply{}) {
				c.endLogin(func() {})
				c.active = time.Now().Add(-time.Duration(rnd.IntN(20)) * time.Second)
			}
		case op == 6:
			c.body = !c.body
		case op == 7 && c.session != nil && rnd.IntN(2) == 0:
			s.undoSession(c.session)
			c.endLogin(nil)
		case op == 7 && c.session != nil:
			s.removeSession(c.session) // revoked
		default:
			if c.evicted {
				evicted++
			}
			for i := range open {
				if open[i] == c {
					open = append(open[:i], open[i+1:]...)
					break
				}
			}
			s.unregister(c)
			s.unregister(c)
		}
		if got, want := counted(s), recount(s); !got.equal(want) {
			t.Fatalf("step %d: counted %+v, want %+v", step, got, want)
		}
		if s.served > 20 {
			t.Fatalf("step %d: %d connections are served, want at most 20", step, s.served)
		}
	}
	for _, c := range open {
		s.unregister(c)
	}
	if got := counted(s); got.served+got.evicted+len(got.perAddr)+len(got.perUser)+len(got.perTenant)+len(s.refused) != 0 {
		t.Errorf("after the last close counted %+v and %d refused, want nothing", got, len(s.refused))
	}
	if refused == 0 || evicted == 0 {
		t.Errorf("%d connections were refused and %d evicted, want some of each", refused, evicted)
	}
}

// BenchmarkEviction measures a connection beyond MaxConns that replaces one of 4096,
// each from its own address.
func BenchmarkEviction(b *testing.B) {
	s := &Server{}
	n := 0
	for ; n < s.maxConns(); n++ {
		s.register(limitsConn(s, n), false)
	}
	for b.Loop() {
		if refusal := s.register(limitsConn(s, n), false); refusal != (reply{}) {
			b.Fatalf("refused with %+v, want it admitted", refusal)
		}
		n++
		b.StopTimer()
		for c := range s.conns {
			if c.evicted {
				s.unregister(c)
				break
			}
		}
		b.StartTimer()
	}
}
