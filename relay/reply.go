package relay

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// This file is the only one that turns anything into words for a client.
// Nothing else of an error's text reaches the wire.

// A reply is an SMTP reply with its enhanced status code (RFC 3463). The zero
// reply means that there is nothing to refuse.
type reply struct {
	code     int
	enhanced string
	text     string
	field    Field         // what was refused, if it is known better than by the command
	blamed   *RefusedError // names the recipients, if field is that
}

var (
	replyTLSFirst     = reply{code: 530, enhanced: "5.7.0", text: "use STARTTLS first"}
	replyLoginFirst   = reply{code: 530, enhanced: "5.7.0", text: "log in first"}
	replyRequireTLS   = reply{code: 530, enhanced: "5.7.10", text: "REQUIRETLS is for TLS connections"}
	replyAuthNeedsTLS = reply{code: 538, enhanced: "5.7.11", text: "use STARTTLS before AUTH"}
	replyAuthInMail   = reply{code: 503, enhanced: "5.5.1", text: "AUTH is not for the middle of a message"}
	replyNoMechanism  = reply{code: 504, enhanced: "5.5.4", text: "use AUTH PLAIN or AUTH LOGIN"}
	replyBadAuth      = reply{code: 501, enhanced: "5.5.2", text: "malformed AUTH response"}
	replyDenied       = reply{code: 535, enhanced: "5.7.8", text: "username or password is wrong"}
	replyLoginBusy    = reply{code: 454, enhanced: "4.7.0", text: "too many logins at once, try again later"}
	replyLoginTrouble = reply{code: 454, enhanced: "4.7.0", text: "login is not possible right now, try again later"}
	replyTooManyTries = reply{code: 421, enhanced: "4.7.0", text: "too many failed logins"}

	replyRevoked  = reply{code: 421, enhanced: "4.7.0", text: "the password was reset or the user deleted, log in again"}
	replyShutdown = reply{code: 421, enhanced: "4.3.2", text: "closing the connection, try again later"}
	replyTooMany  = reply{code: 421, enhanced: "4.7.0", text: "too many connections, try again later"}
	replyPanic    = reply{code: 421, enhanced: "4.3.0", text: "not possible right now, try again later"}
	replyLongLine = reply{code: 421, enhanced: "4.5.2", text: "the line is too long"}
	replyCutShort = reply{code: 421, enhanced: "4.4.2", text: "the connection broke before the message was complete"}

	replyAfterStartTLS = reply{code: 421, enhanced: "4.7.0", text: "nothing may follow STARTTLS before the TLS handshake"}
	replyTooManyOfUser = reply{code: 421, enhanced: "4.7.0", text: "too many connections of this user, try again later"}

	replyTooManyFromAddr = reply{code: 421, enhanced: "4.7.0", text: "too many connections from your address, try again later"}

	replyNested       = reply{code: 503, enhanced: "5.5.1", text: "a message is in progress, use RSET to abandon it"}
	replyBadSender    = reply{code: 501, enhanced: "5.1.7", text: "malformed sender address"}
	replyBadRecipient = reply{code: 501, enhanced: "5.1.3", text: "malformed recipient address"}
	replyNeedsUTF8    = reply{code: 553, enhanced: "5.6.7", text: "an address beyond ASCII needs the SMTPUTF8 parameter"}

	replyLoop     = reply{code: 554, enhanced: "5.4.6", text: "the message loops: it has passed more than 100 servers"}
	replyBareCR   = replyBadContent("a line holds a bare CR, lines end in CR LF")
	replyNoSpace  = reply{code: 452, enhanced: "4.3.1", text: "out of storage, try again later"}
	replyTrouble  = reply{code: 451, enhanced: "4.3.0", text: "not possible right now, try again later"}
	replyGivenUp  = reply{code: 554, enhanced: "5.3.0", text: "the message can't be delivered"}
	replyNoAnswer = reply{code: 451, enhanced: "4.4.1", text: "no answer in time, try again later"}
)

