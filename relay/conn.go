package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A conn is the net.Conn that go-smtp serves. It is a layer above TLS, so it sees
// commands and replies as plain text. It answers STARTTLS, buffers replies until
// the next read, corrects replies of go-smtp, and applies all deadlines. After an
// error it returns only io.EOF: the rest of a message whose connection stalled is
// never read as commands.
//
// Only the goroutine that serves the connection calls Read, Write and Close. Any
// goroutine may use the fields that mu guards.
type conn struct {
	net.Conn // the socket, or TLS over it
	srv      *Server
	remote   netip.Addr
	secure   bool      // TLS is active
	accepted time.Time // when the client connected
	id       string    // names the connection in events and log lines
	rec      *record
	refused  bool // it exceeds a limit, gets 421 and is closed

	ctx    context.Context // ends when the connection ends or is to end
	cancel context.CancelFunc

	// The server's mu guards these.
	owner   credentials.Identity // the user, after the login
	session *session             // set while it counts for owner
	evicted bool                 // it counts as evicted and not as served

	in         bytes.Buffer // read from the client but not used yet
	given      string       // what go-smtp reads next: the rest of a command, or the end of DATA
	chunk      int64        // how many bytes of a BDAT chunk follow
	out        []byte       // replies not sent yet
	arg        string       // the argument of the last command
	challenged bool         // the last reply was a challenge of AUTH, so the next line is not a command
	instead    string       // replaces the next reply of go-smtp
	skipReply  bool         // drop the next reply of go-smtp: the second greeting after STARTTLS
	moved      bool         // STARTTLS moved the socket to another conn

	cmd      command     // the last command
	reported atomic.Bool // the session emitted an event for the next reply

	closing atomic.Bool // it has ended or its 421 was written; nothing else is accepted or sent
	broken  atomic.Bool // Read returns nothing more

	mu       sync.Mutex
	waiting  time.Time    // when Read began to wait
	final    reply        // sent as soon as possible, and ends the connection
	draining bool         // end as soon as no message is in progress
	authing  bool         // a login is being decided
	active   time.Time    // when the user logged in, or last began or ended a message
	check    func()       // ends the session if its login is not valid; nil before login
	tx       *transaction // the mail transaction in progress
	body     bool         // the data of tx is being received
	received int64        // bytes of that data so far
}

const (
	writeTimeout  = time.Minute
	finalTimeout  = time.Second      // for sending a final reply
	recheckEvery  = 30 * time.Second // how often an idle session checks its login
	keepOutBuffer = 1024
)

