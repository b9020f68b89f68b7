package relay

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// This file makes an event of every reply that refuses something. A session
// reports its own refusals, because it knows more about them. Refusals by go-smtp
// and by the conn are reported here, when the reply is written.

// A record is what the events of one connection share. STARTTLS makes two conns of
// a connection, which have one record.
type record struct {
	mu    sync.Mutex
	ses   *session // nil before the first EHLO
	end   SessionEnded
	ended bool // SessionEnded was emitted
}

// A command is the last command that go-smtp was given. Its fields belong to the
// goroutine that serves the connection.
type command struct {
	verb      string // one of verbs, or "" for another command
	mechanism string // of AUTH: "PLAIN", "LOGIN" or ""
	username  string // of AUTH before TLS, if the client sent it along
}

var verbs = []string{
	"MAIL", "RCPT", "DATA", "BDAT", "AUTH", "EHLO", "HELO", "RSET", "NOOP", "QUIT", "STARTTLS", "VRFY", "EXPN", "HELP",
}

// newCommand takes note of a command line. Of AUTH it never keeps the response,
// which may hold the password.
func (c *conn) newCommand(line []byte) {
	verb, rest := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t\r\n"); i >= 0 {
		verb, rest = line[:i], line[i:]
	}
	c.cmd, c.arg = command{}, ""
	for _, v := range verbs {
		if len(v) == len(verb) && bytes.EqualFold(verb, []byte(v)) {
			c.cmd.verb = v
		}
	}
	if c.cmd.verb == "AUTH" {
		c.cmd.mechanism, c.cmd.username = authOf(rest, c.secure)
	}
	c.rec.mu.Lock()
	c.rec.end.Commands++
	c.rec.mu.Unlock()
}

// pathOf returns the address in the argument of MAIL or RCPT, made printable. The
// argument need not be well-formed.
func pathOf(arg string) string {
	if _, path, ok := strings.Cut(arg, ":"); ok {
		arg = path
	}
	arg = strings.TrimSpace(arg)
	if end := strings.LastIndexByte(arg, '>'); end >= 0 && arg[0] == '<' {
		arg = arg[1:end]
	} else if end := strings.IndexByte(arg, ' '); end >= 0 {
		arg = arg[:end]
	}
	return printablePath(arg)
}

// printablePath returns an address, which need not be well-formed, for an event.
func printablePath(addr string) string { return mailtext.OneLine(addr[:min(len(addr), 300)], 254) }

// authOf returns the mechanism in the argument of AUTH. Without TLS, where AUTH is
// refused, it also returns the username for the event.
func authOf(arg []byte, secure bool) (mechanism, username string) {
	words := strings.Fields(string(arg))
	if len(words) > 0 {
		switch m := strings.ToUpper(words[0]); m {
		case "PLAIN", "LOGIN":
			mechanism = m
		}
	}
	if secure || len(words) < 2 {
		return mechanism, ""
	}
	response, err := base64.StdEncoding.DecodeString(words[1])
	parts := strings.Split(string(response), "\x00")
	switch {
	case err != nil:
	case mechanism == "LOGIN":
		username = printableUsername(string(response))
	case mechanism == "PLAIN" && len(parts) == 3:
		username = printableUsername(parts[1])
	}
	return mechanism, username
}

// replied looks at a reply line that goes to the client.
func (c *conn) replied(line []byte) {
	reported := c.reported.Swap(false)
	switch {
	case bytes.HasPrefix(line, []byte("221 ")), bytes.HasPrefix(line, []byte("421 ")):
		code, _, text := splitReply(line)
		c.rec.endedBy(code, text)
	}
	if (line[0] == '4' || line[0] == '5') && !reported {
		if e := c.refusal(splitReply(line)); e != nil {
			c.emit(e)
		}
	}
}