// contentRefusals says what is wrong with a content that receive gave up on.
var contentRefusals = map[error]reply{
	errBareCR:      replyBareCR,
	errNUL:         replyBadContent("the message holds a NUL byte"),
	errAbandoned:   {code: 451, enhanced: "4.4.0", text: "the client abandoned the message"},
	errHeaderSize:  {code: 552, enhanced: "5.3.4", text: fmt.Sprintf("the header is larger than %d bytes", maxHeader)},
	errLineTooLong: replyBadContent(fmt.Sprintf("a line is longer than %d bytes", maxLine)),
}

func replyBadContent(why string) reply {
	return reply{code: 550, enhanced: "5.6.0", text: why}
}

// replyTooLarge is as RFC 1870 section 6.1 and 6.3 want it.
func (s *Server) replyTooLarge() reply {
	return reply{code: 552, enhanced: "5.3.4", text: fmt.Sprintf("the message is larger than %d bytes", s.maxMessageBytes())}
}

// replyTooSlow ends a connection whose client missed a deadline.
func replyTooSlow(what string) reply {
	return reply{code: 421, enhanced: "4.4.2", text: what}
}

func replyAccepted(id string) reply {
	return reply{code: 250, enhanced: "2.0.0", text: "accepted as " + id}
}

// line is the reply as it goes over the wire.
func (r reply) line() string {
	return fmt.Sprintf("%d %s %s\r\n", r.code, r.enhanced, mailtext.OneLine(r.text, maxReplyText))
}

// smtp is the reply as go-smtp wants it.
func (r reply) smtp() *smtp.SMTPError {
	e := &smtp.SMTPError{Code: r.code, EnhancedCode: smtp.EnhancedCode{r.code / 100, 0, 0}, Message: mailtext.OneLine(r.text, maxReplyText)}
	fmt.Sscanf(r.enhanced, "%d.%d.%d", &e.EnhancedCode[0], &e.EnhancedCode[1], &e.EnhancedCode[2])
	return e
}

// replyFor makes a reply of an error of a Forwarder or a policy function.
func replyFor(err error) reply {
	var refused *RefusedError
	if errors.As(err, &refused) && len(refused.Recipients) > 0 {
		return replyRefused(refused)
	}
	var re *ReplyError
	switch {
	case errors.As(err, &re) && re.isRefusal():
		return reply{code: re.Code, enhanced: enhancedOf(re), text: re.Text}
	case isTimeout(err):
		return replyNoAnswer
	case !Temporary(err):
		return replyGivenUp
	}
	return replyTrouble
}

// isRefusal reports whether the error has a reply for the client.
func (e *ReplyError) isRefusal() bool { return e.Code >= 400 && e.Code <= 599 }

// replyRefused answers for the whole message. One recipient that is refused for
// good means that the same message will never be taken, so that is said first.
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

// enhancedOf returns the error's enhanced code if it agrees with its code, and
// otherwise the general one of the code's class (RFC 3463 section 2).
func enhancedOf(e *ReplyError) string {
	if mailtext.IsEnhancedCode(e.Enhanced, e.Code) {
		return e.Enhanced
	}
	return strconv.Itoa(e.Code/100) + ".0.0"
}

// A reply line has 512 bytes at most (RFC 5321 section 4.5.3.1.5).
const (
	maxReplyLine = 510 // without CRLF
	maxReplyText = 400
)

