package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// A Server accepts mail from SMTP users over TLS and passes it to a [Forwarder].
//
// Set the fields, then call one or more of Serve, ServeTLS, ListenAndServe and
// ListenAndServeTLS, each in a goroutine of its own. They return
// [ErrServerClosed] after Shutdown or Close. Mail of the product itself needs no
// connection: see Submit. The fields must not be changed after the first call. A
// Server cannot be used again after Shutdown or Close. A limit or timeout below
// zero counts as zero. A very large one, such as math.MaxInt64, switches the
// limit off.
type Server struct {
	// Hostname is the name of this server in greetings, Received lines and
	// Message-IDs: a fully qualified domain name. Mail to <postmaster>, without
	// a domain, goes to the postmaster there. Empty means the name the operating
	// system reports.
	Hostname string

	// Credentials decides on logins. Required.
	Credentials *credentials.Manager

	// Forwarder takes the messages. Its result decides the reply to the client.
	// Required.
	Forwarder Forwarder

	// TLSConfig holds the certificate. Set GetCertificate to renew the
	// certificate without a restart. TLS versions before 1.2 are never used
	// (RFC 8314 section 4.1). Errors of GetCertificate and GetConfigForClient
	// are logged, at most ten a minute, and not twice in a row. Required to serve,
	// unless InsecureAuth is set.
	TLSConfig *tls.Config

	// AllowLogin, AllowUser, AllowSender and AllowRecipient each add a condition
	// to the rules of the server. Nil adds none. See [PolicyRequest] for what
	// their errors mean.
	//
	// AllowLogin is asked when the password has proved right. A login that it
	// refuses is not the user's last connection, and counts towards
	// MaxAuthTries.
	AllowLogin func(ctx context.Context, r *PolicyRequest) error

	// AllowUser is asked at MAIL whether the user may send at all. It can refuse
	// users that are suspended, not verified, or over a limit.
	AllowUser func(ctx context.Context, r *PolicyRequest) error

	// AllowSender is asked about each sender address that [ExactDomain] allows:
	// the envelope sender unless it is empty, each address in From, and the one
	// in Sender. The reply's text begins with the field.
	AllowSender func(ctx context.Context, r *PolicyRequest) error

	// AllowRecipient is asked about each envelope recipient. The reply's text
	// begins with the field.
	AllowRecipient func(ctx context.Context, r *PolicyRequest) error

	// ReplaceExactDomain, if set, is asked about sender addresses instead of
	// [ExactDomain]. Users can send as every address that it allows: no other
	// rule stops one tenant from sending in the name of another.
	ReplaceExactDomain func(ctx context.Context, r *PolicyRequest) error

	// MaxMessageBytes is the maximum size of a message, header included. A
	// larger one gets 552. Zero means 25 MiB.
	MaxMessageBytes int64

	// TempDir is the directory for temporary files. A message larger than 256
	// KiB is kept in a file until it is forwarded. Empty means [os.TempDir].
	// Serve returns an error if it cannot create a file there.
	TempDir string

	// MaxTempBytes is the maximum size of all temporary files together. Beyond
	// it a message gets 452. It must not be less than MaxMessageBytes. Zero
	// means 4 GiB, or MaxMessageBytes if that is more.
	MaxTempBytes int64

	// MaxRecipients is the maximum number of recipients of one message. Further
	// recipients get 452. Zero means 1000. RFC 5321 section 4.5.3.1.8 requires
	// at least 100. A recipient takes at most 2 KiB of memory before the data.
	MaxRecipients int

	// MaxConns is the maximum number of connections served at once. Zero means
	// 4096.
	//
	// When it is reached, a new connection replaces another one: one that has
	// not begun to log in for 5 seconds, if there is any; otherwise the one that
	// has been idle longest, of the address (before login) or user (after it)
	// that has the most. A connection that receives a message is not replaced.
	// A session, or a login that is being decided, is replaced only if its owner
	// has more connections than the new one's address has before login. A
	// session is also replaced if its tenant has more than half of all
	// connections. If there is nothing to replace, the new connection is
	// refused. A connection that is replaced or refused gets 421.
	MaxConns int

	// MaxConnsPerAddr is the maximum number of connections of one client
	// address. An IPv6 address counts as its /64 network. Further connections
	// get 421. Zero means 128. Behind a load balancer all clients share its
	// address unless the listener speaks the PROXY protocol, see Serve.
	MaxConnsPerAddr int

	// MaxConnsPerUser is the maximum number of connections of one user. Beyond
	// that a login replaces the user's connection that has been idle longest,
	// if that is at least 10 seconds; otherwise the login gets 454. Zero means
	// 128.
	MaxConnsPerUser int

	// MaxAuthTries is the maximum number of failed logins of one connection.
	// The connection is closed after the last one. Zero means 3.
	MaxAuthTries int

	// LoginTimeout is the maximum time from the start of a connection to the
	// login. Zero means one minute.
	LoginTimeout time.Duration

	// IdleTimeout is the maximum time without a byte from the client. Zero means
	// five minutes, the minimum of RFC 5321 section 4.5.3.2.7.
	IdleTimeout time.Duration

	// MessageTimeout is the maximum time from MAIL to the end of the data. Zero
	// means 30 minutes.
	MessageTimeout time.Duration

	// MinBodyRate is the minimum average rate of a message's data, in bytes per
	// second. A message may be late by IdleTimeout. Zero means 256.
	MinBodyRate int

	// KeyHeader is the name of a header field, such as "Idempotency-Key", with which
	// a client names a submission. The field is removed. If the client sends the
	// same message with the same key again within a day, perhaps because the 250 was
	// lost, it gets 250 and the ID of the first one, and nothing is sent a second
	// time. Another message with that key is refused for good. A key is of 1 to 256
	// printable ASCII characters, and belongs to the user. The Forwarder has to keep
	// keys, as package relay/queue does; others ignore them. Empty means that no field is
	// a key.
	KeyHeader string

	// InsecureAuth allows login and mail without TLS. Passwords then cross the
	// network in the clear. It is for tests, and for private networks with tools
	// that do not support TLS.
	InsecureAuth bool

	// OnEvent, if set, is called for every event. It is called from many
	// goroutines at once and delays the client that the event is about. A panic
	// in it is logged.
	OnEvent func(Event)

	// Logger gets the same events, and errors that clients are not told. Nil means
	// slog.Default().
	Logger *slog.Logger

	start    sync.Once
	startErr error
	serving  sync.Once
	host     string
	tls      *tls.Config
	smtp     *smtp.Server
	handoff  *handoff // where go-smtp accepts the connections that this server has accepted
	temp     tempSpace
	ctx      context.Context
	cancel   context.CancelFunc
	unsub    func()

	mu        sync.Mutex
	closed    bool
	empty     chan struct{} // closed when closed is set and no connection or call of Submit is left
	listeners map[*net.Listener]struct{}
	emptied   bool // empty was closed
	calls     int  // calls of Submit

	// Connections and their owners, see limits.go.
	conns     map[*conn]struct{}
	served    int                // how many of conns are not evicted
	evicted   int                // how many of conns are evicted
	refused   map[*conn]struct{} // refused connections in the TLS handshake
	perAddr   map[netip.Prefix]addrConns
	sessions  map[string]ownedSessions // by username
	perTenant map[store.TenantID]int

	counters     counters
	tlsErrors    tlsErrors
	connsRefused time.Time // when a refused connection was last logged as a warning
}

