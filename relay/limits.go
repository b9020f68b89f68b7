package relay

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// This file counts connections and decides which one is refused or evicted when
// a limit is reached.
//
// A connection belongs to its address until it logs in, and to its user from
// then on. When MaxConns is reached, the owner with the most connections loses
// the one that has been idle longest.

const (
	// maxEvicted bounds the evicted connections that have not closed yet. They
	// exceed MaxConns. They close as soon as their final reply is sent, which
	// takes evictedTimeout at most.
	maxEvicted = 256

	// maxRefused bounds the refused connections that are in their TLS handshake,
	// which refusedTimeout limits.
	maxRefused     = 256
	refusedTimeout = 5 * time.Second

	// evictionSample is how many connections an eviction compares. They are
	// picked at random, because comparing all of them would let a flood of
	// connections cost too much.
	evictionSample = 256

	// loginGrace is how long a new connection may take to begin its login before
	// it is evicted ahead of all others.
	loginGrace = 5 * time.Second

	// idleLogin is how long a session must have been idle to give way to a new
	// login of its user beyond MaxConnsPerUser.
	idleLogin = 10 * time.Second
)

// addrConns counts the connections of an address.
type addrConns struct {
	served    int // all but refused and evicted ones
	anonymous int // those of them that have not logged in
}

// ownedSessions are the sessions of one user.
type ownedSessions map[*session]struct{}

// register counts a new connection. If a limit is reached, it returns the reply
// to refuse the connection with.
func (s *Server) register(c *conn, implicitTLS bool) (refusal reply) {
	key := mailtext.Network(c.remote)
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.perAddr[key]
	switch {
	case s.closed:
		refusal = replyShutdown
	case from.served >= s.maxConnsPerAddr():
		refusal = replyTooManyFromAddr
	case s.served >= s.maxConns() && !s.makeRoom(from.anonymous+1):
		refusal = replyTooMany
	}
	if refusal != (reply{}) {
		c.refused = true
		if implicitTLS && !s.closed {
			s.addRefused(c)
		}
		return refusal
	}
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
		s.perAddr = make(map[netip.Prefix]addrConns)
	}
	s.conns[c] = struct{}{}
	s.served++
	from = s.perAddr[key] // makeRoom may have changed it
	from.served++
	from.anonymous++
	s.perAddr[key] = from
	return reply{}
}

// addRefused keeps a refused connection while it does its TLS handshake, without
// which it cannot be told why. If there are too many, the oldest one of the
// address that has most is closed. The caller must hold s.mu.
func (s *Server) addRefused(c *conn) {
	if s.refused == nil {
		s.refused = make(map[*conn]struct{})
	}
	s.refused[c] = struct{}{}
	if len(s.refused) <= maxRefused {
		return
	}
	perAddr := make(map[netip.Prefix]int)
	for r := range s.refused {
		perAddr[mailtext.Network(r.remote)]++
	}
	var worst *conn
	for r := range s.refused {
		if worst == nil || cmp.Or(perAddr[mailtext.Network(r.remote)]-perAddr[mailtext.Network(worst.remote)], worst.accepted.Compare(r.accepted)) > 0 {
			worst = r
		}
	}
	delete(s.refused, worst)
	worst.Conn.Close()
}

// A candidate is a connection that may be evicted.
type candidate struct {
	c     *conn
	conns int // how many connections its owner has
	conduct
}

// makeRoom evicts a connection for a new one, whose address has own connections
// that have not logged in, itself included. It reports false if no connection
// in the sample may be evicted. The caller must hold s.mu.
func (s *Server) makeRoom(own int) bool {
	if s.evicted >= maxEvicted {
		return false
	}
	var worst candidate
	seen := 0
	now := time.Now()
	for c := range s.conns { // in random order
		if c.evicted {
			continue
		}
		if seen++; seen > evictionSample {
			break
		}
		next := candidate{c: c, conns: s.ownerConns(c), conduct: c.conduct(now)}
		if s.mayEvict(next, own) && (worst.c == nil || next.before(worst)) {
			worst = next
		}
	}
	if worst.c == nil {
		return false
	}
	s.evict(worst.c, replyTooMany)
	return true
}

// mayEvict reports whether a connection may be evicted for one whose address has
// own connections. A login that waits for its hash, and a user's session, give
// way only if their owner has more than that. A tenant with more than half of
// all connections has no such protection.
func (s *Server) mayEvict(c candidate, own int) bool {
	switch c.state {
	case receiving:
		return false
	case finishing, beforeLogin:
		return true
	case loggedIn:
		return c.conns > own || s.perTenant[c.c.owner.Tenant] > s.maxConns()/2
	}
	return c.conns > own
}

