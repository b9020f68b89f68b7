package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A Submission is a message that the product itself sends, without a connection:
// see [Server.Submit].
type Submission struct {
	// Identity is the SMTP user in whose name the message is sent. It has to be
	// valid, as after a login; [credentials.IdentityOf] makes it. Required.
	Identity credentials.Identity

	// From is the envelope sender, without angle brackets. Empty is the null
	// reverse-path. To are the envelope recipients: at least one.
	From string
	To   []string

	// Options are the parameters that a client gives with MAIL. UTF8 is needed for
	// addresses beyond ASCII.
	Options Options

	// Content is the header and the body. Lines end in CRLF or LF. Submit reads it
	// to its end, or to the end of what a server reads of a message that is too
	// large. It is not dot-stuffed.
	Content io.Reader

	// Key, unless it is empty, names the submission as Server.KeyHeader does. It
	// goes before a field in Content. If the same Submission is repeated within a
	// day, Submit returns the ID of the first one.
	Key string

	// Remote is the address of the client that asked the product to send, for the
	// Received field, events and policy functions. The zero Addr means none.
	Remote netip.Addr
}

// Submit takes a message from the product itself, with the checks that a client gets
// which is logged in as sub.Identity: the exact domain, AllowUser, AllowSender,
// AllowRecipient, sizes, and whether the identity is still valid. The message is
// completed and forwarded as if it had come by SMTP, and makes the same events.
// Limits on connections, logins and time do not apply, nor does AllowLogin. Only the
// Received field tells the difference: it names no protocol.
//
// When Submit returns nil, the Forwarder has taken the message for all recipients,
// and id is its ID. With an error it was taken for none. The error is
//   - the [*ReplyError] that a client would get, such as 421 4.7.0 if the identity is
//     not valid any more. Where the text tells a client which command to write, the Text
//     names the field of the Submission instead. If ctx has ended, the error matches that
//     of ctx, too.
//   - a [*RefusedError], which names each recipient that is refused before the
//     message, with such a ReplyError
//   - an error of Content
//   - an error about the fields of the Server, as from Serve, or about an empty Identity
//   - [ErrServerClosed] after Shutdown or Close
//
// Submit needs no listener: the first call sets the Server up, which Shutdown or
// Close undoes. It may be called from many goroutines at once.
func (s *Server) Submit(ctx context.Context, sub Submission) (id string, err error) {
	s.start.Do(func() { s.startErr = s.setUp() })
	if s.startErr != nil {
		return "", s.startErr
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("relay: %w", err)
	}
	if sub.Identity == (credentials.Identity{}) {
		return "", errors.New("relay: Submission.Identity is required, see credentials.IdentityOf")
	}
	if !s.enter() {
		return "", ErrServerClosed
	}
	defer s.leave()
	calls, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	tx := &transaction{
		srv: s, ctx: calls, client: Client{Session: NewID(), Remote: sub.Remote.Unmap().WithZone(""), Identity: sub.Identity},
		emit: s.emit, started: time.Now(), key: sub.Key,
	}
	id, err = tx.take(&sub)
	if ended := ctx.Err(); err != nil && ended != nil {
		err = fmt.Errorf("%w (%w)", err, ended)
	}
	return id, err
}

// enter counts a call of Submit. It reports false if the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	s.closeEmpty()
}

// take does what the commands MAIL, RCPT and DATA do.
func (tx *transaction) take(sub *Submission) (id string, err error) {
	field, to := FieldMailFrom, []string(nil)
	defer func() {
		if p := recover(); p != nil {
			tx.srv.logPanic("Submit", p, slog.String("session", tx.client.Session))
			id, err = "", tx.refuseEarly(field, to, replyPanic)
		}
	}()
	if refusal := tx.mail(sub); refusal != (reply{}) {
		return "", tx.refuseEarly(FieldMailFrom, nil, refusal)
	}
	if err := tx.recipients(sub.To); err != nil {
		return "", err
	}
	field, to = FieldData, tx.addresses()
	in, refusal, err := tx.read(sub.Content)
	if in != nil {
		defer in.Close()
	}
	if err != nil {
		return "", err
	}
	if id, refusal = tx.finish(in, refusal); refusal != (reply{}) {
		return "", refusal.toCaller()
	}
	return id, nil
}

