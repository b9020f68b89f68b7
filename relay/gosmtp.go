package relay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// This file adapts go-smtp, which checks the order of commands and runs AUTH, DATA
// and BDAT. conn gives it one command at a time, in a fixed form without the text of
// the client, and the session parses the arguments of MAIL and RCPT. So the set of
// go-smtp's replies is known, and this file replaces each of them.

// newSMTP returns the go-smtp server. Limits and timeouts are the relay's, except
// for the size of a message sent with BDAT.
func (s *Server) newSMTP() *smtp.Server {
	srv := smtp.NewServer(smtp.BackendFunc(s.newSession))
	srv.Domain = s.host
	srv.MaxMessageBytes = s.maxMessageBytes()
	srv.MaxLineLength = 0
	srv.AllowInsecureAuth = true // it does not know whether there is TLS
	srv.ErrorLog = smtpLog{s.logger()}
	return srv
}

// A handoff is the listener on which go-smtp accepts the connections that the
// server has accepted.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handoff) Addr() net.Addr { return &net.TCPAddr{} }

// smtpLog logs what go-smtp reports: errors of single connections, and panics in
// the methods of a session.
type smtpLog struct{ l *slog.Logger }

func (g smtpLog) Printf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	level := slog.LevelDebug
	if strings.HasPrefix(msg, "panic") {
		level = slog.LevelError
	}
	g.l.Log(context.Background(), level, "relay: "+strings.TrimSpace(msg))
}

func (g smtpLog) Println(v ...any) { g.Printf("%s", fmt.Sprintln(v...)) }

// maxCommand is the longest command line, CRLF included. RFC 4954 section 4 wants
// 12,288 bytes for AUTH.
const maxCommand = 12 << 10

// nextCommand removes the next command line from c.in and returns it without its
// CRLF. It reports false if the line is not complete. A line with a bare LF ends the
// connection: servers and clients that disagree on the end of a line disagree on
// which text is a command (SMTP smuggling).
func (c *conn) nextCommand() (line []byte, ok bool, final reply) {
	b := c.in.Bytes()
	end := bytes.IndexByte(b, '\n')
	switch {
	case end == 0 || end > 0 && b[end-1] != '\r':
		return nil, false, replyBareLF
	case end > maxLine || end < 0 && len(b) > maxLine:
		return nil, false, replyLongLine
	case end < 0:
		return nil, false, reply{}
	}
	return c.in.Next(end + 1)[:end-1], true, reply{}
}

// translate returns the command that go-smtp is given for a line of the client, or
// the final reply with which the connection ends.
func (c *conn) translate(line []byte) (command string, final reply) {
	if len(line)+len("\r\n") > maxCommand {
		c.instead = fmt.Sprintf("500 5.5.2 the line is longer than %d bytes", maxCommand)
		if c.challenged {
			return "*\r\n", reply{} // cancels AUTH
		}
		return unknownCommand, reply{}
	}
	if c.challenged { // the line is a response of AUTH (RFC 4954 section 4)
		return string(line) + "\r\n", reply{}
	}
	verb, arg, hasArg := strings.Cut(string(bytes.TrimRight(line, " \t")), " ")
	verb, c.arg = strings.ToUpper(verb), strings.TrimLeft(arg, " \t")
	switch verb {
	case "MAIL":
		return "MAIL FROM:<>\r\n", reply{}
	case "RCPT":
		return "RCPT TO:<a@a>\r\n", reply{}
	case "BDAT":
		return c.translateBDAT()
	case "AUTH":
		return strings.TrimSpace("AUTH "+c.arg) + "\r\n", reply{}
	case "EHLO", "HELO", "DATA", "STARTTLS":
		if hasArg {
			return verb + " x\r\n", reply{}
		}
		return verb + "\r\n", reply{}
	case "RSET", "NOOP", "QUIT", "VRFY":
		return verb + "\r\n", reply{}
	case "SEND", "SOML", "SAML", "EXPN", "HELP", "TURN":
		return "HELP\r\n", reply{}
	}
	return unknownCommand, reply{}
}

// unknownCommand is one that go-smtp does not know. After four of them it ends the
// connection.
const unknownCommand = "XXXX\r\n"

// translateBDAT is translate for BDAT (RFC 3030 section 2). The chunk that follows
// must never be taken for commands. If its size is unknown or far beyond the limit,
// the connection ends.
func (c *conn) translateBDAT() (command string, final reply) {
	words := strings.Fields(c.arg)
	last := len(words) == 2 && strings.EqualFold(words[1], "LAST")
	if len(words) != 1 && !last {
		return "", replyBadBDAT
	}
	size, ok := parseSize(words[0])
	switch {
	case !ok:
		return "", replyBadBDAT
	case size > min(maxSkipped(c.srv.maxMessageBytes()), math.MaxUint32): // go-smtp reads no larger number
		return "", c.srv.replyTooLarge()
	}
	c.chunk = size
	command = "BDAT " + strconv.FormatInt(size, 10)
	if last {
		command += " LAST"
	}
	return command + "\r\n", reply{}
}