// before reports whether a is evicted rather than b: connections that do not log
// in, then those whose owner has most, then those that have been idle longest.
func (a candidate) before(b candidate) bool {
	if a.overdue != b.overdue {
		return a.overdue
	}
	return cmp.Or(b.conns-a.conns, int(a.state-b.state), a.since.Compare(b.since)) < 0
}

// ownerConns returns how many connections the owner of c has. The caller must
// hold s.mu.
func (s *Server) ownerConns(c *conn) int {
	if c.owner.Username != "" {
		return len(s.sessions[c.owner.Username])
	}
	return s.perAddr[mailtext.Network(c.remote)].anonymous
}

// evict ends a connection with the reply and stops counting it. The caller must
// hold s.mu.
func (s *Server) evict(c *conn, r reply) {
	s.uncount(c)
	c.evicted = true
	s.evicted++
	c.end(r)
}

// uncount reverses what register and addSession counted. The caller must hold
// s.mu.
func (s *Server) uncount(c *conn) {
	s.served--
	key := mailtext.Network(c.remote)
	from := s.perAddr[key]
	from.served--
	if c.owner == (credentials.Identity{}) {
		from.anonymous--
	}
	if s.perAddr[key] = from; from == (addrConns{}) {
		delete(s.perAddr, key)
	}
	s.removeOwner(c)
}

// removeOwner takes the connection from its user. The caller must hold s.mu.
func (s *Server) removeOwner(c *conn) {
	if c.session == nil {
		return
	}
	name, tenant := c.owner.Username, c.owner.Tenant
	if delete(s.sessions[name], c.session); len(s.sessions[name]) == 0 {
		delete(s.sessions, name)
	}
	if s.perTenant[tenant]--; s.perTenant[tenant] == 0 {
		delete(s.perTenant, tenant)
	}
	c.session = nil
}

// unregister forgets a connection. It may be called more than once.
func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, c)
	if _, ok := s.conns[c]; ok {
		delete(s.conns, c)
		if c.evicted {
			s.evicted--
		} else {
			s.uncount(c)
		}
	}
	s.closeEmpty()
}

// closeEmpty closes s.empty if Shutdown waits and the last connection has ended.
// The caller must hold s.mu.
func (s *Server) closeEmpty() {
	if s.closed && len(s.conns)+len(s.refused) == 0 && s.empty != nil && !s.emptied {
		s.emptied = true
		close(s.empty)
	}
}

// addSession makes the user the owner of the session's connection, or returns
// the reply to refuse the login with. A user with MaxConnsPerUser sessions loses
// the one that has been idle longest, if that is idleLogin at least.
func (s *Server) addSession(ses *session, id credentials.Identity) (refusal reply) {
	c := ses.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if final := c.finalReply(); final != (reply{}) {
		return final // it was evicted meanwhile
	}
	if s.sessions == nil {
		s.sessions = make(map[string]ownedSessions)
		s.perTenant = make(map[store.TenantID]int)
	}
	if len(s.sessions[id.Username]) >= s.maxConnsPerUser() {
		idlest := s.idlest(id.Username)
		if idlest == nil {
			return replyTooManyOfUser
		}
		s.evict(idlest, replyTooManyOfUser)
	}
	if s.sessions[id.Username] == nil {
		s.sessions[id.Username] = make(ownedSessions)
	}
	s.sessions[id.Username][ses] = struct{}{}
	s.perTenant[id.Tenant]++
	from := s.perAddr[mailtext.Network(c.remote)]
	from.anonymous--
	s.perAddr[mailtext.Network(c.remote)] = from
	c.owner, c.session = id, ses
	return reply{}
}

// idlest returns the user's connection that has been idle longest, or nil if
// none has been idle for idleLogin. The caller must hold s.mu.
func (s *Server) idlest(username string) *conn {
	var worst *conn
	limit := time.Now().Add(-idleLogin)
	for ses := range s.sessions[username] {
		if b := ses.conn.conduct(time.Now()); b.state == loggedIn && !b.since.After(limit) {
			worst, limit = ses.conn, b.since
		}
	}
	return worst
}

// removeSession takes a session from its user. It reports false if that was done
// before.
func (s *Server) removeSession(ses *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses.conn.session == nil {
		return false
	}
	s.removeOwner(ses.conn)
	return true
}
