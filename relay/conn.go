package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A conn is the connection go-smtp serves. It lies above TLS, so that it sees
// commands and replies in the clear: it answers STARTTLS itself, gathers
// replies until the next read, corrects what go-smtp words wrongly, keeps
// every deadline, and makes an error final, so that a line that stalled or
// broke inside a message never goes on as commands.
//
// Read, Write and Close belong to the goroutine that serves the connection;
// the fields under mu may be used by any.
type conn struct {
	net.Conn // the socket, or TLS over it
	srv      *Server
	remote   netip.Addr
	secure   bool      // TLS is active
	accepted time.Time // when the client connected
	id       string    // names the connection in events and log lines
	rec      *record
	refused  bool // beyond a limit: it is sent 421 and closed

	ctx    context.Context // ends when the connection ends or is told to
	cancel context.CancelFunc

	// The server's mu guards these.
	owner   credentials.Identity // the user, from login on
	session *session             // counted for owner; nil before and after
	evicted bool                 // counted as such

	in      bytes.Buffer // read but not yet given out
	partial int          // how much of the line at the beginning of in was given out
	owed    string       // to be given out before in
	out     []byte       // replies not yet sent
	midLine bool         // the last reply written has no end yet
	chunked bool         // BDAT was used: what comes may be data
	asked   bool         // the last reply was a challenge: what comes is no command
	huge    bool         // the last command was MAIL with a SIZE beyond what go-smtp reads
	mute    bool         // swallow the next reply: no second greeting after STARTTLS
	moved   bool         // STARTTLS gave the socket to another conn

	cmd       command     // the last one
	atCommand bool        // what is given out next begins a command
	reported  atomic.Bool // the session made an event of the reply that comes next

	closing atomic.Bool // it has ended, or a 421 is on its way; nothing else is accepted or sent
	broken  atomic.Bool // nothing more will be read from the client

	mu       sync.Mutex
	waiting  time.Time    // since when Read has been waiting
	final    reply        // sent instead of reading on, as soon as possible
	draining bool         // the same, once no message is in progress
	authing  bool         // a login is being decided
	active   time.Time    // when the user logged in, or last began or ended a message
	check    func()       // looks whether the login still holds, or ends it; nil before login
	tx       *transaction // the mail transaction in progress
	body     bool         // its data is being received
	received int64        // bytes of that data so far
}

const (
	writeTimeout  = time.Minute
	finalTimeout  = time.Second      // for sending a final reply
	recheckEvery  = 30 * time.Second // how soon an idle session notices a reset made on another node
	smtpBuffer    = 4096             // what go-smtp reads at once into a buffer of its own
	keepOutBuffer = 1024
)

// Read sends what was written, waits for the client within the deadlines, and
// returns what it sent, piece by piece. It never returns a STARTTLS command:
// that one ends this conn and begins another.
func (c *conn) Read(p []byte) (int, error) {
	scan := c.scansCommands()
	for !c.broken.Load() {
		if final, over := c.over(); over {
			return 0, c.hangup(final)
		}
		if c.owed != "" {
			n := copy(p, c.owed)
			c.owed = c.owed[n:]
			return n, nil
		}
		if n := c.piece(len(p), scan || !c.chunked); n > 0 {
			line := c.in.Bytes()[:n]
			if c.partial == 0 && c.dropBlanks(line) {
				continue
			}
			c.huge = declaresHuge(line)
			if c.atCommand {
				c.atCommand = false
				c.newCommand(line)
			}
			if scan && c.partial == 0 && bytes.EqualFold(bytes.TrimSpace(line), []byte("STARTTLS")) {
				return 0, c.startTLS(c.in.Len() > n)
			}
			n = copy(p, line)
			if c.partial += n; line[n-1] == '\n' {
				c.partial = 0
			}
			if c.partial > maxLine {
				return 0, c.hangup(replyLongLine)
			}
			c.in.Next(n)
			return n, nil
		}
		n, err := c.fill(p)
		if err != nil {
			return 0, err
		}
		if len(p) > smtpBuffer {
			return n, nil
		}
		c.in.Write(p[:n])
	}
	return 0, io.EOF
}

// declaresHuge reports whether a command is MAIL with a number of ten digits or
// more for SIZE.
func declaresHuge(line []byte) bool {
	if len(line) < 5 || !bytes.EqualFold(line[:5], []byte("MAIL ")) {
		return false
	}
	_, size, _ := bytes.Cut(bytes.ToUpper(line), []byte(" SIZE="))
	rest := bytes.TrimLeft(size, "0123456789")
	return len(size)-len(rest) >= 10 && len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\r' || rest[0] == '\n')
}

