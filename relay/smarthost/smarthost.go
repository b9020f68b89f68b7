package smarthost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A TLSMode says how the connection to the upstream is protected.
type TLSMode int

// The modes.
const (
	StartTLS    TLSMode = iota // STARTTLS is required (RFC 3207); the usual port is 587
	ImplicitTLS                // TLS from the first byte (RFC 8314); the usual port is 465
	NoTLS                      // none: for tests and private networks
)

// A Forwarder hands messages to an upstream server. Addr is required; the zero
// values of the other fields are safe defaults. The fields must not be changed
// once it is in use. Limits and timeouts of less than zero count as zero. Its
// methods are safe for concurrent use.
type Forwarder struct {
	// Addr is the upstream's host name and port, such as
	// "smtp.example.net:587".
	Addr string

	// TLS says how the connection is protected. The zero value is StartTLS.
	TLS TLSMode

	// TLSConfig, if set, adds to how TLS is done: which roots to trust, a
	// client certificate. An empty ServerName means the host of Addr.
	TLSConfig *tls.Config

	// Username and Password log in to the upstream with AUTH PLAIN, or LOGIN
	// if it has no PLAIN or refuses it. An empty Username means no login.
	Username string
	Password credentials.Password

	// Hostname is the name this server gives in EHLO. Empty means the system's
	// host name, or if that is not a full name, the address that the connection
	// comes from (RFC 5321 section 4.1.4).
	Hostname string

	// MaxConns is how many connections are open at the same time. If all are in
	// use, Forward waits, or returns a *relay.BusyError if the message has
	// NoWait. Zero means 10. An upstream that allows fewer gets no more than it
	// allows. Each process counts its own.
	MaxConns int

	// MaxRate is how many messages a second go to the upstream. Zero means no
	// limit. An upstream that answers that it gets too many is left alone for a
	// second, and longer each time, up to half an hour. Each process counts its own.
	MaxRate float64

	// MaxMessages is how many messages go over one connection before it is
	// closed. Zero means 100. An upstream may lower it with LIMITS MAILMAX
	// (RFC 9422).
	MaxMessages int

	// MaxRecipients is how many recipients of a message behind a queue go into
	// one transaction; the rest follows at once in the next. Zero means 100,
	// which every server takes. An upstream may lower it with LIMITS RCPTMAX
	// (RFC 9422), or by refusing the recipients that are too many. A message
	// without a queue goes into one transaction, whatever the number.
	MaxRecipients int

	// NoChunking makes it send DATA to an upstream that offers CHUNKING, for
	// one whose BDAT doesn't work (RFC 3030).
	NoChunking bool

	// IdleTimeout is how long a connection is kept for the next message. Zero
	// means 30 seconds.
	IdleTimeout time.Duration

	// Timeout is how long the upstream may take for each step but the last:
	// to connect, to answer a command, to take in a part of the content. Zero
	// means the times of RFC 5321 section 4.5.3.2, up to 5 minutes, and 30
	// seconds each to connect and for the TLS handshake. The context given to
	// Forward may end it earlier.
	Timeout time.Duration

	// EndTimeout is how long the upstream may take to accept a message that it
	// has received. If it is too short, messages arrive twice. Zero means 10
	// minutes.
	EndTimeout time.Duration

	// Logger gets the failures that need a person, such as those of TLS and the
	// login. Nil means [slog.Default].
	Logger *slog.Logger

	once     sync.Once
	pool     *outbound.Pool
	refusals refusals
}

// Forward hands m to the upstream. The package documentation says what the errors
// mean. Forward returns soon after ctx ends, at every step.
func (f *Forwarder) Forward(ctx context.Context, m *relay.Message) error {
	f.once.Do(f.setup)
	m, reached := watchMail(m)
	answer, err := f.pool.Send(ctx, f.Addr, "", m)
	err = f.refusals.judge(m, reached.Load(), err)
	if err == nil {
		f.logger().LogAttrs(ctx, slog.LevelDebug, "smarthost: message handed to the upstream",
			slog.String("message", m.ID), slog.String("upstream", f.Addr), slog.String("reply", answer))
		return nil
	}
	f.report(ctx, err)
	err = markInternal(err)
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("smarthost: %w", err)
}

// watchMail returns a copy of a message, and what becomes true when the upstream accepts
// MAIL of it.
func watchMail(m *relay.Message) (*relay.Message, *atomic.Bool) {
	reached := new(atomic.Bool)
	c := m.WithRecipients(m.To)
	c.OnReached = func() {
		reached.Store(true)
		if m.OnReached != nil {
			m.OnReached()
		}
	}
	return c, reached
}