// Read sends the buffered replies and waits for the client within the deadlines.
// It returns one command, as translated by translate, or a part of a BDAT chunk. A
// STARTTLS command ends this conn and begins another.
func (c *conn) Read(p []byte) (int, error) {
	for !c.broken.Load() {
		if final, over := c.over(); over {
			return 0, c.hangup(final)
		}
		switch {
		case c.given != "":
			n := copy(p, c.given)
			c.given = c.given[n:]
			return n, nil
		case c.chunk > 0 && c.in.Len() == 0:
			n, err := c.fill(p)
			c.in.Write(p[min(int64(n), c.chunk):n])
			n -= c.in.Len()
			c.chunk -= int64(n)
			return n, err
		case c.chunk > 0:
			n, _ := c.in.Read(p[:min(int64(len(p)), c.chunk)])
			c.chunk -= int64(n)
			return n, nil
		}
		if err := c.readCommand(p); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// readCommand translates the next command, or reads from the client if the command
// is not complete, with buf as a buffer.
func (c *conn) readCommand(buf []byte) error {
	line, ok, final := c.nextCommand()
	switch {
	case final != (reply{}):
		return c.hangup(final)
	case !ok:
		n, err := c.fill(buf)
		c.in.Write(buf[:n])
		return err
	}
	if !c.challenged {
		c.newCommand(line)
	}
	if c.startsTLS(line) {
		return c.startTLS(c.in.Len() > 0)
	}
	if c.given, final = c.translate(line); final != (reply{}) {
		c.emit(c.refusal(final.code, final.enhanced, final.text))
		return c.hangup(final)
	}
	return nil
}

// startsTLS reports whether the line is a STARTTLS command that is possible now.
func (c *conn) startsTLS(line []byte) bool {
	if c.secure || c.srv.TLSConfig == nil || c.challenged || !bytes.EqualFold(bytes.TrimSpace(line), []byte("STARTTLS")) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tx == nil && c.check == nil
}

// over reports whether the connection is to end before Read returns more. final is
// the reply to send, or zero if a 421 was written before.
func (c *conn) over() (final reply, over bool) {
	if c.closing.Load() {
		return reply{}, true
	}
	final = c.ending()
	return final, final != (reply{})
}

// startTLS answers STARTTLS (RFC 3207) and continues with a new conn over TLS. more
// reports whether the client sent more with the command. An attacker may have
// injected that before the handshake, so it ends the connection.
func (c *conn) startTLS(more bool) error {
	if more {
		return c.hangup(replyAfterStartTLS)
	}
	c.out = append(c.out, "220 2.0.0 ready to start TLS\r\n"...)
	if err := c.flush(); err != nil {
		return c.fail()
	}
	next, err := c.srv.handshake(c)
	if err != nil {
		c.closing.Store(true) // send no reply without TLS
		return c.fail()
	}
	next.skipReply = true
	c.moved = true
	c.fail()
	c.srv.passToSMTP(next)
	return io.EOF
}

// fill sends the buffered replies and receives from the client.
func (c *conn) fill(p []byte) (int, error) {
	if err := c.flush(); err != nil {
		return 0, c.fail()
	}
	c.mu.Lock()
	c.waiting = time.Now()
	c.mu.Unlock()
	for {
		if final := c.arm(); final != (reply{}) {
			return 0, c.hangup(final)
		}
		n, err := c.Conn.Read(p)
		switch {
		case n > 0:
			c.countReceived(n)
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if final := c.expired(); final != (reply{}) {
				return 0, c.hangup(final)
			}
		case err != nil:
			c.rec.lost(err)
			return 0, c.fail()
		}
	}
}

// countReceived counts received bytes.
func (c *conn) countReceived(n int) {
	c.rec.mu.Lock()
	c.rec.end.Received += int64(n)
	c.rec.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body {
		c.received += int64(n)
	}
}

// fail makes Read return io.EOF from now on. go-smtp would send a reply for any
// other error, and in a BDAT chunk it would end the session before its Data call
// has begun.
func (c *conn) fail() error {
	c.broken.Store(true)
	return io.EOF
}

// hangup sends a final reply and ends the connection. It returns io.EOF.
func (c *conn) hangup(final reply) error {
	if !c.closing.Swap(true) {
		c.rec.endedBy(final.code, final.text)
		c.out = append(c.out, final.line()...)
	}
	c.flush()
	return c.fail()
}

// Write buffers a reply line of go-smtp, which the next Read or Close sends. So the
// replies to pipelined commands share a packet (RFC 2920 section 3.2).
func (c *conn) Write(p []byte) (int, error) {
	line := strings.TrimSuffix(string(p), "\r\n")
	c.challenged = strings.HasPrefix(line, "334 ")
	switch line {
	case chunkReceived:
		c.awaitBody()
	case chunkTooLarge:
		c.refuseBody()
	}
	switch {
	case c.skipReply:
		c.skipReply = false
	case !c.closing.Load():
		n := len(c.out)
		if c.out = c.appendReply(c.out, line); len(c.out) > n {
			c.replied(c.out[n:])
		}
		// RFC 5321 section 3.8: after 421 the channel is closed.
		if bytes.HasPrefix(c.out[n:], []byte("421 ")) {
			c.closing.Store(true)
		}
	}
	return len(p), nil
}

// awaitBody waits until the Data call that go-smtp starts with the first chunk has
// begun. A RSET that follows must find that call.
func (c *conn) awaitBody() {
	c.mu.Lock()
	tx := c.tx
	c.mu.Unlock()
	if tx != nil {
		<-tx.began
	}
}

// awaitData waits for the Data call that go-smtp runs in its own goroutine for BDAT,
// so that its event comes before SessionEnded. The call ends soon, because go-smtp
// has closed the pipe that it reads from.
func (c *conn) awaitData() {
	c.mu.Lock()
	tx := c.tx
	c.mu.Unlock()
	if tx == nil {
		return
	}
	select {
	case <-tx.began:
		<-tx.ended
	default:
	}
}

// refuseBody records that the message was refused before its end, so that its Data
// call does not report it as abandoned.
func (c *conn) refuseBody() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tx != nil {
		c.tx.refused = true
	}
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.armWrite()
	_, err := c.Conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > keepOutBuffer {
		c.out = nil
	}
	return err
}

// Close sends the buffered replies and closes the socket.
func (c *conn) Close() error {
	if c.moved {
		return nil
	}
	c.flush()
	c.closing.Store(true)
	c.cancel()
	c.awaitData()
	c.sessionEnded()
	c.srv.unregister(c)
	return c.Conn.Close()
}
