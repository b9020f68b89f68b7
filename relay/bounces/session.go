package bounces

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// A session is one connection of a client.
type session struct {
	srv     *Server
	c       *smtp.Conn
	to      string
	refused int
}

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{srv: s, c: c}, nil
}

// Mail accepts any sender: reports come from the null reverse-path, but not all of
// them.
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt accepts the addresses of the Receiver.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.srv.Receiver.Accepts(to) {
		s.to = to
		return nil
	}
	s.srv.refusedRecipients.Add(1)
	if s.refused++; s.refused >= maxRefused {
		s.stop()
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "Too many unknown recipients"}
	}
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such address here"}
}

// stop ends the connection after the reply.
func (s *session) stop() {
	nc := s.c.Conn()
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if c, ok := nc.(*conn); ok {
		c.stop()
	}
}

// Data gives the message to the Receiver.
func (s *session) Data(r io.Reader) error {
	content := bytes.NewBufferString(s.received())
	if _, err := io.CopyN(content, r, maxReport); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the reply comes after the whole message
		return err
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, receiveTime)
	defer cancel()
	err := s.srv.Receiver.Receive(ctx, s.to, content)
	if err == nil {
		return nil
	}
	reply := replyTo(err)
	if reply.Temporary() {
		s.srv.logger().Error("bounces: a report can't be taken now, the other server is asked to send it again", "remote", s.remote(), "to", s.to, "error", err)
	} else {
		s.srv.logger().Info("bounces: a message was refused", "remote", s.remote(), "to", s.to, "error", err)
	}
	return reply
}

// replyTo returns the reply to a message that the Receiver did not take.
func replyTo(err error) *smtp.SMTPError {
	var reply *relay.ReplyError
	if errors.As(err, &reply) && reply.Code/100 == 5 {
		return &smtp.SMTPError{Code: reply.Code, EnhancedCode: enhanced(reply), Message: mailtext.OneLine(reply.Text, maxText)}
	}
	if !relay.Temporary(err) {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 3, 0}, Message: "The message cannot be taken"}
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try again later"}
}

// enhanced returns the enhanced code of a reply, or X.0.0.
func enhanced(reply *relay.ReplyError) smtp.EnhancedCode {
	code := smtp.EnhancedCode{reply.Code / 100, 0, 0}
	if mailtext.IsEnhancedCode(reply.Enhanced, reply.Code) {
		for i, part := range strings.Split(reply.Enhanced, ".") {
			code[i], _ = strconv.Atoi(part) // it has digits only
		}
	}
	return code
}

// received returns the field that says how the message came here (RFC 5321 section
// 4.4).
func (s *session) received() string {
	with := "ESMTP"
	if _, ok := s.c.TLSConnectionState(); ok {
		with = "ESMTPS"
	}
	helo := mailtext.OneLine(strings.Map(helloText, s.c.Hostname()), 255)
	return fmt.Sprintf("Received: from %s ([%s])\r\n\tby %s with %s id %s;\r\n\t%s\r\n",
		helo, s.remote(), s.srv.Hostname, with, relay.NewID(), time.Now().UTC().Format(time.RFC1123Z))
}

// helloText replaces what a field must not have in the name that a client gives.
func helloText(r rune) rune {
	if r <= ' ' || r > '~' || strings.ContainsRune(`();<>"\`, r) {
		return '?'
	}
	return r
}

// remote returns the address of the client.
func (s *session) remote() string {
	host, _, _ := net.SplitHostPort(s.c.Conn().RemoteAddr().String())
	if strings.Contains(host, ":") {
		return "IPv6:" + host
	}
	return host
}

// Reset forgets the transaction.
func (s *session) Reset() { s.to = "" }

// Logout does nothing.
func (s *session) Logout() error { return nil }