// Brakes returns what holds mail to the upstream back in this process at present: limits of
// connections and of messages a second that are reached, limits of connections that were
// learned, and pauses that servers have asked for. A queue before it knows how much waits.
func (f *Forwarder) Brakes() []relay.Brake {
	f.once.Do(f.setup)
	return f.pool.Brakes()
}

// Close closes the connections that are idle, and those in use when their
// message is done. Forward fails from then on. It returns nil.
func (f *Forwarder) Close() error {
	f.once.Do(f.setup)
	f.pool.Close()
	return nil
}

// setup makes the pool. Wrong fields are errors of the first connection.
func (f *Forwarder) setup() {
	d := &outbound.Dialer{
		Addr: f.Addr, TLS: f.mode(), TLSConfig: f.TLSConfig,
		Username: f.Username, Password: f.Password,
		Hostname: f.Hostname, Timeout: f.Timeout, EndTimeout: f.EndTimeout,
		MaxRecipients: f.MaxRecipients, NoChunking: f.NoChunking,
	}
	f.pool = &outbound.Pool{
		Dial: func(ctx context.Context, _ string, noChunking bool) (*outbound.Conn, error) {
			if host, port, err := net.SplitHostPort(f.Addr); err != nil || host == "" || port == "" {
				return nil, &outbound.Error{Host: strconv.Quote(f.Addr), Step: outbound.Connect, Err: errAddr}
			}
			c := *d
			c.NoChunking = c.NoChunking || noChunking
			return c.Dial(ctx)
		},
		Limits: func(string) outbound.Limits {
			return outbound.Limits{Conns: or(f.MaxConns, 10), Messages: or(f.MaxMessages, 100), Rate: f.MaxRate}
		},
		IdleTimeout: or(f.IdleTimeout, 30*time.Second),
	}
}

var errAddr = errors.New("Forwarder.Addr must be host:port, as in smtp.example.net:587")

// or returns n, or the default if n is not positive.
func or[T int | time.Duration](n, fallback T) T {
	if n > 0 {
		return n
	}
	return fallback
}

// mode translates TLS. An unknown value counts as StartTLS.
func (f *Forwarder) mode() outbound.TLSMode {
	switch f.TLS {
	case ImplicitTLS:
		return outbound.Implicit
	case NoTLS:
		return outbound.None
	}
	return outbound.Required
}

// report logs failures that last until a person acts.
func (f *Forwarder) report(ctx context.Context, err error) {
	if errors.As(err, new(ourFault)) {
		f.logger().ErrorContext(ctx, "smarthost: the upstream refuses the mail of every tenant: check the account, and whether this server's address is blocked; mail waits",
			"upstream", f.Addr, "error", err.Error())
		return
	}
	var unsure doubt
	if errors.As(err, &unsure) {
		f.logger().WarnContext(ctx, "smarthost: the upstream refuses MAIL, and that may be about the account or this server's address; the message waits",
			"upstream", f.Addr, "error", err.Error())
		return
	}
	var e *outbound.Error
	if !errors.As(err, &e) || ctx.Err() != nil {
		return
	}
	if e.Reply != nil && !e.Reply.Temporary() && (e.Step == outbound.Greeting || e.Step == outbound.Hello) {
		f.logger().ErrorContext(ctx, "smarthost: the upstream refuses this server: check whether its address is blocked, and Hostname; mail waits",
			"upstream", f.Addr, "error", err.Error())
		return
	}
	switch e.Step {
	case outbound.Connect:
		if errors.Is(err, errAddr) {
			f.logger().ErrorContext(ctx, "smarthost: Addr is wrong; mail waits", "error", err.Error())
		}
	case outbound.Greeting:
		var t interface{ Timeout() bool }
		if f.mode() == outbound.Required && errors.As(err, &t) && t.Timeout() {
			f.logger().ErrorContext(ctx, "smarthost: the upstream doesn't greet: if it speaks TLS from the first byte, as on port 465, set TLS to ImplicitTLS; mail waits",
				"upstream", f.Addr, "error", err.Error())
		}
	case outbound.StartTLS, outbound.Handshake:
		f.logger().ErrorContext(ctx, "smarthost: TLS with the upstream fails: check TLS, TLSConfig and the certificate; mail waits",
			"upstream", f.Addr, "error", err.Error())
	case outbound.Auth:
		f.logger().ErrorContext(ctx, "smarthost: login at the upstream fails: check Username and Password; mail waits",
			"upstream", f.Addr, "username", f.Username, "error", err.Error())
	}
}

func (f *Forwarder) logger() *slog.Logger {
	if f.Logger == nil {
		return slog.Default()
	}
	return f.Logger
}
