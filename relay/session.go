package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A session is the dialogue with one client, as go-smtp's backend. go-smtp calls
// its methods one after the other, with one exception: for a message sent with
// BDAT it calls Data in a goroutine of its own. So the state of a message is in a
// transaction, not in the session.
type session struct {
	srv    *Server
	conn   *conn
	failed int  // number of failed logins
	looked bool // a user was looked up that sent its username before TLS

	mu        sync.Mutex
	identity  credentials.Identity // the zero Identity before login
	tx        *transaction
	validated time.Time // when the login was last found valid for a message
}

// client describes the session to an event or a policy function.
func (s *session) client(id credentials.Identity) Client {
	return Client{Session: s.conn.id, Remote: s.conn.remote, Identity: id}
}

// logger returns the server's logger with the session's ID.
func (s *session) logger() *slog.Logger { return s.srv.logger().With("session", s.conn.id) }

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	ses := &session{srv: s, conn: c.Conn().(*conn)}
	ses.conn.rec.mu.Lock()
	ses.conn.rec.ses = ses
	ses.conn.rec.mu.Unlock()
	return ses, nil
}

// Mail begins a transaction (RFC 5321 section 4.1.1.2). The parameters come from
// go-smtp and are not used: Mail parses the client's own argument.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if refusal := s.begin(s.conn.arg); refusal != (reply{}) {
		return refusal.smtp()
	}
	return nil
}

// begin checks the argument of MAIL and begins the transaction. It already checks
// the sender's domain, so that a misconfigured tool fails before it sends data.
func (s *session) begin(arg string) (refusal reply) {
	defer s.recovered(&refusal)
	switch {
	case s.conn.closing.Load():
		return replyShutdown
	case !s.mayLogIn():
		return replyTLSFirst
	case s.user() == credentials.Identity{}:
		return replyLoginFirst
	case s.current() != nil:
		return replyInTransaction
	}
	cmd, refusal := parseMail(arg)
	switch {
	case refusal != (reply{}):
		return refusal
	case cmd.options.RequireTLS && !s.conn.secure:
		return replyRequireTLS
	case cmd.size > s.srv.maxMessageBytes():
		return s.srv.replyTooLarge()
	}
	tx := s.newTransaction(cmd)
	if refusal := tx.open(); refusal != (reply{}) {
		return refusal
	}
	s.setTransaction(tx)
	return reply{}
}

func (s *session) newTransaction(cmd mailCommand) *transaction {
	return &transaction{
		srv: s.srv, ctx: s.srv.ctx, client: s.client(s.user()), tls: s.conn.tlsVersion(), with: protocol(cmd.options.UTF8, s.conn.secure),
		emit: s.emit, revoked: s.revoked, validated: s.lastValidated(),
		from: cmd.from, size: cmd.size, options: cmd.options, started: time.Now(),
		began: make(chan struct{}), ended: make(chan struct{}),
	}
}

// emit emits an event of a transaction.
func (s *session) emit(e Event) {
	if _, refused := e.(*MessageRefused); refused {
		s.conn.reported.Store(true)
	}
	s.conn.emit(e)
}

// Rcpt adds a recipient (RFC 5321 section 4.1.1.3). go-smtp keeps a list of the
// recipients for which Rcpt returns nil. It needs one entry to accept DATA. Rcpt
// returns nil for the first recipient only, because go-smtp's list has no limit.
func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	tx := s.current()
	if tx == nil || s.conn.closing.Load() {
		return replyShutdown.smtp()
	}
	first := len(tx.to) == 0
	if refusal := s.addRecipient(tx, s.conn.arg); refusal != (reply{}) {
		return refusal.smtp()
	}
	if first {
		return nil
	}
	return replyRecipient.smtp()
}

// recovered, when deferred, logs a panic with the session's ID and ends the session
// with 421.
func (s *session) recovered(refusal *reply) {
	if p := recover(); p != nil {
		s.srv.logPanic("a session", p, slog.String("session", s.conn.id))
		*refusal = replyPanic
	}
}

func (s *session) addRecipient(tx *transaction, arg string) (refusal reply) {
	defer s.recovered(&refusal)
	r, refusal := parseRcpt(arg, tx.options.UTF8, s.srv.host)
	if refusal != (reply{}) {
		return refusal
	}
	return tx.addRecipient(r)
}

// lookupTimeout limits calls of the credentials and of policy functions, which
// happen while the client waits for a reply.
const lookupTimeout = 30 * time.Second

func (s *session) context(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.srv.ctx, limit)
}

// Reset ends the transaction. go-smtp calls it at RSET, at EHLO, and after a message.
func (s *session) Reset() {
	if tx := s.current(); tx != nil {
		tx.awaitData()
	}
	s.setTransaction(nil)
}

// Logout is called when the connection ends. go-smtp holds its own lock
// during the call.
func (s *session) Logout() error {
	s.srv.removeSession(s)
	return nil
}

func (s *session) setTransaction(tx *transaction) {
	s.mu.Lock()
	s.tx = tx
	s.mu.Unlock()
	s.conn.beginTransaction(tx)
}

// setValidated records when the look-up for a message began.
func (s *session) setValidated(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.validated = t
}

func (s *session) lastValidated() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.validated
}

func (s *session) current() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

func (s *session) user() credentials.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}
