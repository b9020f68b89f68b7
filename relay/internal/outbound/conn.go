package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is a connection to a server that is ready for mail. It is for one
// goroutine at a time.
type Conn struct {
	host  string
	raw   net.Conn // the TCP connection
	conn  net.Conn // raw, or TLS over it
	r     *bufio.Reader
	times timeouts
	ext   extensions

	secure   bool // TLS is on
	verified bool // and the certificate is the host's

	in, out []byte // content as read, and bytes to send; kept for the next message
	text    []byte // of the last reply

	usable      bool // for another message
	messages    int  // how many transactions were begun
	maxMessages int  // how many may be
	maxRcpt     int  // how many recipients the server takes in a transaction
	rejected    int  // how many recipients in a row it refused
	lowered     bool // maxRcpt was learned from the server's replies
	badChunking bool // it offered BDAT and refused it

	key       string // of the Pool
	ended     func() // tells the Pool that the connection is closed
	idleSince time.Time

	ctx  context.Context // of the call in progress
	stop func() bool

	mu          sync.Mutex // for interrupt, which runs by itself
	interrupted bool
}

// timeouts are the timeouts of a Dialer.
type timeouts struct{ step, end time.Duration }

// of returns the time for a step. The defaults are those of RFC 5321 section
// 4.5.3.2; it has none for connecting and TLS.
func (t timeouts) of(s Step) time.Duration {
	switch {
	case s == End && t.end > 0:
		return t.end
	case s == End:
		return 10 * time.Minute
	case t.step > 0:
		return t.step
	case s == Connect, s == Handshake:
		return 30 * time.Second
	case s == Data:
		return 2 * time.Minute
	case s == Content:
		return 3 * time.Minute
	}
	return 5 * time.Minute
}

// maxRcpt is how many recipients a transaction has: every server must take as
// many (RFC 5321 section 4.5.3.1.8).
const maxRcpt = 100

func newConn(raw net.Conn, host string, t timeouts) *Conn {
	return &Conn{
		host: host, raw: raw, conn: raw, r: bufio.NewReaderSize(raw, maxReplyLine), times: t,
		maxMessages: math.MaxInt, maxRcpt: maxRcpt,
	}
}

// Secure reports whether TLS is on.
func (c *Conn) Secure() bool { return c.secure }

// begin lets ctx govern what follows, until end.
func (c *Conn) begin(ctx context.Context) {
	c.ctx, c.interrupted = ctx, false
	c.stop = context.AfterFunc(ctx, c.interrupt)
}

func (c *Conn) end() {
	if !c.stop() {
		c.usable = false // interrupt has run, or will any moment
	}
	c.ctx = nil
}

// interrupt makes the call in progress fail, now and from now on.
func (c *Conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	c.raw.SetDeadline(time.Unix(1, 0))
}

// limit sets the deadline of a step.
func (c *Conn) limit(step Step) {
	t := time.Now().Add(c.times.of(step))
	if d, ok := c.ctx.Deadline(); ok && d.Before(t) {
		t = d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		c.raw.SetDeadline(t)
	}
}

// limitEarly sets the deadline for a reply that may already have arrived.
func (c *Conn) limitEarly() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.interrupted {
		c.raw.SetDeadline(time.Now().Add(earlyTime))
	}
}

// expired reports whether the deadline of the call in progress is over.
func (c *Conn) expired() bool {
	d, ok := c.ctx.Deadline()
	return ok && !time.Now().Before(d)
}

func (c *Conn) write(step Step, b []byte) error {
	c.limit(step)
	if _, err := c.conn.Write(b); err != nil {
		return c.fail(step, err)
	}
	return nil
}

// read reads the reply to a step. A failed connection and a 421 are errors; the
// caller judges any other reply.
func (c *Conn) read(step Step) (reply, error) {
	if c.r.Buffered() == 0 { // otherwise the deadline of the previous reply still holds
		c.limit(step)
	}
	rp, err := readReply(c.r, c.text)
	c.text = rp.text
	if err != nil {
		return reply{}, c.fail(step, err)
	}
	if rp.code == 421 {
		return rp, c.refuse(step, rp)
	}
	return rp, nil
}

// command sends a line and expects the reply to have the given code.
func (c *Conn) command(step Step, line string, code int) error {
	c.out = append(append(c.out[:0], line...), "\r\n"...)
	if err := c.write(step, c.out); err != nil {
		return err
	}
	return c.expect(step, code)
}

func (c *Conn) expect(step Step, code int) error {
	rp, err := c.read(step)
	if err == nil && rp.code != code {
		err = c.refuse(step, rp)
	}
	return err
}

// handshake starts TLS. cfg is the Conn's own.
func (c *Conn) handshake(cfg *tls.Config) error {
	c.limit(Handshake)
	tc := tls.Client(c.raw, cfg)
	if err := tc.Handshake(); err != nil {
		return c.fail(Handshake, err)
	}
	c.conn, c.secure, c.verified = tc, true, !cfg.InsecureSkipVerify
	c.r.Reset(tc)
	return nil
}

// alive reports whether an idle connection is open and has nothing to read. An
// unsolicited reply would be taken for the answer to the next command.
func (c *Conn) alive() bool {
	c.raw.SetReadDeadline(time.Unix(1, 0)) // Peek then sees only what TLS has already read
	if _, err := c.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	sc, ok := c.raw.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	return err == nil && silent(raw)
}

// earlyTime is how long a server that stopped reading may take to send its reason.
const earlyTime = 100 * time.Millisecond

// quitTime is how long a server may take to say goodbye.
const quitTime = time.Second

// Close says QUIT, if the connection is still good, and closes it. It takes a
// second at most.
func (c *Conn) Close() {
	if c.usable {
		c.raw.SetDeadline(time.Now().Add(quitTime))
		if _, err := c.conn.Write([]byte("QUIT\r\n")); err == nil {
			readReply(c.r, c.text)
		}
	}
	c.usable = false
	c.raw.Close()
	if c.ended != nil {
		c.ended()
		c.ended = nil
	}
}
