package relaytest

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// An Upstream is an SMTP server for tests. It listens on the loopback interface,
// offers STARTTLS with [Certificate] and every extension that the relay knows,
// accepts all mail and remembers it.
//
// The zero value is ready to Start. The fields must not be changed while it runs.
// Close and another Start make an outage: the address stays the same, and so does
// what it remembers. Methods are safe for concurrent use.
type Upstream struct {
	// Listen is the address to listen on, such as "127.0.0.1:2626", for a
	// program under test that can't be told a port. Empty means a free port of
	// 127.0.0.1.
	Listen string

	// Extensions are the lines of the EHLO reply after the first, without
	// STARTTLS and AUTH, which come by themselves. Nil means
	// [DefaultExtensions]; empty means none.
	Extensions []string

	// ImplicitTLS makes it speak TLS from the first byte. NoTLS makes it speak
	// no TLS at all.
	ImplicitTLS bool
	NoTLS       bool

	// Username and Password are what a client must log in with before MAIL.
	// An empty Username means that there is no AUTH.
	Username string
	Password string

	// Mechanisms are the SASL mechanisms offered; nil means PLAIN and LOGIN.
	Mechanisms []string

	// Script returns what to do with each command. A nil Script, and the zero
	// Answer, mean the ordinary reply. It is called from several goroutines, one
	// for each connection, and may block.
	Script func(Command) Answer

	// Discard makes it forget what it accepts, for benchmarks.
	Discard bool

	turn     sync.Mutex // held by Start and Close, so that neither overtakes the other
	listener net.Listener
	server   *tls.Config
	done     chan struct{}
	wg       sync.WaitGroup

	mu       sync.Mutex
	addr     string // from the first Start on
	running  bool
	conns    map[net.Conn]struct{}
	count    int
	received []Received
}

// DefaultExtensions returns the extensions that an Upstream offers by default.
func DefaultExtensions() []string {
	return []string{
		"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "REQUIRETLS",
		"ENHANCEDSTATUSCODES", "SIZE 67108864",
	}
}

// Moments in a conversation that are not commands, as a Command's Verb.
const (
	Greeting  = "greeting"    // a client has connected; the answer is the greeting
	Content   = "content"     // the content is about to be read; ordinarily nothing is said
	EndOfData = "end of data" // the content has arrived; the answer settles the message
)

// A Command is what an [Upstream] is about to answer.
type Command struct {
	Conn int    // the number of the connection, from 1
	Verb string // in upper case, such as "RCPT"; or Greeting, Content, EndOfData
	Line string // the command line without its CRLF; "" if there is none
	More bool   // the client has sent more already: it pipelines
}

// An Answer says what to do with a [Command]. The zero value means the ordinary
// reply, which accepts all that is valid.
type Answer struct {
	// Text is the reply to give instead of the ordinary one. The command then has
	// no effect, unless the reply is 250 or 354. Lines are separated by CRLF; the
	// Upstream adds the CRLF after the last line.
	Text string

	// Wait goes before anything else. It ends early if the Upstream is closed.
	Wait time.Duration

	// Close closes the connection after Text was written exactly as it is. A
	// Text without CRLF is then half a reply.
	Close bool

	// Reset drops the line with a TCP reset, as a crash or a firewall does.
	// Text is not written.
	Reset bool
}

// A Received is a message that an [Upstream] accepted, and how it came.
type Received struct {
	Conn     int                  // the number of the connection, from 1
	TLS      *tls.ConnectionState // nil without TLS
	Hello    string               // the name the client gave with EHLO
	Username string               // of the login; "" without one

	From    string   // the reverse-path, without the angle brackets
	Params  []string // of MAIL, such as "SIZE=1024"
	To      []ReceivedRecipient
	Chunked bool // the content came by BDAT
	Content []byte
}

// A ReceivedRecipient is a recipient of a [Received].
type ReceivedRecipient struct {
	Address string   // without the angle brackets
	Params  []string // of RCPT, such as "NOTIFY=NEVER"
}

// Start begins to listen and to serve, after Close at the same address as before.
// Like net/http/httptest it panics if it can't: a test has no use for the error.
func (u *Upstream) Start() {
	u.turn.Lock()
	defer u.turn.Unlock()
	u.listen()
	u.server = &tls.Config{Certificates: []tls.Certificate{Certificate()}}
	if u.Extensions == nil {
		u.Extensions = DefaultExtensions()
	}
	if u.Mechanisms == nil {
		u.Mechanisms = []string{"PLAIN", "LOGIN"}
	}
	u.done = make(chan struct{})
	u.wg.Go(u.accept)
}

func (u *Upstream) listen() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running {
		panic("relaytest: the Upstream was started already")
	}
	l, err := net.Listen("tcp", cmp.Or(u.addr, u.Listen, "127.0.0.1:0"))
	if err != nil {
		panic(fmt.Sprintf("relaytest: listening: %v", err))
	}
	u.listener, u.addr, u.running = l, l.Addr().String(), true
	u.conns = make(map[net.Conn]struct{})
}

// Addr returns the host and port it listens on. It panics before the first Start,
// which finds the port.
func (u *Upstream) Addr() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.addr == "" {
		panic("relaytest: an Upstream has no address before Start")
	}
	return u.addr
}

// ClientTLS returns a configuration with which a client trusts it.
func (u *Upstream) ClientTLS() *tls.Config { return ClientTLS() }

// Received returns what was accepted so far, in that order.
func (u *Upstream) Received() []Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.received)
}

// Wait waits until n messages were accepted, and returns all there are. After 30
// seconds it fails the test.
func (u *Upstream) Wait(tb testing.TB, n int) []Received {
	tb.Helper()
	return wait(tb, n, u.Received)
}

// Connections returns how many connections were made so far, and how many of
// them are open.
func (u *Upstream) Connections() (made, open int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count, len(u.conns)
}

// DropConnections closes all open connections without a reply, as a restart of the
// server does.
func (u *Upstream) DropConnections() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		c.Close()
	}
}

// Close stops listening, drops all connections and waits until everything has
// ended. It does nothing to an Upstream that doesn't run.
func (u *Upstream) Close() {
	u.turn.Lock()
	defer u.turn.Unlock()
	if !u.stop() {
		return
	}
	close(u.done)
	u.listener.Close()
	u.DropConnections()
	u.wg.Wait()
}

// stop refuses new connections, and reports whether the Upstream ran.
func (u *Upstream) stop() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	ran := u.running
	u.running = false
	return ran
}

func (u *Upstream) accept() {
	for {
		nc, err := u.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors: let others close theirs
			continue
		}
		if n := u.add(nc); n > 0 {
			u.wg.Go(func() {
				defer u.remove(nc)
				newUpstreamConn(u, nc, n).serve()
			})
		}
	}
}

// add registers a connection and returns its number; 0 if it came too late.
func (u *Upstream) add(nc net.Conn) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.running {
		nc.Close()
		return 0
	}
	u.count++
	u.conns[nc] = struct{}{}
	return u.count
}

func (u *Upstream) remove(nc net.Conn) {
	nc.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, nc)
}

func (u *Upstream) record(d Received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.received = append(u.received, d)
}
