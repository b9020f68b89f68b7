package bounces

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// A Server is an SMTP server that accepts mail for the addresses of a [Receiver] and
// for no others: 550 5.1.1. No client can log in, and the server relays nothing. The
// MX record of the addresses' domain must lead to it.
//
// A transaction has one recipient (452 4.5.3 for more) and at most 50 MiB (552). A
// connection lasts at most 10 minutes, is idle for at most 2 minutes, and ends after
// 10 refused recipients. The client is told 451 if Bounced or Forwarder fail.
//
// The fields must not be changed once it is in use. Its methods are safe for
// concurrent use.
type Server struct {
	// Hostname is the name of the server in its greeting and in the Received
	// field that it adds. Required.
	Hostname string

	// Receiver gets the messages. Required.
	Receiver *Receiver

	// TLSConfig has the certificate for STARTTLS. Nil means that STARTTLS is not
	// offered; servers then send reports in plaintext.
	TLSConfig *tls.Config

	// MaxConns is the number of connections at the same time, and MaxConnsPerAddr
	// of those from one address (IPv6: a /64). More get 421. Zero means 200 and
	// 10.
	MaxConns, MaxConnsPerAddr int

	// Logger gets failures. Nil means slog.Default().
	Logger *slog.Logger

	once   sync.Once
	smtp   *smtp.Server
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	counts counts

	refusedConns, refusedRecipients atomic.Int64
}

// ErrServerClosed is returned by Serve and ListenAndServe after Shutdown or Close.
var ErrServerClosed = errors.New("bounces: server closed")

// The limits of a Server.
const (
	maxMessage   = 50 << 20
	connTime     = 10 * time.Minute
	idleTime     = 2 * time.Minute
	receiveTime  = 5 * time.Minute // the client waits for ten (RFC 5321 section 4.5.3.2.6)
	maxRefused   = 10
	maxLineBytes = 4000 // more than RFC 5321 allows; reports return lines of others
)

// ListenAndServe listens on a TCP address such as ":25" and calls Serve.
func (s *Server) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("bounces: %w", err)
	}
	return s.Serve(l)
}

// Serve accepts connections until Shutdown or Close, which close the listener, and
// returns ErrServerClosed then. Any other error is that of the listener, or says
// which field is missing.
func (s *Server) Serve(l net.Listener) error {
	if s.Hostname == "" || s.Receiver == nil {
		l.Close()
		return errors.New("bounces: Server.Hostname and Server.Receiver are required")
	}
	if err := s.Receiver.check(); err != nil {
		l.Close()
		return err
	}
	s.init()
	err := s.smtp.Serve(&listener{Listener: l, srv: s})
	if s.ctx.Err() != nil || err == nil {
		return ErrServerClosed
	}
	return fmt.Errorf("bounces: %w", err)
}

// Shutdown stops accepting connections and waits until those that there are have
// ended, or until ctx ends; it returns the error of ctx then. Call Close afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	return s.smtp.Shutdown(ctx)
}

// Close closes the listeners and all connections. Messages in progress are refused
// with 451 or not answered, so that the clients send them again.
func (s *Server) Close() error {
	s.init()
	s.cancel()
	if err := s.smtp.Close(); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.smtp = smtp.NewServer(smtp.BackendFunc(s.newSession))
		s.smtp.Domain = s.Hostname
		s.smtp.TLSConfig = s.TLSConfig
		s.smtp.MaxRecipients = 1
		s.smtp.MaxMessageBytes = maxMessage
		s.smtp.MaxLineLength = maxLineBytes
		s.smtp.ReadTimeout = idleTime
		s.smtp.WriteTimeout = idleTime
		s.smtp.EnableSMTPUTF8 = true
		s.smtp.ErrorLog = slog.NewLogLogger(s.logger().Handler(), slog.LevelDebug)
	})
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.Default()
	}
	return s.Logger
}