// piece returns how much of what was read is given out at once; 0 means that
// more has to be read first. It is never more than one command: what go-smtp has
// in its own buffer it runs, even after a 421 or QUIT. Only for a chunk of BDAT
// does it ask for more than fits in that buffer, and then for no more than the
// chunk still has. A command comes whole, if that is wanted and it isn't endless.
func (c *conn) piece(limit int, whole bool) int {
	b := c.in.Bytes()
	switch {
	case len(b) == 0:
		return 0
	case limit > smtpBuffer:
		return len(b)
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	if whole && len(b) < smtpBuffer {
		return 0 // half a line doesn't tell what it is
	}
	return len(b)
}

// dropBlanks takes the white space off the end of a command: RFC 5321 section
// 4.1.1 wants it tolerated, go-smtp sees an argument there. It reports whether
// there was any. After BDAT it leaves everything alone: it could be data.
func (c *conn) dropBlanks(line []byte) bool {
	text := bytes.TrimRight(line, "\r\n")
	if len(text) >= 4 && bytes.EqualFold(text[:4], []byte("BDAT")) {
		c.chunked = true
	}
	cmd := bytes.TrimRight(text, " \t")
	blanks := len(text) - len(cmd)
	if c.chunked || c.asked || blanks == 0 || !bytes.HasSuffix(line, []byte("\n")) {
		return false
	}
	copy(line[blanks:], cmd)
	c.in.Next(blanks)
	return true
}

// scansCommands reports whether the next line could be a STARTTLS command.
func (c *conn) scansCommands() bool {
	if c.secure || c.srv.TLSConfig == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tx == nil && c.check == nil
}

// over reports whether the connection is to end before anything more is given
// out, and with which reply, if that was not sent before.
func (c *conn) over() (final reply, over bool) {
	if c.closing.Load() {
		return reply{}, true
	}
	final = c.ending()
	return final, final != (reply{})
}

// startTLS answers STARTTLS (RFC 3207) and goes on as a new conn over TLS.
// What a client sent along with the command came before the handshake and
// might be anybody's: that ends the connection.
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
		c.closing.Store(true) // nothing more is said in the clear
		return c.fail()
	}
	next.mute = true
	c.moved = true
	c.fail()
	c.srv.hand(next)
	return io.EOF
}

// fill sends the gathered replies and reads from the line.
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
			c.saw(n)
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

// saw takes note of what came in.
func (c *conn) saw(n int) {
	c.rec.mu.Lock()
	c.rec.end.Received += int64(n)
	c.rec.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body {
		c.received += int64(n)
	}
}

// fail ends the connection for the reader. Whatever the cause, go-smtp is told
// io.EOF: any other error it would answer, and in the middle of a BDAT chunk it
// would take the session away from a Data call that is about to begin.
func (c *conn) fail() error {
	c.broken.Store(true)
	return io.EOF
}

// hangup sends a last reply and ends the connection: go-smtp sees io.EOF.
func (c *conn) hangup(final reply) error {
	if !c.closing.Swap(true) {
		c.rec.endedBy(final.code, final.text)
		c.out = append(c.out, final.line()...)
	}
	c.flush()
	return c.fail()
}

// Write gathers a reply; the next Read or Close sends it. That makes one
// packet of the replies to pipelined commands (RFC 2920 section 3.2). go-smtp
// writes a line at once, except for one that is too long.
func (c *conn) Write(p []byte) (int, error) {
	tail := c.midLine
	c.midLine = !bytes.HasSuffix(p, []byte("\n"))
	if !tail {
		c.asked = bytes.HasPrefix(p, []byte("334 "))
	}
	if string(p) == chunkTaken {
		c.awaitBody()
	}
	switch {
	case tail:
	case c.mute:
		c.mute = false
		c.atCommand = true
	case !c.closing.Load():
		n := len(c.out)
		c.out = c.appendReply(c.out, p)
		c.replied(c.out[n:])
		// RFC 5321 section 3.8: after 421 the channel is closed.
		if bytes.HasPrefix(c.out[n:], []byte("421 ")) {
			c.closing.Store(true)
		}
	}
	return len(p), nil
}

// chunkTaken is go-smtp's reply to a chunk that isn't the last.
const chunkTaken = "250 2.0.0 Continue\r\n"

// awaitBody waits until the Data call that go-smtp began with the first chunk is
// under way: RSET has to find it, and it has to find its session.
func (c *conn) awaitBody() {
	c.mu.Lock()
	tx := c.tx
	c.mu.Unlock()
	if tx != nil {
		<-tx.began
	}
}

// awaitData waits for a Data call that go-smtp runs in a goroutine of its own, for
// BDAT: its event comes before SessionEnded. Such a call ends soon, because go-smtp
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

// Close sends what is left to say and closes the socket.
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