// corrections are replies of go-smtp that say the wrong thing, and what is to be
// said instead: RFC 5321 sections 4.1.4 and 4.2.4 for commands out of order
// (503), 4.1.1.11 for unknown parameters (555), 3.8 before closing (421), RFC
// 4954 section 4 for AUTH.
var corrections = map[string]string{
	"502 5.5.1 Please introduce yourself first.":                "503 5.5.1 say EHLO first",
	"502 5.5.1 Missing MAIL FROM command.":                      "503 5.5.1 MAIL comes first",
	"502 5.5.1 Missing RCPT TO command.":                        "503 5.5.1 no recipient was accepted",
	"502 5.5.1 MAIL not allowed during message transfer":        "503 5.5.1 a message is in progress, use RSET to abandon it",
	"502 5.5.1 RCPT not allowed during message transfer":        "503 5.5.1 recipients come before the data",
	"502 5.5.1 DATA not allowed during message transfer":        "503 5.5.1 a message that began with BDAT ends with it",
	"502 5.5.1 TLS not supported":                               "503 5.5.1 STARTTLS is not possible now",
	"502 5.5.4 Missing parameter":                               "501 5.5.4 name a mechanism: AUTH PLAIN or AUTH LOGIN",
	"454 4.7.0 Invalid base64 data":                             "501 5.5.2 invalid base64",
	"500 5.5.4 Unknown MAIL FROM argument":                      "555 5.5.4 unknown MAIL parameter",
	"500 5.5.4 Unknown RCPT TO argument":                        "555 5.5.4 unknown RCPT parameter",
	"500 5.5.4 Malformed AUTH parameter value":                  "501 5.5.4 malformed AUTH parameter",
	"500 5.5.4 Malformed AUTH parameter mailbox":                "501 5.5.4 malformed AUTH parameter",
	"501 5.5.2 Was expecting MAIL arg syntax of FROM:<address>": "501 5.1.7 malformed sender, use MAIL FROM:<address>",
	"501 5.5.2 Was expecting RCPT arg syntax of TO:<address>":   "501 5.1.3 malformed recipient, use RCPT TO:<address>",
	"501 5.5.2 Bad command":                                     "500 5.5.2 command not recognized",
	"500 5.5.1 Too many errors. Quiting now":                    "421 4.7.0 too many errors",
	"501 5.5.4 Missing chunk size argument":                     lostInChunks,
	"501 5.5.4 Malformed size argument":                         lostInChunks,
	"501 5.5.4 Unknown BDAT argument":                           lostInChunks,
	"501 5.5.4 Too many arguments":                              lostInChunks,
	"235 2.0.0 Authentication succeeded":                        "235 2.7.0 logged in",
	"354 Go ahead. End your data with <CR><LF>.<CR><LF>":        "354 end the data with <CR><LF>.<CR><LF>",
}

// lostInChunks ends the connection: the data that follows such a BDAT must not
// be taken for commands.
const lostInChunks = "421 4.5.4 malformed BDAT, use BDAT size or BDAT size LAST"

// appendReply appends a reply line of go-smtp to dst, corrected and completed,
// and with nothing in it that isn't printable: go-smtp repeats what it was sent.
func (c *conn) appendReply(dst, p []byte) []byte {
	line := bytes.TrimSuffix(p, []byte("\r\n"))
	right, wrong := corrections[string(line)]
	switch {
	case bytes.HasPrefix(line, []byte("250-Hello ")): // to EHLO, RFC 5321 section 4.1.1.1
		right, wrong = "250-"+c.srv.host, true
	case bytes.HasPrefix(line, []byte("250 2.0.0 Hello ")): // to HELO, RFC 2034 section 4
		right, wrong = "250 "+c.srv.host, true
	case c.huge && c.srv.maxMessageBytes() < 1<<32 && string(line) == "501 5.5.4 Unable to parse SIZE as an integer": // of more than 32 bits
		return append(dst, c.srv.replyTooLarge().line()...)
	}
	if wrong {
		return append(append(dst, right...), "\r\n"...)
	}
	for _, b := range line[:min(len(line), maxReplyLine)] {
		if b < ' ' || b > '~' {
			b = '?'
		}
		dst = append(dst, b)
	}
	switch {
	case bytes.HasPrefix(line, []byte("250-PIPELINING")) && !c.secure && c.srv.tls != nil:
		dst = append(dst, "\r\n250-STARTTLS"...)
	case bytes.HasPrefix(line, []byte("250-PIPELINING")) && c.secure:
		dst = append(dst, "\r\n250-REQUIRETLS"...)
	case bytes.Equal(line, []byte("250-SIZE")):
		dst = strconv.AppendInt(append(dst, ' '), c.srv.maxMessageBytes(), 10)
	}
	return append(dst, "\r\n"...)
}