// read reads the content. It returns the reply that refuses it, or the error of r.
func (tx *transaction) read(r io.Reader) (*content, reply, error) {
	src := &source{r: r}
	in, err := receive(src, tx.srv.maxMessageBytes(), 0, &tx.srv.temp)
	switch {
	case src.err != nil:
		return in, reply{}, fmt.Errorf("relay: reading Submission.Content: %w", src.err)
	case err != nil:
		return in, tx.contentReply(err), nil
	}
	return in, reply{}, nil
}

// mail does what MAIL does.
func (tx *transaction) mail(sub *Submission) (refusal reply) {
	tx.from = printablePath(sub.From) // for the event of a refusal
	cmd := mailCommand{options: Options{UTF8: sub.Options.UTF8, RequireTLS: sub.Options.RequireTLS}}
	for _, p := range []param{
		{"BODY", sub.Options.Body, true}, {"RET", sub.Options.Return, true}, {"ENVID", encodeXtext(sub.Options.EnvelopeID), true},
	} {
		if p.value == "" {
			continue
		}
		if refusal := cmd.set(p); refusal != (reply{}) {
			return refusal
		}
	}
	if sub.From != "" {
		p, ok := wholePath(sub.From)
		if !ok || p.domain == "" {
			return replyBadMail
		}
		if cmd.from, refusal = p.address(cmd.options.UTF8, replyBadSender); refusal != (reply{}) {
			return refusal
		}
	}
	tx.from, tx.options = cmd.from, cmd.options
	return tx.open()
}

// recipients does what RCPT does for each address. It looks at all of them, so that
// the error names every one that is refused.
func (tx *transaction) recipients(to []string) error {
	refused := &RefusedError{}
	for _, addr := range to {
		if refusal := tx.recipient(addr); refusal != (reply{}) {
			err := tx.refuseEarly(FieldRcptTo, []string{printablePath(addr)}, refusal)
			refused.Recipients = append(refused.Recipients, RefusedRecipient{Address: addr, Err: err})
		}
	}
	switch {
	case len(refused.Recipients) > 0:
		return refused
	case len(tx.to) == 0:
		return tx.refuseEarly(FieldData, []string{}, replyNoRecipient)
	}
	return nil
}

func (tx *transaction) recipient(addr string) reply {
	p, ok := wholePath(addr)
	if p = p.ofRecipient(tx.srv.host); !ok || p.domain == "" {
		return replyBadRcpt
	}
	canonical, refusal := p.address(tx.options.UTF8, replyBadRecipient)
	if refusal != (reply{}) {
		return refusal
	}
	return tx.addRecipient(Recipient{Address: canonical})
}

// refuseEarly emits the event of a refusal before the data, and returns the error.
func (tx *transaction) refuseEarly(f Field, to []string, r reply) *ReplyError {
	tx.emit(&MessageRefused{Client: tx.client, From: tx.from, To: to, Field: f, Code: r.code, Enhanced: r.enhanced, Reason: r.err().Text})
	return r.toCaller()
}

// callerTexts are the texts for callers of Submit of replies that tell a client how to
// write a command.
var callerTexts = map[string]string{
	replyRevoked.text:           "the password was reset or the user deleted after Submission.Identity was made, make it again of the user as it is now",
	replyBadMail.text:           "Submission.From is not an address such as shop@acme.example",
	replyBadSender.text:         "Submission.From is not an address such as shop@acme.example",
	replyBadRcpt.text:           "the recipient is not an address such as bob@example.com",
	replyBadRecipient.text:      "the recipient is not an address such as bob@example.com",
	replyNoRecipient.text:       "Submission.To is empty",
	replyNeedsUTF8.text:         "an address beyond ASCII needs Submission.Options.UTF8",
	replyBadParam("BODY").text:  "Submission.Options.Body is not 7BIT or 8BITMIME",
	replyBadParam("RET").text:   "Submission.Options.Return is not FULL or HDRS",
	replyBadParam("ENVID").text: fmt.Sprintf("Submission.Options.EnvelopeID is not printable ASCII of at most %d characters as xtext", maxEnvelopeID),
}

// toCaller returns the reply as an error for a caller of Submit.
func (r reply) toCaller() *ReplyError {
	if text, ok := callerTexts[r.text]; ok {
		r.text = text
	}
	if text, ok := strings.CutPrefix(r.text, string(FieldMailFrom)+": "); ok {
		r.text = "Submission.From: " + text
	}
	if text, ok := strings.CutPrefix(r.text, string(FieldRcptTo)+": "); ok {
		r.text = "Submission.To: " + text
	}
	return r.err()
}

// A source reads a content and keeps the error that is the reader's own.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.r == nil {
		s.r = bytes.NewReader(nil)
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
