package outbound

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// A Pool keeps connections to any number of destinations. The fields must not be
// changed once it is in use; its methods are safe for concurrent use.
type Pool struct {
	// Dial connects to a destination.
	Dial func(ctx context.Context, key string) (*Conn, error)

	MaxConns    int           // for each destination, at least 1
	MaxMessages int           // for each connection, at least 1
	IdleTimeout time.Duration // how long a connection is kept for the next message

	mu     sync.Mutex
	closed bool
	dests  map[string]*destination
	timer  *time.Timer // closes what was idle for too long; nil if nothing is idle
}

// errClosed says that the Pool was closed. The message is still wanted: it is a
// temporary error.
var errClosed = errors.New("already closed")

// A destination is what a Pool knows under one key. It is forgotten when it has
// no connections.
type destination struct {
	open    int // connections: in use, idle, and being made
	idle    []*Conn
	waiters []*waiter // the one who waits the longest first
}

// A waiter waits for one of a destination's connections.
type waiter struct {
	ready chan struct{} // closed when it is the waiter's turn
	conn  *Conn         // its connection; nil means that it may make one
	err   error
}

// Send sends m to the destination on a kept connection, or on a new one. If a
// kept one turns out to be dead before the server could have taken the message,
// it is sent again, once, on a new one. See [Conn.Send] for the result.
func (p *Pool) Send(ctx context.Context, key string, m *relay.Message) (answer string, err error) {
	c, err := p.get(ctx, key)
	if err != nil {
		return "", err
	}
	defer func() { p.put(key, c) }()
	kept := c.messages > 0
	answer, err = c.Send(ctx, m)
	if err == nil || !kept || !resendable(err) || ctx.Err() != nil {
		return answer, err
	}
	c.Close()
	if c, err = p.Dial(ctx, key); err != nil {
		return "", err
	}
	return c.Send(ctx, m)
}

// get returns a connection, and waits for one if there are too many.
func (p *Pool) get(ctx context.Context, key string) (*Conn, error) {
	c, w, err := p.take(key)
	if err != nil {
		return nil, err
	}
	if w != nil {
		if c, err = p.wait(ctx, key, w); err != nil {
			return nil, err
		}
	}
	if c != nil && c.alive() {
		return c, nil
	}
	if c != nil {
		c.Close()
	}
	return p.dial(ctx, key)
}

// dial makes a connection in a place that was taken. It gives the place back if
// there is none, even if Dial panics.
func (p *Pool) dial(ctx context.Context, key string) (c *Conn, err error) {
	defer func() {
		if c == nil {
			p.put(key, nil)
		}
	}()
	return p.Dial(ctx, key)
}

// take returns the idle connection that was used last, or a waiter, or neither:
// the caller may then make a connection.
func (p *Pool) take(key string) (*Conn, *waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	d := p.dests[key]
	if d == nil {
		d = &destination{}
		if p.dests == nil {
			p.dests = make(map[string]*destination)
		}
		p.dests[key] = d
	}
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return c, nil, nil
	}
	if d.open < p.MaxConns {
		d.open++
		return nil, nil, nil
	}
	w := &waiter{ready: make(chan struct{})}
	d.waiters = append(d.waiters, w)
	return nil, w, nil
}

// wait waits for the waiter's turn.
func (p *Pool) wait(ctx context.Context, key string, w *waiter) (*Conn, error) {
	select {
	case <-w.ready:
		return w.conn, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	d := p.dests[key]
	if d != nil {
		for i := range d.waiters {
			if d.waiters[i] == w {
				d.waiters = append(d.waiters[:i], d.waiters[i+1:]...)
				p.mu.Unlock()
				return nil, fmt.Errorf("waiting for a connection: %w", ctx.Err())
			}
		}
	}
	p.mu.Unlock()
	// Its turn came at the same moment: pass it on.
	if w.err == nil {
		p.put(key, w.conn)
	}
	return nil, fmt.Errorf("waiting for a connection: %w", ctx.Err())
}

// put gives a connection back: to the next who waits, or to be kept. nil, or one
// that is not good for another message, makes room for a new one.
func (p *Pool) put(key string, c *Conn) {
	if c != nil && (!c.usable || c.messages >= p.MaxMessages) {
		c.Close()
		c = nil
	}
	if c = p.hand(key, c); c != nil {
		c.Close()
	}
}

// hand does put's work under the lock. It returns a connection that is to be
// closed.
func (p *Pool) hand(key string, c *Conn) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dests[key]
	switch {
	case len(d.waiters) > 0:
		w := d.waiters[0]
		d.waiters = d.waiters[1:]
		w.conn = c
		close(w.ready)
		return nil
	case c != nil && !p.closed:
		c.idleSince = time.Now()
		d.idle = append(d.idle, c)
		if p.timer == nil {
			p.timer = time.AfterFunc(p.IdleTimeout, p.sweep)
		}
		return nil
	}
	p.release(key, d, 1)
	return c
}

// release counts connections that are no more.
func (p *Pool) release(key string, d *destination, n int) {
	if d.open -= n; d.open == 0 {
		delete(p.dests, key)
	}
}

// sweep closes the connections that were idle for too long.
func (p *Pool) sweep() {
	p.mu.Lock()
	var old []*Conn
	next := time.Duration(-1)
	now := time.Now()
	for key, d := range p.dests {
		n := 0 // the oldest come first
		for n < len(d.idle) && now.Sub(d.idle[n].idleSince) >= p.IdleTimeout {
			n++
		}
		old = append(old, d.idle[:n]...)
		d.idle = append(d.idle[:0], d.idle[n:]...)
		if len(d.idle) > 0 {
			left := p.IdleTimeout - now.Sub(d.idle[0].idleSince)
			if next < 0 || left < next {
				next = left
			}
		}
		p.release(key, d, n)
	}
	p.timer = nil
	if next >= 0 && !p.closed {
		p.timer = time.AfterFunc(next, p.sweep)
	}
	p.mu.Unlock()
	closeAll(old)
}

// Close closes the idle connections and makes those who wait, and every later
// Send, fail. What is being sent goes on; its connections are closed then.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	var idle []*Conn
	for key, d := range p.dests {
		for _, w := range d.waiters {
			w.err = errClosed
			close(w.ready)
		}
		idle = append(idle, d.idle...)
		n := len(d.idle)
		d.idle, d.waiters = nil, nil
		p.release(key, d, n)
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