// ErrServerClosed is returned by Serve, ServeTLS, ListenAndServe, ListenAndServeTLS
// and Submit after Shutdown or Close.
var ErrServerClosed = errors.New("relay: server closed")

// ListenAndServe listens on the TCP address addr and serves clients that begin
// in the clear and switch to TLS with STARTTLS. Empty means ":587".
func (s *Server) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", cmp.Or(addr, ":587"))
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return s.Serve(l)
}

// ListenAndServeTLS listens on the TCP address addr and serves clients that
// speak TLS from the first byte (RFC 8314). Empty means ":465".
func (s *Server) ListenAndServeTLS(addr string) error {
	l, err := net.Listen("tcp", cmp.Or(addr, ":465"))
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return s.ServeTLS(l)
}

// Serve accepts connections from l that begin in the clear and switch to TLS
// with STARTTLS. It closes l when it returns.
//
// A load balancer that forwards TCP hides the clients' addresses, on which
// limits, the Received line and the last connection depend. Have it send the
// PROXY protocol, and wrap l in a listener that reads it: RemoteAddr of its
// connections returns the client's address. RemoteAddr may block until the
// header has arrived, at most LoginTimeout; connections are counted after that.
// Such a listener has to accept the header from the balancer only, since any
// other client could name an address of its choice.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, false) }

