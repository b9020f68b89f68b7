package relay

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/stack"
)

// AuthMechanisms lists what EHLO offers: nothing before TLS.
func (s *session) AuthMechanisms() []string {
	if !s.mayLogIn() {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

func (s *session) mayLogIn() bool { return s.conn.secure || s.srv.InsecureAuth }

// Auth begins a login (RFC 4954).
func (s *session) Auth(mech string) (sasl.Server, error) {
	switch {
	case s.conn.closing.Load():
		return nil, replyShutdown.smtp()
	case !s.mayLogIn():
		return nil, s.needsTLS()
	case s.current() != nil:
		return nil, replyAuthInMail.smtp()
	}
	switch mech {
	case sasl.Plain:
		return mechanism{s, sasl.NewPlainServer(func(identity, username, password string) error {
			// RFC 4616: no user may act for another identity.
			if identity != "" && identity != username {
				s.countFailure()
				return s.deny(mech, username, CauseForeignIdentity, replyDenied, nil)
			}
			return s.login(mech, username, password)
		})}, nil
	case sasl.Login:
		return mechanism{s, &loginServer{login: func(username, password string) error {
			return s.login(mech, username, password)
		}}}, nil
	}
	return nil, replyNoMechanism.smtp()
}

// needsTLS refuses a login before TLS. If the client sent a username along, the event
// names the user, so that the tenant learns why its tool does not send. That needs one
// look-up a connection, whether there is such a user or not.
func (s *session) needsTLS() error {
	cmd := s.conn.cmd
	if cmd.username == "" || s.looked {
		return replyAuthNeedsTLS.smtp() // the conn makes the event
	}
	s.looked = true
	claimed := s.claimed(cmd.username)
	return s.deny(cmd.mechanism, cmd.username, CauseNoTLS, replyAuthNeedsTLS, &claimed)
}

// claimed returns the user with a username; the zero Identity if there is none or it
// cannot be read.
func (s *session) claimed(username string) (id credentials.Identity) {
	defer func() {
		if p := recover(); p != nil {
			s.srv.logPanic("Credentials", p, slog.String("session", s.conn.id))
		}
	}()
	ctx, cancel := s.context(lookupTimeout)
	defer cancel()
	u, _, _, err := s.srv.Credentials.Store.Lookup(ctx, username)
	if err != nil {
		return credentials.Identity{} // the refusal is right without it
	}
	return credentials.IdentityOf(u)
}

// authTimeout bounds a login. Authenticate waits at most 30 seconds for a hash;
// the rest is for the store.
const authTimeout = 45 * time.Second

func (s *session) login(mech, username, password string) error {
	stack.Grow()
	if s.failed >= s.srv.maxAuthTries() {
		return s.deny(mech, username, CauseTooManyTries, replyTooManyTries, nil)
	}
	id, refusal, err := s.authenticate(username, password)
	switch {
	case refusal == replyTooManyOfUser:
		s.countFailure()
		return s.deny(mech, username, CauseTooManyConns, refusal, &id)
	case refusal != (reply{}):
		return s.deny(mech, username, CauseUnavailable, refusal, &id)
	case err != nil:
		return s.loginFailed(mech, username, err)
	}
	s.conn.emit(&LoggedIn{Client: s.client(id), Mechanism: mech, TLS: s.conn.tlsVersion()})
	return nil
}

// errNotAdded ends a login whose session was refused before it is recorded as the
// user's last connection.
var errNotAdded = errors.New("relay: the session was refused")

// authenticate decides on a login and makes the user the connection's owner. A
// refusal has nothing to do with the password: the connection is to end, or the
// user has too many.
func (s *session) authenticate(username, password string) (id credentials.Identity, refusal reply, err error) {
	defer s.recovered(&refusal)
	s.conn.beginLogin()
	var check func()
	defer func() { s.conn.endLogin(check) }()
	ctx, cancel := context.WithTimeout(s.conn.ctx, authTimeout)
	defer cancel()
	_, err = s.srv.Credentials.AuthenticateIf(ctx, username, credentials.NewPassword(password), s.conn.remote,
		func(ctx context.Context, proved credentials.Identity) error {
			if err := s.allowLogin(ctx, proved); err != nil {
				return err
			}
			id = proved
			if refusal = s.srv.addSession(s, id); refusal != (reply{}) {
				return errNotAdded
			}
			return nil
		})
	if err != nil {
		s.srv.undoSession(s)
		if refusal == (reply{}) {
			refusal = s.conn.ending()
		}
		return id, refusal, err
	}
	s.mu.Lock()
	s.identity = id
	s.mu.Unlock()
	check = s.recheck
	return id, reply{}, nil
}

// allowLogin asks AllowLogin. It makes a notAllowed of a ReplyError, which could
// otherwise be one of the store.
func (s *session) allowLogin(ctx context.Context, id credentials.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	err := s.srv.ask(ctx, s.srv.AllowLogin, &PolicyRequest{Client: s.client(id), Field: FieldAuth, TLS: s.conn.tlsVersion()})
	var re *ReplyError
	if errors.As(err, &re) && re.isRefusal() {
		return &notAllowed{replyFor(re)}
	}
	return err
}

type notAllowed struct{ reply reply }

func (*notAllowed) Error() string { return "relay: AllowLogin refused" }

// loginFailed answers a login that failed with err. The reply is the same for every
// cause that has to do with the credentials.
func (s *session) loginFailed(mech, username string, err error) error {
	var failed *credentials.LoginError
	claimed := credentials.Identity{}
	if errors.As(err, &failed) {
		claimed = failed.Claimed
	}
	cause, answer := CauseUnavailable, replyLoginUnavailable
	var refused *notAllowed
	switch {
	case errors.As(err, &refused):
		cause, answer = CauseNotAllowed, refused.reply
	case errors.Is(err, errPolicyPanic): // logged already
	case errors.Is(err, credentials.ErrNetwork):
		cause, answer = CauseNetwork, replyDenied
	case errors.Is(err, credentials.ErrDenied) && claimed == credentials.Identity{}:
		cause, answer = CauseUnknownUser, replyDenied
	case errors.Is(err, credentials.ErrDenied):
		cause, answer = CauseWrongPassword, replyDenied
	case errors.Is(err, credentials.ErrBusy):
		cause, answer = CauseBusy, replyLoginBusy
	default:
		s.logger().Error("relay: login failed", "error", err)
	}
	s.countFailure()
	return s.deny(mech, username, cause, answer, &claimed)
}

// deny returns the reply to a login that is refused, and reports it. claimed is the
// user whose username was sent, if any.
func (s *session) deny(mech, username string, cause LoginCause, answer reply, claimed *credentials.Identity) error {
	e := &LoginRefused{
		Client: s.client(credentials.Identity{}), Username: printableUsername(username), Mechanism: mech,
		Cause: cause, Code: answer.code, Enhanced: answer.enhanced, Reason: answer.text,
	}
	if claimed != nil && *claimed != (credentials.Identity{}) {
		e.Identity, e.Username = *claimed, claimed.Username
	}
	s.conn.reported.Store(true)
	s.conn.emit(e)
	return answer.smtp()
}

// countFailure ends the connection, after the reply, if that was one failure too
// many.
func (s *session) countFailure() {
	if s.failed++; s.failed >= s.srv.maxAuthTries() {
		s.conn.end(replyTooManyTries)
	}
}

// stillValid looks in the store whether the login still holds: the password may
// have been reset, or the user deleted or suspended, by anybody on any node. The
// session of a suspended user stays: its client would only log in again.
func (s *Server) stillValid(ctx context.Context, c Client) reply {
	err := s.Credentials.Validate(ctx, c.Identity)
	var suspended *credentials.SuspendedError
	switch {
	case err == nil:
		return reply{}
	case errors.As(err, &suspended):
		return replySuspended(suspended)
	case errors.Is(err, credentials.ErrRevoked):
		return replyRevoked
	}
	s.logger().Error("relay: checking a login failed", "session", c.Session, "username", c.Identity.Username, "error", err)
	return replyUnavailable
}

// revoked ends the session because its login does not hold any more.
func (s *session) revoked() { s.srv.cutOff(s, "credentials reset or deleted") }

// recheck is called now and then while the session is idle. It ends the session
// if the credentials are known to be void. An error of the store ends no session,
// but a panic does, as for MAIL.
func (s *session) recheck() {
	defer func() {
		if p := recover(); p != nil {
			s.srv.logPanic("Credentials", p, slog.String("session", s.conn.id))
			s.conn.end(replyPanic)
		}
	}()
	ctx, cancel := s.context(lookupTimeout)
	defer cancel()
	if s.srv.stillValid(ctx, s.client(s.user())) == replyRevoked {
		s.revoked()
	}
}

// onCredentials ends the sessions that an event concerns, at once. It is what
// makes a reset prompt on this node; stillValid is what makes it true on all.
func (s *Server) onCredentials(e credentials.Event) {
	s.mu.Lock()
	var void []*session
	for _, sessions := range s.sessions {
		for ses := range sessions {
			if e.Revokes(ses.conn.owner) {
				void = append(void, ses)
			}
		}
	}
	s.mu.Unlock()
	for _, ses := range void {
		s.cutOff(ses, "credentials reset or deleted")
	}
}

// cutOff ends a session, once.
func (s *Server) cutOff(ses *session, reason string) {
	if s.removeSession(ses) {
		ses.conn.emit(&SessionCutOff{Client: ses.client(ses.user()), Reason: reason}) // before SessionEnded
		ses.conn.end(replyRevoked)
	}
}

// A loginServer speaks the LOGIN mechanism (draft-murchison-sasl-login), which
// has no specification but the programs that use it: they want exactly these
// two prompts. An initial response is the username.
type loginServer struct {
	login    func(username, password string) error
	username *string
	done     bool
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case l.done:
		return nil, false, sasl.ErrUnexpectedClientResponse
	case response == nil:
		return []byte("Username:"), false, nil
	case l.username == nil:
		username := string(response)
		l.username = &username
		return []byte("Password:"), false, nil
	}
	l.done = true
	return nil, true, l.login(*l.username, string(response))
}

// A mechanism makes a proper reply of what go-sasl says of a malformed
// response (RFC 4954 section 4: 501), and counts it as a login that failed.
type mechanism struct {
	s *session
	sasl.Server
}

func (m mechanism) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = m.Server.Next(response)
	if _, ok := err.(*smtp.SMTPError); err != nil && !ok {
		err = replyBadAuth.smtp()
		m.s.countFailure()
	}
	return challenge, done, err
}
