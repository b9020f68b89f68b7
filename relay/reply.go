package relay

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// Only this file and gosmtp.go decide what a client is sent. The text of an internal
// error is never sent.

// A reply is an SMTP reply with its enhanced status code (RFC 3463). The zero reply
// means that nothing was refused.
type reply struct {
	code     int
	enhanced string
	text     string
	field    Field         // what was refused; "" means the argument of the command
	blamed   *RefusedError // names the refused recipients if field is FieldRcptTo
}

var (
	replyTLSFirst         = reply{code: 530, enhanced: "5.7.0", text: "use STARTTLS first"}
	replyLoginFirst       = reply{code: 530, enhanced: "5.7.0", text: "log in first"}
	replyRequireTLS       = reply{code: 530, enhanced: "5.7.10", text: "REQUIRETLS needs a TLS connection"}
	replyAuthNeedsTLS     = reply{code: 538, enhanced: "5.7.11", text: "use STARTTLS before AUTH"}
	replyAuthInMail       = reply{code: 503, enhanced: "5.5.1", text: "AUTH is not possible during a message"}
	replyNoMechanism      = reply{code: 504, enhanced: "5.5.4", text: "use AUTH PLAIN or AUTH LOGIN"}
	replyBadAuth          = reply{code: 501, enhanced: "5.5.2", text: "malformed AUTH response"}
	replyDenied           = reply{code: 535, enhanced: "5.7.8", text: "username or password is wrong"}
	replyLoginBusy        = reply{code: 454, enhanced: "4.7.0", text: "too many logins at once, try again later"}
	replyLoginUnavailable = reply{code: 454, enhanced: "4.7.0", text: "login is not possible right now, try again later"}
	replyTooManyTries     = reply{code: 421, enhanced: "4.7.0", text: "too many failed logins"}

	replyRevoked    = reply{code: 421, enhanced: "4.7.0", text: "the password was reset or the user deleted, log in again"}
	replyShutdown   = reply{code: 421, enhanced: "4.3.2", text: "closing the connection, try again later"}
	replyTooMany    = reply{code: 421, enhanced: "4.7.0", text: "too many connections, try again later"}
	replyPanic      = reply{code: 421, enhanced: "4.3.0", text: "not possible right now, try again later"}
	replyLongLine   = reply{code: 421, enhanced: "4.5.2", text: "the line is too long"}
	replyBareLF     = reply{code: 421, enhanced: "4.5.2", text: "a command holds a bare LF, commands end in CR LF"}
	replyBadBDAT    = reply{code: 421, enhanced: "4.5.4", text: "malformed BDAT, use BDAT size or BDAT size LAST"}
	replyIncomplete = reply{code: 421, enhanced: "4.4.2", text: "the connection broke before the message was complete"}

	replyAfterStartTLS = reply{code: 421, enhanced: "4.7.0", text: "nothing may follow STARTTLS before the TLS handshake"}
	replyTooManyOfUser = reply{code: 454, enhanced: "4.7.0", text: "too many connections of this user, try again later"}
	replyReplaced      = reply{code: 421, enhanced: "4.7.0", text: "too many connections of this user, the oldest idle one is closed"}

	replyTooManyFromAddr = reply{code: 421, enhanced: "4.7.0", text: "too many connections from your address, try again later"}

	replyRecipient = reply{code: 250, enhanced: "2.1.5", text: "recipient accepted"}

	replyInTransaction = reply{code: 503, enhanced: "5.5.1", text: "a message is in progress, use RSET to abandon it"}
	replyBadMail       = reply{code: 501, enhanced: "5.1.7", text: "malformed sender, use MAIL FROM:<address>"}
	replyBadSender     = reply{code: 501, enhanced: "5.1.7", text: "malformed sender address"}
	replyBadRcpt       = reply{code: 501, enhanced: "5.1.3", text: "malformed recipient, use RCPT TO:<address>"}
	replyBadRecipient  = reply{code: 501, enhanced: "5.1.3", text: "malformed recipient address"}
	replyLongAddress   = reply{code: 501, enhanced: "5.1.3", text: fmt.Sprintf("the address is longer than %d bytes", maxAddress)}

	replyNoRecipient = reply{code: 503, enhanced: "5.5.1", text: "no recipient was accepted"}

	replyUnknownMailParam = reply{code: 555, enhanced: "5.5.4", text: "unknown MAIL parameter"}
	replyUnknownRcptParam = reply{code: 555, enhanced: "5.5.4", text: "unknown RCPT parameter"}
	replyTwice            = reply{code: 501, enhanced: "5.5.4", text: "a parameter is given twice"}
	replyTooManyParams    = reply{code: 501, enhanced: "5.5.4", text: "too many parameters"}
	replyNeedsUTF8        = reply{code: 553, enhanced: "5.6.7", text: "an address beyond ASCII needs the SMTPUTF8 parameter"}

	replyLoop          = reply{code: 554, enhanced: "5.4.6", text: "the message loops: it has passed more than 100 servers"}
	replyBareCR        = replyBadContent("a line holds a bare CR, lines end in CR LF")
	replyNoSpace       = reply{code: 452, enhanced: "4.3.1", text: "out of storage, try again later"}
	replyUnavailable   = reply{code: 451, enhanced: "4.3.0", text: "not possible right now, try again later"}
	replyUndeliverable = reply{code: 554, enhanced: "5.3.0", text: "the message can't be delivered"}
	replyNoAnswer      = reply{code: 451, enhanced: "4.4.1", text: "no reply in time, try again later"}
)