// ServeTLS accepts connections from l that speak TLS from the first byte. l
// itself hands out plain connections. It closes l when it returns. For load
// balancers see Serve.
func (s *Server) ServeTLS(l net.Listener) error { return s.serve(l, true) }

// setUp checks the fields and makes what Serve, ServeTLS and Submit share. It starts no
// goroutine, because a caller may never call Close.
func (s *Server) setUp() error {
	switch {
	case s.Credentials == nil:
		return errors.New("relay: Server.Credentials is required")
	case s.Credentials.Store == nil:
		return errors.New("relay: Server.Credentials.Store is required")
	case s.Forwarder == nil:
		return errors.New("relay: Server.Forwarder is required")
	}
	if err := CheckForwarder(s.Forwarder); err != nil {
		return err
	}
	if err := s.setUpTLS(); err != nil {
		return err
	}
	s.host = s.Hostname
	if s.host == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("relay: Server.Hostname is empty, and the system reports no name: %w", err)
		}
		s.host = name
	}
	s.host = strings.TrimSuffix(s.host, ".")
	if fault := mailtext.HostnameFault(s.host); fault != "" {
		return fmt.Errorf("relay: Server.Hostname %q is not a host name: %s", s.host, fault)
	}
	if fault := keyHeaderFault(s.KeyHeader); fault != "" {
		return fmt.Errorf("relay: Server.KeyHeader %q %s", s.KeyHeader, fault)
	}
	if err := s.setUpTemp(); err != nil {
		return err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.unsub = s.Credentials.Subscribe(s.onCredentials)
	s.handoff = &handoff{conns: make(chan net.Conn), done: make(chan struct{})}
	s.smtp = s.newSMTP()
	return nil
}

// Shutdown closes the listeners, sends 421 to idle clients, lets messages in
// progress finish, and returns when the last connection and the last call of Submit
// have ended. If ctx ends first, Shutdown returns the error of ctx. The remaining
// connections and calls then go on until they are done, or until Close.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.drain()
	}
	select {
	case <-s.drained():
		s.release()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the listeners and all connections at once, and cancels the context
// of every Forward call in progress. A message is accepted only if its client was
// sent 250.
func (s *Server) Close() error {
	conns := s.stop()
	s.release()
	for _, c := range conns {
		c.Conn.Close()
	}
	return nil
}

// stop closes the listeners and returns the connections. There are no new ones after
// that.
func (s *Server) stop() []*conn {
	s.start.Do(func() { s.startErr = ErrServerClosed })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		(*l).Close()
	}
	return slices.AppendSeq(slices.Collect(maps.Keys(s.conns)), maps.Keys(s.refused))
}

// drained returns a channel that is closed when the last connection has ended.
func (s *Server) drained() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty == nil {
		s.empty = make(chan struct{})
		s.closeEmpty()
	}
	return s.empty
}

// release stops what setUp started. It may be called more than once.
func (s *Server) release() {
	if s.handoff == nil {
		return // never started
	}
	s.unsub()
	s.cancel()
	s.handoff.Close()
}

func (s *Server) maxMessageBytes() int64        { return or(s.MaxMessageBytes, 25<<20) }
func (s *Server) maxRecipients() int            { return or(s.MaxRecipients, 1000) }
func (s *Server) maxConns() int                 { return or(s.MaxConns, 4096) }
func (s *Server) maxConnsPerAddr() int          { return or(s.MaxConnsPerAddr, 128) }
func (s *Server) maxConnsPerUser() int          { return or(s.MaxConnsPerUser, 128) }
func (s *Server) maxAuthTries() int             { return or(s.MaxAuthTries, 3) }
func (s *Server) loginTimeout() time.Duration   { return or(s.LoginTimeout, time.Minute) }
func (s *Server) idleTimeout() time.Duration    { return or(s.IdleTimeout, 5*time.Minute) }
func (s *Server) messageTimeout() time.Duration { return or(s.MessageTimeout, 30*time.Minute) }
func (s *Server) minBodyRate() int              { return or(s.MinBodyRate, 256) }
func (s *Server) maxTempBytes() int64           { return or(s.MaxTempBytes, max(4<<30, s.maxMessageBytes())) }

// or returns the limit v, or the default if v is not set. It returns at most noLimit,
// so that sums of limits do not overflow.
func or[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return T(min(int64(v), noLimit))
}

const noLimit = 1 << 60 // as a duration: 36 years

func (s *Server) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