// splitReply returns the code, the enhanced code and the text of a reply line.
func splitReply(line []byte) (code int, enhanced, text string) {
	head, text, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	code, _ = strconv.Atoi(head)
	if first, rest, ok := strings.Cut(text, " "); ok && strings.Count(first, ".") == 2 {
		return code, first, rest
	}
	return code, "", text
}

// refusal makes an event of a reply to the last command.
func (c *conn) refusal(code int, enhanced, text string) Event {
	client := c.client()
	c.mu.Lock()
	tx := c.tx
	c.mu.Unlock()
	m := &MessageRefused{Client: client, Code: code, Enhanced: enhanced, Reason: text}
	if tx != nil {
		m.From, m.Size = tx.from, tx.size
	}
	switch c.cmd.verb {
	case "AUTH":
		return &LoginRefused{Client: client, Username: c.cmd.username, Mechanism: c.cmd.mechanism, Cause: causeOf(code), Code: code, Enhanced: enhanced, Reason: text}
	case "MAIL":
		m.Field, m.From = FieldMailFrom, pathOf(c.arg)
		return m
	case "RCPT":
		m.Field, m.To = FieldRcptTo, []string{pathOf(c.arg)}
		return m
	case "DATA", "BDAT":
		m.Field = FieldData
		if tx != nil {
			m.To = tx.addresses()
		}
		return m
	case "":
		text = "command not recognized" // the reply may repeat what the client sent
	}
	if code == 421 {
		return nil // SessionEnded says so
	}
	return &CommandRefused{Client: client, Command: c.cmd.verb, Code: code, Enhanced: enhanced, Reason: text}
}

// causeOf returns the cause of a refusal of AUTH that no session decided.
func causeOf(code int) LoginCause {
	switch code {
	case replyAuthNeedsTLS.code:
		return CauseNoTLS
	case replyTooManyTries.code, replyLoginUnavailable.code:
		return CauseUnavailable
	}
	return CauseProtocol
}

// client describes the connection, to an event.
func (c *conn) client() Client {
	c.rec.mu.Lock()
	ses := c.rec.ses
	c.rec.mu.Unlock()
	id := credentials.Identity{}
	if ses != nil {
		id = ses.user()
	}
	return Client{Session: c.id, Remote: c.remote, Identity: id}
}

// emit counts an event and emits it.
func (c *conn) emit(e Event) {
	c.rec.mu.Lock()
	switch e.(type) {
	case *LoginRefused:
		c.rec.end.LoginsRefused++
	case *MessageAccepted:
		c.rec.end.Accepted++
	case *MessageRefused:
		c.rec.end.Refused++
	}
	c.rec.mu.Unlock()
	c.srv.emit(e)
}

// endedBy takes note of the reply that ends the connection. The first one counts.
func (r *record) endedBy(code int, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end.Reason == "" {
		r.end.Code, r.end.Reason = code, text
	}
}

// sessionEnded emits the last event of the connection, once. For a connection that
// was refused that is ConnRefused, which was emitted before.
func (c *conn) sessionEnded() {
	c.rec.mu.Lock()
	e, again := c.rec.end, c.rec.ended || c.refused
	c.rec.ended = true
	c.rec.mu.Unlock()
	if again {
		return
	}
	if e.Reason == "" {
		e.Reason = "the server closed the connection"
	}
	e.Client, e.TLS, e.Duration = c.client(), c.tlsVersion(), time.Since(c.accepted)
	c.srv.emit(&e)
}

// handshakeFailed takes note that the connection ends for want of TLS.
func (r *record) handshakeFailed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end.Code, r.end.Reason = 0, "the TLS handshake failed"
}

// lost takes note of the error that ends the connection.
func (r *record) lost(err error) {
	reason := "the connection was lost"
	switch {
	case err == io.EOF:
		reason = "the client closed the connection"
	case errors.Is(err, net.ErrClosed):
		reason = "the server was closed"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end.Reason == "" {
		r.end.Reason = reason
	}
}
