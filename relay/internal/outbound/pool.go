package outbound

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
)

// A Pool keeps connections to any number of sites. A site is a group of servers
// that share a limit; the connections to one of its servers are told apart by a
// key. The fields must not be changed once it is in use; its methods are safe for
// concurrent use.
type Pool struct {
	// Dial connects to the server of a key. noChunking asks for a connection
	// without CHUNKING.
	Dial func(ctx context.Context, key string, noChunking bool) (*Conn, error)

	Limits      func(site string) Limits // Conns and Messages are at least 1
	IdleTimeout time.Duration            // how long a connection is kept for the next message

	mu     sync.Mutex
	closed bool
	sites  map[string]*site // those with connections
	health lru.Cache[string, *health]
	timer  *time.Timer // runs sweep; nil if no connection is idle
}

// errClosed says that the Pool was closed. It is a temporary error.
var errClosed = errors.New("already closed")

// A site is a group of servers with connections, or calls that are about to make
// one. It is forgotten when it has none; what is known of it stays in its health.
type site struct {
	name    string
	open    int // connections: in use, idle, and being made
	idle    []*Conn
	waiters []*waiter     // the longest waiting first
	free    chan struct{} // closed when a slot may be free; nil if no BusyError has it

	health *health
}

// A waiter waits for one of a site's connections.
type waiter struct {
	ready chan struct{} // closed when it is the waiter's turn
	conn  *Conn         // its connection; nil means that the waiter may make one
	err   error
}

// site returns a site; forget must follow. The caller must hold p.mu.
func (p *Pool) site(name string) *site {
	if s := p.sites[name]; s != nil {
		return s
	}
	h, ok := p.health.Get(name)
	if !ok {
		h = new(health)
		p.health.Max = maxSites
		p.health.Put(name, h)
	}
	s := &site{name: name, health: h}
	if p.sites == nil {
		p.sites = make(map[string]*site)
	}
	p.sites[name] = s
	return s
}

// forget removes a site that has no connections. The caller must hold p.mu.
func (p *Pool) forget(s *site) {
	if s.open == 0 && s.free == nil && p.sites[s.name] == s {
		delete(p.sites, s.name)
	}
}

// get returns a connection. It waits for one if the site has as many as it may have.
func (p *Pool) get(ctx context.Context, name, key string, noWait bool) (*Conn, error) {
	c, w, err := p.take(name, key, noWait)
	if err != nil {
		return nil, err
	}
	if w != nil {
		if c, err = p.wait(ctx, name, w); err != nil {
			return nil, err
		}
	}
	if c != nil && c.key == key && c.alive() {
		return c, nil
	}
	if c != nil {
		c.Close()
	}
	return p.connect(ctx, name, key, noWait)
}

// connect makes a connection in a place that was taken, and gives the place back
// if it fails.
//
// A server that turns an additional connection away has a limit, which is then
// the Pool's as well: connect waits for one of the connections that are open.
func (p *Pool) connect(ctx context.Context, name, key string, noWait bool) (*Conn, error) {
	for {
		c, err := p.dial(ctx, name, key)
		if err == nil {
			return c, nil
		}
		w, err := p.failed(name, key, err, noWait)
		if err != nil {
			return nil, err
		}
		if c, err = p.wait(ctx, name, w); err != nil {
			return nil, err
		}
		if c != nil && c.key == key && c.alive() {
			return c, nil
		}
		if c != nil {
			c.Close()
		}
	}
}

// dial calls Dial and applies what is known of the site. If Dial panics, it gives
// the place back.
func (p *Pool) dial(ctx context.Context, name, key string) (c *Conn, err error) {
	maxMessages, maxRcpt, noBDAT := p.learned(name)
	ready, ended := p.count(name, key)
	defer func() {
		if c == nil && err == nil {
			ended()
			p.put(name, nil)
		}
	}()
	if c, err = p.Dial(ctx, key, noBDAT); err != nil {
		ended()
		return nil, err
	}
	ready()
	c.key, c.ended = key, ended
	c.maxMessages = min(c.maxMessages, maxMessages)
	c.maxRcpt = min(c.maxRcpt, maxRcpt)
	return c, nil
}

