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
	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// A session is one client's dialogue, as go-smtp's backend. Its methods are
// called one after the other, with one exception: for a message sent with BDAT
// Data has a goroutine of its own. What belongs to a message is therefore in its
// transaction.
type session struct {
	srv    *Server
	conn   *conn
	failed int // logins

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

// A transaction is one message on its way in, from MAIL to the end of its data.
type transaction struct {
	id          credentials.Identity
	from        string
	to          []Recipient
	known       map[string]struct{} // the addresses of to
	options     Options
	size        int64 // as the client declared it; 0 if it didn't
	started     time.Time
	bodyStarted time.Time
	refused     bool // the client has the reply, before the end of the data

	began, ended chan struct{}  // closed when Data begins and returns
	chunks       *io.PipeReader // what it reads from, if the data comes by BDAT; set before began
}

// settle waits until go-smtp is done with the Data call of a message that was
// abandoned. It would take the result for that of the next message.
func (tx *transaction) settle() {
	select {
	case <-tx.began:
	default:
		return
	}
	<-tx.ended
	for tx.chunks != nil {
		// Closing the pipe is what go-smtp does after it has passed on the result.
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

// Mail begins a transaction (RFC 5321 section 4.1.1.2). The sender's domain is
// checked here already, so that a misconfigured tool learns early. The arguments
// are go-smtp's; the session parses those of the client.
func (s *session) Mail(string, *smtp.MailOptions) error {
	if refusal := s.begin(s.conn.arg); refusal != (reply{}) {
		return refusal.smtp()
	}
	return nil
}

func (s *session) begin(arg string) reply {
	switch {
	case s.conn.closing.Load():
		return replyShutdown
	case !s.mayLogIn():
		return replyTLSFirst
	case s.user() == credentials.Identity{}:
		return replyLoginFirst
	case s.current() != nil:
		return replyNested
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
// recipients for which Rcpt returned nil. It needs one of them, and is told of no
// more, so that a client can't make it keep an endless list.
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

// addRecipient adds a recipient to the transaction. An address that the
// transaction has already is accepted and gets one copy.
func (s *session) addRecipient(tx *transaction, arg string) reply {
	r, refusal := parseRcpt(arg, tx.options.UTF8, s.srv.host)
	if refusal != (reply{}) {
		return refusal
	}
	if _, again := tx.known[r.Address]; again {
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

// Data receives the message and forwards it. go-smtp sends the error it returns as
// the reply to the message; 250 is one, because it carries the ID.
func (s *session) Data(r io.Reader) error {
	tx := s.current()
	if tx == nil {
		s.conn.end(replyShutdown)
		return replyShutdown.smtp()
	}
	tx.chunks, _ = r.(*io.PipeReader)
	close(tx.began)
	defer close(tx.ended)
	return s.always(func() reply { return s.take(tx, r) }).smtp()
}

// always returns what f returns. If f panics, or ends its goroutine by
// runtime.Goexit as a failing test does in a Forwarder, always returns a reply all
// the same: go-smtp would wait for it without end.
func (s *session) always(f func() reply) reply {
	result := make(chan reply, 1)
	go func() {
		r, returned := replyTrouble, false
		defer func() {
			if p := recover(); p != nil {
				s.srv.logPanic("Data", p, slog.String("session", s.conn.id))
				r = replyPanic
			} else if !returned {
				s.logger().Error("relay: a function that handles messages called runtime.Goexit")
			}
			result <- r
		}()
		r = f()
		returned = true
	}()
	return <-result
}

// take receives the message of a transaction and forwards it.
func (s *session) take(tx *transaction, r io.Reader) reply {
	if s.conn.closing.Load() {
		return replyShutdown
	}
	s.conn.beginBody(tx)
	defer s.conn.endBody(tx)

	if tx.chunks == nil {
		data := &dataReader{c: s.conn}
		defer data.Close()
		r = data
	}
	m := &Message{ID: NewID(), Identity: tx.id, From: tx.from, To: tx.to, Options: tx.options, Remote: s.conn.remote}
	in, refusal := s.receive(r, tx)
	if in != nil {
		defer in.Close()
	}
	if refusal == (reply{}) {
		refusal = s.submit(m, tx, in)
	}
	if refusal != (reply{}) {
		if !tx.refused {
			s.refuse(m, tx, in, refusal)
		}
		return refusal
	}
	s.conn.emit(&MessageAccepted{
		Client: s.client(tx.id), ID: m.ID, From: m.From, To: m.To, Size: m.Size(), LongLines: in.longLines,
		Author: m.Author, Subject: m.Subject, MessageID: m.MessageID,
	})
	return replyAccepted(m.ID)
}

// receive reads the whole content. A line that broke can look like the end of a
// message sent with BDAT, which is why it fails closed here: what was cut short
// must never be taken for whole.
func (s *session) receive(r io.Reader, tx *transaction) (*content, reply) {
	in, err := receive(r, s.srv.maxMessageBytes(), tx.size, &s.srv.temp)
	if s.conn.broken.Load() || s.conn.closing.Load() {
		return in, replyCutShort
	}
	if err == nil {
		return in, reply{}
	}
	refusal := s.refusalOf(err)
	if in.endless {
		s.conn.end(refusal)
	}
	return in, refusal
}

// refusalOf makes a reply of what receive didn't like.
func (s *session) refusalOf(err error) reply {
	if err == errTooLarge {
		return s.srv.replyTooLarge()
	}
	if refusal, ok := contentRefusals[err]; ok {
		return refusal
	}
	s.logger().Error("relay: receiving a message failed", "error", err)
	if isDiskFull(err) {
		return replyNoSpace
	}
	return replyTrouble
}

// submit checks the header, completes it and forwards the message. The login is
// looked at once more just before: after a reset nothing more is accepted.
func (s *session) submit(m *Message, tx *transaction, in *content) reply {
	ctx, cancel := s.context(lookupTimeout)
	defer cancel()
	if countReceived(in.header) > maxHops {
		return replyLoop
	}
	h, err := mailheader.Parse(in.header)
	if err != nil {
		return replyBadContent(err.Error())
	}
	m.Author, m.Subject, m.MessageID = h.From[0], h.Subject, h.MessageID
	if refusal := s.checkHeader(ctx, tx, h, in.size); refusal != (reply{}) {
		return refusal
	}
	if refusal := s.stillValid(ctx, m.Identity); refusal != (reply{}) {
		return refusal
	}
	m.Received = time.Now().UTC().Truncate(time.Microsecond)
	m.content, m.size = in.rest, in.restSize
	m.prefix = s.srv.complete(m, h, s.conn.secure)
	return s.forward(m)
}

// forward calls the Forwarder; a panic in it is a trouble of this message only.
func (s *session) forward(m *Message) (refusal reply) {
	ctx, cancel := s.context(forwardTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.srv.logPanic("Forwarder", p, slog.String("session", s.conn.id), slog.String("id", m.ID))
			refusal = replyTrouble
		}
	}()
	err := s.srv.Forwarder.Forward(ctx, m)
	if err == nil {
		return reply{}
	}
	s.logger().Warn("relay: message not forwarded", "id", m.ID, "error", err)
	return replyFor(err)
}

const (
	// forwardTimeout is how long a Forwarder may take. RFC 5321 section
	// 4.5.3.2.6 has the client wait ten minutes; past that our 250 would find
	// nobody.
	forwardTimeout = 9 * time.Minute

	// lookupTimeout is how long credentials and policies may take, for a
	// command that the client waits for.
	lookupTimeout = 30 * time.Second
)

func (s *session) context(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.srv.ctx, limit)
}

// Reset forgets the transaction.
func (s *session) Reset() {
	if tx := s.current(); tx != nil {
		tx.settle()
	}
	s.setTransaction(nil)
}

// Logout is called when the connection ends, under go-smtp's lock.
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

// refuse reports that a message was refused after its data. in is nil if nothing was
// received.
func (s *session) refuse(m *Message, tx *transaction, in *content, r reply) {
	e := &MessageRefused{
		Client: s.client(tx.id), ID: m.ID, From: tx.from, Field: FieldData, Code: r.code, Reason: r.text,
		Author: m.Author, Subject: m.Subject, MessageID: m.MessageID,
	}
	if in != nil {
		e.Size = in.size
	}
	if r.field != "" {
		e.Field = r.field
	}
	if r.blamed != nil {
		for _, refused := range r.blamed.Recipients {
			e.To = append(e.To, refused.Address)
		}
	} else {
		e.To = tx.addresses()
	}
	s.conn.reported.Store(true)
	s.conn.emit(e)
}

// addresses returns the recipients.
func (tx *transaction) addresses() []string {
	to := make([]string, len(tx.to))
	for i, r := range tx.to {
		to[i] = r.Address
	}
	return to
}
