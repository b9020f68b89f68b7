package relay

import (
	"context"
	"io"
	"log/slog"
	"runtime"
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
	failed int // number of failed logins

	mu       sync.Mutex
	identity credentials.Identity // the zero Identity before login
	tx       *transaction
}

// client describes the session to an event or a policy function.
func (s *session) client(id credentials.Identity) Client {
	return Client{Session: s.conn.id, Remote: s.conn.remote, Identity: id}
}

// logger returns the server's logger with the session's ID.
func (s *session) logger() *slog.Logger { return s.srv.logger().With("session", s.conn.id) }

// A transaction is the state of one message, from MAIL to the end of its data.
type transaction struct {
	id          credentials.Identity
	from        string
	to          []Recipient
	known       map[string]struct{} // the addresses in to
	options     Options
	size        int64 // as declared by the client, or 0
	started     time.Time
	bodyStarted time.Time
	refused     bool          // the client has been told so, before the end of the data
	took        time.Duration // how long the Forwarder took

	began, ended chan struct{}  // closed when Data begins and when it returns
	chunks       *io.PipeReader // the data, if it comes by BDAT; set before began is closed
}

// awaitData waits until go-smtp has used the result of an abandoned message's Data
// call. Otherwise go-smtp would use it for the next message.
func (tx *transaction) awaitData() {
	select {
	case <-tx.began:
	default:
		return
	}
	<-tx.ended
	for tx.chunks != nil {
		// go-smtp closes the pipe after it has passed on the result.
		if _, err := tx.chunks.Read(nil); err == io.ErrClosedPipe {
			return
		}
		runtime.Gosched()
	}
}

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
	id := s.user()
	ctx, cancel := s.context(lookupTimeout)
	defer cancel()
	if refusal := s.stillValid(ctx, id); refusal != (reply{}) {
		return refusal
	}
	if refusal := s.checkUser(ctx, id, cmd.size); refusal != (reply{}) {
		return refusal
	}
	tx := &transaction{
		id: id, from: cmd.from, size: cmd.size, options: cmd.options, started: time.Now(),
		began: make(chan struct{}), ended: make(chan struct{}),
	}
	if tx.from != "" {
		if refusal := s.checkSender(ctx, s.request(tx, FieldMailFrom, tx.from)); refusal != (reply{}) {
			return refusal
		}
	}
	s.setTransaction(tx)
	return reply{}
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

// addRecipient adds a recipient to the transaction. A recipient that is named twice
// is accepted twice and gets one copy.
func (s *session) addRecipient(tx *transaction, arg string) (refusal reply) {
	defer s.recovered(&refusal)
	r, refusal := parseRcpt(arg, tx.options.UTF8, s.srv.host)
	if refusal != (reply{}) {
		return refusal
	}
	if _, ok := tx.known[r.Address]; ok {
		return reply{}
	}
	if len(tx.to) >= s.srv.maxRecipients() {
		return s.srv.replyTooManyRecipients()
	}
	if refusal := s.checkRecipient(tx, r.Address); refusal != (reply{}) {
		return refusal
	}
	if tx.known == nil {
		tx.known = make(map[string]struct{})
	}
	tx.known[r.Address] = struct{}{}
	tx.to = append(tx.to, r)
	return reply{}
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

// addresses returns the addresses of the recipients.
func (tx *transaction) addresses() []string {
	to := make([]string, len(tx.to))
	for i, r := range tx.to {
		to[i] = r.Address
	}
	return to
}
