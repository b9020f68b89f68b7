package relay

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// This file counts connections. When a limit is reached, it decides which one is
// refused or evicted.
//
// A connection belongs to its address until it logs in, and to its user from then
// on. When MaxConns is reached, the owner with the most connections loses the one
// that has been idle longest.

const (
	// maxEvicted is the maximum number of evicted connections that are not
	// closed yet. They do not count for MaxConns. They are closed when their
	// final reply has been sent, usually within finalTimeout.
	maxEvicted = 256

	// maxRefused is the maximum number of refused connections in their TLS
	// handshake, and refusedTimeout the time for it.
	maxRefused     = 256
	refusedTimeout = 5 * time.Second

	// evictionSample is how many connections, picked at random, an eviction
	// compares. To compare all of them would be too expensive in a flood.
	evictionSample = 256

	// loginGrace is the time for a new connection to begin its login. After that
	// it is evicted before all others.
	loginGrace = 5 * time.Second

	// minIdle is how long a session must have been idle before a new login of its
	// user can replace it, when MaxConnsPerUser is reached.
	minIdle = 10 * time.Second
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

// addRefused records a refused connection during its TLS handshake, after which it
// gets its reply. If there are more than maxRefused, it closes the oldest one of
// the address that has most. The caller must hold s.mu.
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
	var victim *conn
	for r := range s.refused {
		if victim == nil || cmp.Or(perAddr[mailtext.Network(r.remote)]-perAddr[mailtext.Network(victim.remote)], victim.accepted.Compare(r.accepted)) > 0 {
			victim = r
		}
	}
	delete(s.refused, victim)
	victim.Conn.Close()
}

// A connState is what a connection is doing. If two connections are equal in all
// other respects, the one with the lower state is evicted.
type connState int

const (
	finishing      connState = iota // its final reply is due
	beforeLogin                     // the client has not begun to log in
	loggedIn                        // no data is being received
	authenticating                  // its login is being decided
	receiving                       // it receives a message, or waits for the Forwarder
)

// activity is what a connection is doing and since when.
type activity struct {
	state   connState
	overdue bool      // it should have ended, or begun to log in
	since   time.Time // the beginning of its idle time
}

// activity returns what the connection is doing at the time now.
func (c *conn) activity(now time.Time) activity {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.body:
		return activity{state: receiving}
	case c.finalReply() != (reply{}):
		return activity{state: finishing, overdue: true}
	case c.authing:
		return activity{state: authenticating, since: c.accepted}
	case c.check == nil:
		return activity{state: beforeLogin, overdue: now.Sub(c.accepted) >= loginGrace, since: c.accepted}
	}
	return activity{state: loggedIn, since: c.active}
}

// A candidate is a connection that may be evicted.
type candidate struct {
	c     *conn
	conns int // how many connections its owner has
	activity
}

// makeRoom evicts a connection to admit a new one. own is how many connections of
// the new one's address have not logged in, the new one included. It returns false
// if no connection in the sample may be evicted. The caller must hold s.mu.
func (s *Server) makeRoom(own int) bool {
	if s.evicted >= maxEvicted {
		return false
	}
	var victim candidate
	seen := 0
	now := time.Now()
	for c := range s.conns { // in random order
		if c.evicted {
			continue
		}
		if seen++; seen > evictionSample {
			break
		}
		next := candidate{c: c, conns: s.ownerConns(c), activity: c.activity(now)}
		if s.mayEvict(next, own) && (victim.c == nil || next.before(victim)) {
			victim = next
		}
	}
	if victim.c == nil {
		return false
	}
	s.evict(victim.c, replyTooMany)
	return true
}

// mayEvict reports whether a connection may be evicted to admit one whose address
// has own connections. A user's session, and a login that is being decided, are
// evicted only if their owner has more. That does not protect the sessions of a
// tenant that has more than half of all connections.
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

// before reports whether a is evicted before b. Overdue connections are first, then
// those whose owner has most, then those that have been idle longest.
func (a candidate) before(b candidate) bool {
	if a.overdue != b.overdue {
		return a.overdue
	}
	return cmp.Or(b.conns-a.conns, int(a.state-b.state), a.since.Compare(b.since)) < 0
}

// ownerConns returns how many connections the owner of c has. The caller must hold
// s.mu.
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

// removeOwner stops counting the connection for its user. The caller must hold
// s.mu.
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

// unregister removes a closed connection. It may be called more than once.
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

// closeEmpty closes s.empty if Shutdown is waiting and no connection or call of
// Submit is left. The caller must hold s.mu.
func (s *Server) closeEmpty() {
	if s.closed && len(s.conns)+len(s.refused)+s.calls == 0 && s.empty != nil && !s.emptied {
		s.emptied = true
		close(s.empty)
	}
}

// addSession makes the user the owner of the session's connection, or returns the
// reply to refuse the login with. If the user has MaxConnsPerUser sessions, it
// evicts the one that has been idle longest, if that is at least minIdle.
func (s *Server) addSession(ses *session, id credentials.Identity) (refusal reply) {
	c := ses.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if final := c.finalReply(); final != (reply{}) {
		return final // it was evicted during the login
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
		s.evict(idlest, replyReplaced)
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

// undoSession reverses addSession, if that was called, for a login that failed
// afterwards.
func (s *Server) undoSession(ses *session) {
	c := ses.conn
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.session == nil {
		return
	}
	s.removeOwner(c)
	c.owner = credentials.Identity{}
	from := s.perAddr[mailtext.Network(c.remote)]
	from.anonymous++
	s.perAddr[mailtext.Network(c.remote)] = from
}

// idlest returns the user's connection that has been idle longest, or nil if none
// has been idle for minIdle. The caller must hold s.mu.
func (s *Server) idlest(username string) *conn {
	var idlest *conn
	now := time.Now()
	limit := now.Add(-minIdle)
	for ses := range s.sessions[username] {
		if a := ses.conn.activity(now); a.state == loggedIn && !a.since.After(limit) {
			idlest, limit = ses.conn, a.since
		}
	}
	return idlest
}

// removeSession stops counting a session for its user. It returns false if that was
// done before.
func (s *Server) removeSession(ses *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses.conn.session == nil {
		return false
	}
	s.removeOwner(ses.conn)
	return true
}