// replies holds what go-smtp answers to the commands of translate, and what the
// client is sent instead: RFC 5321 section 4.1.4 for commands out of order (503),
// 3.8 before the connection is closed (421), RFC 4954 section 4 for AUTH, RFC 3463
// for enhanced codes. TestReplies finds those that are missing.
var replies = map[string]string{
	"421 4.0.0 Internal server error":                      "421 4.3.0 not possible right now, try again later",
	"500 5.5.2 Syntax errors, XXXX command unrecognized":   "500 5.5.2 command not recognized",
	"500 5.5.1 Too many errors. Quiting now":               "421 4.7.0 too many errors",
	"502 5.5.1 HELP command not implemented":               "502 5.5.1 command not implemented",
	"501 5.5.2 Domain/address argument required for HELO":  "501 5.5.4 name the client: EHLO name",
	"502 5.5.1 Please introduce yourself first.":           "503 5.5.1 say EHLO first",
	"502 5.5.1 TLS not supported":                          "503 5.5.1 STARTTLS is not possible now",
	"252 2.5.0 Cannot VRFY user, but will accept message":  "252 2.5.0 addresses are not verified, send the message",
	"250 2.0.0 I have successfully done nothing":           "250 2.0.0 ok",
	"250 2.0.0 Session reset":                              "250 2.0.0 ok",
	"221 2.0.0 Bye":                                        "221 2.0.0 closing the connection",
	"502 5.5.4 Missing parameter":                          "501 5.5.4 name a mechanism: AUTH PLAIN or AUTH LOGIN",
	"503 5.5.1 Already authenticated":                      "503 5.5.1 the client is logged in already",
	"454 4.7.0 Invalid base64 data":                        "501 5.5.2 invalid base64",
	"501 5.0.0 Negotiation cancelled":                      "501 5.7.0 the client canceled the login",
	"235 2.0.0 Authentication succeeded":                   "235 2.7.0 logged in",
	"502 5.5.1 MAIL not allowed during message transfer":   "503 5.5.1 a message is in progress, use RSET to abandon it",
	"250 2.0.0 Roger, accepting mail from <>":              "250 2.1.0 sender accepted",
	"502 5.5.1 Missing MAIL FROM command.":                 "503 5.5.1 MAIL comes first",
	"502 5.5.1 RCPT not allowed during message transfer":   "503 5.5.1 recipients come before the data",
	"250 2.0.0 I'll make sure <a@a> gets this":             "250 2.1.5 recipient accepted",
	"501 5.5.4 DATA command should not have any arguments": "501 5.5.4 DATA takes no argument",
	"502 5.5.1 DATA not allowed during message transfer":   "503 5.5.1 a message that began with BDAT ends with it",
	"502 5.5.1 Missing RCPT TO command.":                   "503 5.5.1 no recipient was accepted",
	"354 Go ahead. End your data with <CR><LF>.<CR><LF>":   "354 end the data with <CR><LF>.<CR><LF>",
	"250 2.0.0 Continue":                                   "250 2.0.0 chunk received",
}

// Replies of go-smtp that mean more to conn than their text.
const (
	chunkReceived = "250 2.0.0 Continue"
	chunkTooLarge = "552 5.3.4 Max message size exceeded"
)

// appendReply appends the reply for a reply line of go-smtp to dst, CRLF included.
func (c *conn) appendReply(dst []byte, line string) []byte {
	ours, found := replies[line]
	switch {
	case c.instead != "":
		line, c.instead = c.instead, ""
	case found:
		line = ours
	case c.cmd.verb == "EHLO" && strings.HasPrefix(line, "250-"):
		return dst // appendExtensions has all of them
	case c.cmd.verb == "EHLO" && strings.HasPrefix(line, "250 "):
		return c.appendExtensions(dst)
	case c.cmd.verb == "HELO" && strings.HasPrefix(line, "250 "): // no enhanced code: RFC 2034 section 4
		line = "250 " + c.srv.host
	case c.cmd.verb == "" && strings.HasPrefix(line, "220 "):
		line = "220 " + c.srv.host + " ESMTP ready"
	case line == chunkTooLarge:
		return append(dst, c.srv.replyTooLarge().line()...)
	}
	return append(append(dst, line...), "\r\n"...)
}

// appendExtensions appends the reply to EHLO (RFC 5321 section 4.1.1.1).
func (c *conn) appendExtensions(dst []byte) []byte {
	s := c.srv
	for _, e := range []struct {
		offered bool
		text    string
	}{
		{true, s.host},
		{true, "PIPELINING"},
		{!c.secure && s.tls != nil, "STARTTLS"},
		{c.secure, "REQUIRETLS"},
		{true, "8BITMIME"},
		{true, "ENHANCEDSTATUSCODES"},
		{true, "CHUNKING"},
		{c.secure || s.InsecureAuth, "AUTH PLAIN LOGIN"},
		{true, "SMTPUTF8"},
		{true, "DSN"},
		{true, "SIZE " + strconv.FormatInt(s.maxMessageBytes(), 10)},
	} {
		if e.offered {
			dst = append(append(append(dst, "250-"...), e.text...), "\r\n"...)
		}
	}
	// RFC 9422 section 4 allows six digits.
	return fmt.Appendf(dst, "250 LIMITS RCPTMAX=%d\r\n", min(s.maxRecipients(), 999_999))
}