// take returns the idle connection that was used last, or a waiter, or neither:
// the caller may then make a connection.
func (p *Pool) take(name, key string, noWait bool) (*Conn, *waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	s := p.site(name)
	defer p.forget(s)
	for i := len(s.idle) - 1; i >= 0; i-- {
		if c := s.idle[i]; c.key == key {
			s.idle = slices.Delete(s.idle, i, i+1)
			return c, nil, nil
		}
	}
	switch {
	case s.open < p.maxConns(s):
		s.open++
		return nil, nil, nil
	case len(s.idle) > 0: // a connection to another server of the site makes room
		c := s.idle[0]
		s.idle = slices.Delete(s.idle, 0, 1)
		return c, nil, nil
	case noWait:
		return nil, nil, s.busy(nil)
	}
	w := &waiter{ready: make(chan struct{})}
	s.waiters = append(s.waiters, w)
	return nil, w, nil
}

// wait waits for the waiter's turn.
func (p *Pool) wait(ctx context.Context, name string, w *waiter) (*Conn, error) {
	select {
	case <-w.ready:
		return w.conn, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if s := p.sites[name]; s != nil {
		if i := slices.Index(s.waiters, w); i >= 0 {
			s.waiters = slices.Delete(s.waiters, i, i+1)
			p.mu.Unlock()
			return nil, fmt.Errorf("waiting for a connection: %w", ctx.Err())
		}
	}
	p.mu.Unlock()
	// The waiter got its turn at the same moment; the next one gets it instead.
	if w.err == nil {
		p.put(name, w.conn)
	}
	return nil, fmt.Errorf("waiting for a connection: %w", ctx.Err())
}

// put gives a connection to the next waiter, or keeps it. If c is nil or not good for
// another message, the waiter may make a new one.
func (p *Pool) put(name string, c *Conn) {
	if c != nil && !c.keepable() {
		c.Close()
		c = nil
	}
	if c = p.hand(name, c); c != nil {
		c.Close()
	}
}

// hand does put's work under the lock. It returns a connection that is to be
// closed.
func (p *Pool) hand(name string, c *Conn) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[name]
	if s == nil {
		return c
	}
	defer p.tidy(s)
	switch {
	case len(s.waiters) > 0 && s.open <= p.maxConns(s):
		s.next(c)
		c = nil
	case c != nil && !p.closed && s.open <= p.maxConns(s):
		c.idleSince = time.Now()
		s.idle = append(s.idle, c)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.IdleTimeout, p.sweep)
		}
		c = nil
	default:
		s.open--
	}
	return c
}

// tidy gives free places to waiters, and forgets a site without connections. The
// caller must hold p.mu.
func (p *Pool) tidy(s *site) {
	for len(s.waiters) > 0 && s.open < p.maxConns(s) {
		s.open++
		s.next(nil)
	}
	if s.free != nil {
		close(s.free)
		s.free = nil
	}
	p.forget(s)
}

// next gives a place, and the connection in it, to the longest waiting waiter. The
// caller must hold Pool.mu.
func (s *site) next(c *Conn) {
	w := s.waiters[0]
	s.waiters = s.waiters[1:]
	w.conn = c
	close(w.ready)
}

// sweep closes connections that were idle for IdleTimeout.
func (p *Pool) sweep() {
	p.mu.Lock()
	var old []*Conn
	next := time.Duration(-1)
	now := time.Now()
	for _, s := range p.sites {
		n := 0 // the oldest come first
		for n < len(s.idle) && now.Sub(s.idle[n].idleSince) >= p.IdleTimeout {
			n++
		}
		old = append(old, s.idle[:n]...)
		s.idle = append(s.idle[:0], s.idle[n:]...)
		if len(s.idle) > 0 {
			left := p.IdleTimeout - now.Sub(s.idle[0].idleSince)
			if next < 0 || left < next {
				next = left
			}
		}
		s.open -= n
		p.tidy(s)
	}
	p.timer = nil
	if next >= 0 && !p.closed {
		p.timer = time.AfterFunc(next, p.sweep)
	}
	p.mu.Unlock()
	closeAll(old)
}

// Close closes the idle connections. Calls of Send that wait for a connection fail,
// and so does every later call. A message that is being sent goes on; its connection
// is closed afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	var idle []*Conn
	for _, s := range p.sites {
		for _, w := range s.waiters {
			w.err = errClosed
			close(w.ready)
		}
		idle = append(idle, s.idle...)
		s.open -= len(s.idle)
		s.idle, s.waiters = nil, nil
		p.tidy(s)
	}
	p.mu.Unlock()
	closeAll(idle)
}

// closeAll closes connections side by side: each may take a moment.
func closeAll(conns []*Conn) {
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(c.Close)
	}
	wg.Wait()
}