// contentRefusals holds the replies for the errors of receive.
var contentRefusals = map[error]reply{
	errBareCR:      replyBareCR,
	errNUL:         replyBadContent("the message holds a NUL byte"),
	errAbandoned:   {code: 451, enhanced: "4.4.0", text: "the client abandoned the message"},
	errHeaderSize:  {code: 552, enhanced: "5.3.4", text: fmt.Sprintf("the header is larger than %d bytes", maxHeader)},
	errLineTooLong: replyBadContent(fmt.Sprintf("a line is longer than %d bytes", maxLine)),
}

// replySuspended refuses a message of a user that may not send. X.7.13 is the code of a
// disabled account (RFC 5248 section 2.4). The basic code is that of MAIL and DATA:
// 525 is one of AUTH, which is not refused.
func replySuspended(e *credentials.SuspendedError) reply {
	what := "the user is suspended: "
	if e.Domain != "" {
		// A long name is cut, so that there is room for the longest reason.
		what = "the domain " + mailtext.OneLine(e.Domain, maxReplyText/3) + " is suspended: "
	}
	return reply{code: 550, enhanced: "5.7.13", text: what + e.Reason}
}

func replyBadContent(why string) reply {
	return reply{code: 550, enhanced: "5.6.0", text: why}
}

// replyTooLarge refuses a message for its size (RFC 1870 sections 6.1 and 6.3).
func (s *Server) replyTooLarge() reply {
	return reply{code: 552, enhanced: "5.3.4", text: fmt.Sprintf("the message is larger than %d bytes", s.maxMessageBytes())}
}

// replyTooSlow ends a connection whose client missed a deadline.
func replyTooSlow(what string) reply {
	return reply{code: 421, enhanced: "4.4.2", text: what}
}

// paramValues says what the value of a parameter must be.
var paramValues = map[string]string{
	"SIZE":       "SIZE takes a number of bytes",
	"BODY":       "BODY takes 7BIT or 8BITMIME",
	"SMTPUTF8":   "SMTPUTF8 takes no value",
	"REQUIRETLS": "REQUIRETLS takes no value",
	"RET":        "RET takes FULL or HDRS",
	"ENVID":      fmt.Sprintf("ENVID takes printable ASCII as xtext, at most %d characters", maxEnvelopeID),
	"NOTIFY":     "NOTIFY takes NEVER, or some of SUCCESS, FAILURE and DELAY",
	"ORCPT":      fmt.Sprintf("ORCPT takes type;address as xtext, at most %d characters", maxORCPT),
}

// replyBadParam refuses the value of a known parameter.
func replyBadParam(name string) reply {
	return reply{code: 501, enhanced: "5.5.4", text: paramValues[name]}
}

func (s *Server) replyTooManyRecipients() reply {
	return reply{code: 452, enhanced: "4.5.3", text: fmt.Sprintf("a message has at most %d recipients", s.maxRecipients())}
}

func replyAccepted(id string) reply {
	return reply{code: 250, enhanced: "2.0.0", text: "accepted as " + id}
}

// line returns the reply as it is sent, CRLF included.
func (r reply) line() string {
	return fmt.Sprintf("%d %s %s\r\n", r.code, r.enhanced, mailtext.OneLine(r.text, maxReplyText))
}

// smtp returns the reply as an error for go-smtp.
func (r reply) smtp() *smtp.SMTPError {
	e := &smtp.SMTPError{Code: r.code, EnhancedCode: smtp.EnhancedCode{r.code / 100, 0, 0}, Message: mailtext.OneLine(r.text, maxReplyText)}
	fmt.Sscanf(r.enhanced, "%d.%d.%d", &e.EnhancedCode[0], &e.EnhancedCode[1], &e.EnhancedCode[2])
	return e
}

// err returns the reply as an error for a caller of Submit.
func (r reply) err() *ReplyError {
	return &ReplyError{Code: r.code, Enhanced: r.enhanced, Text: mailtext.OneLine(r.text, maxReplyText)}
}

// replyFor returns the reply for an error of a Forwarder or a policy function.
func replyFor(err error) reply {
	var refused *RefusedError
	if errors.As(err, &refused) && len(refused.Recipients) > 0 {
		return replyRefused(refused)
	}
	var re *ReplyError
	var taken *TakenError
	switch {
	case errors.As(err, &taken):
		return replyBadContent(fmt.Sprintf("the key was used for another message, %s; give every message a key of its own", mailtext.OneLine(taken.ID, 64)))
	case errors.As(err, &re) && re.isRefusal():
		return reply{code: re.Code, enhanced: enhancedOf(re), text: re.Text}
	case isTimeout(err):
		return replyNoAnswer
	case !Temporary(err):
		return replyUndeliverable
	}
	return replyUnavailable
}

// isRefusal reports whether the error has a reply that a client can be sent.
func (e *ReplyError) isRefusal() bool { return e.Code >= 400 && e.Code <= 599 }

// replyRefused returns the reply for the whole message. It names a recipient that is
// refused for good, if there is one: the same message will never be accepted then.
func replyRefused(e *RefusedError) reply {
	worst := e.Recipients[0]
	for _, r := range e.Recipients {
		if !Temporary(r.Err) {
			worst = r
			break
		}
	}
	r := replyFor(worst.Err)
	more := ""
	if n := len(e.Recipients) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	r.text = fmt.Sprintf("<%s>%s: %s", worst.Address, more, r.text)
	r.field, r.blamed = FieldRcptTo, e
	return r
}

// enhancedOf returns the enhanced code of the error. If that does not agree with the
// error's code, it returns the general code of the class (RFC 3463 section 2).
func enhancedOf(e *ReplyError) string {
	if mailtext.IsEnhancedCode(e.Enhanced, e.Code) {
		return e.Enhanced
	}
	return strconv.Itoa(e.Code/100) + ".0.0"
}

// maxReplyText is the longest text of a reply. A reply line has at most 512 bytes
// (RFC 5321 section 4.5.3.1.5).
const maxReplyText = 400
