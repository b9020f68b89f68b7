package bounces

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// A listener counts connections and bounds how long each may last.
type listener struct {
	net.Listener
	srv *Server
}

// Accept returns the next connection that no limit refuses.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := networkOf(nc)
		if !l.srv.counts.add(from, cmp.Or(max(l.srv.MaxConns, 0), 200), cmp.Or(max(l.srv.MaxConnsPerAddr, 0), 10)) {
			l.srv.refusedConns.Add(1)
			nc.SetWriteDeadline(time.Now().Add(time.Second)) // a new connection has room for a line
			nc.Write([]byte("421 4.7.0 Too many connections, try again later\r\n"))
			nc.Close()
			continue
		}
		return &conn{Conn: nc, end: time.Now().Add(connTime), release: func() { l.srv.counts.remove(from) }}, nil
	}
}

func networkOf(nc net.Conn) netip.Prefix {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return mailtext.Network(a.AddrPort().Addr())
	}
	return netip.Prefix{}
}

// counts are the numbers of connections, in all and by network.
type counts struct {
	mu  sync.Mutex
	all int
	by  map[netip.Prefix]int
}

// add counts a connection, unless a limit is reached.
func (c *counts) add(from netip.Prefix, limit, limitEach int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= limit || c.by[from] >= limitEach {
		return false
	}
	if c.by == nil {
		c.by = make(map[netip.Prefix]int)
	}
	c.all++
	c.by[from]++
	return true
}

func (c *counts) remove(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.by[from]--; c.by[from] == 0 {
		delete(c.by, from)
	}
}

// A conn is a connection with an end: no deadline is later.
type conn struct {
	net.Conn
	once    sync.Once
	release func()
	end     time.Time
	stopped atomic.Bool // nothing more is read
}

// stop ends the connection once what was written is sent.
func (c *conn) stop() {
	c.stopped.Store(true)
	c.SetReadDeadline(c.end)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.stopped.Load() {
		t = time.Unix(1, 0)
	}
	return c.Conn.SetReadDeadline(c.until(t))
}

func (c *conn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.until(t)) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) until(t time.Time) time.Time {
	if t.IsZero() || t.After(c.end) {
		return c.end
	}
	return t
}

func (c *conn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
