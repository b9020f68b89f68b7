package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// A transaction is the state of one message: from MAIL to the end of its data, or
// during a call of Submit.
type transaction struct {
	srv     *Server
	ctx     context.Context // of all calls
	client  Client          // who sends the message
	tls     string          // the TLS version, for policy functions
	with    string          // the protocol, for the Received line; empty for Submit
	emit    func(Event)
	revoked func() // is told that the login does not hold any more; nil for Submit

	validated time.Time // when the login was last found valid

	from        string
	to          []Recipient
	known       map[string]struct{} // the addresses in to
	options     Options
	size        int64 // as declared by the client, or 0
	started     time.Time
	bodyStarted time.Time
	refused     bool          // the client has been told so, before the end of the data
	took        time.Duration // how long the Forwarder took
	key         string        // of the Submission
	repeats     string        // the ID of the message that this one repeats

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

func (tx *transaction) context(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(tx.ctx, limit)
}

func (tx *transaction) logger() *slog.Logger {
	return tx.srv.logger().With("session", tx.client.Session)
}

// addresses returns the addresses of the recipients.
func (tx *transaction) addresses() []string {
	to := make([]string, len(tx.to))
	for i, r := range tx.to {
		to[i] = r.Address
	}
	return to
}

// recentlyValidated is how old the look-up for a session's last message may be to serve
// the MAIL of the next one too. MAIL is checked so that a client learns early that it may
// not send. Each message is looked up again before it is forwarded, see submit.
const recentlyValidated = 20 * time.Millisecond

// open decides whether the transaction may begin. It checks the sender's domain
// now, so that a misconfigured tool fails before it sends data.
func (tx *transaction) open() reply {
	ctx, cancel := tx.context(lookupTimeout)
	defer cancel()
	if time.Since(tx.validated) > recentlyValidated {
		if refusal := tx.stillValid(ctx); refusal != (reply{}) {
			return refusal
		}
	}
	if refusal := tx.checkUser(ctx); refusal != (reply{}) || tx.from == "" {
		return refusal
	}
	return tx.checkSender(ctx, tx.request(FieldMailFrom, tx.from))
}

// stillValid checks the login, which a reset or a deletion ends.
func (tx *transaction) stillValid(ctx context.Context) reply {
	began := time.Now()
	refusal := tx.srv.stillValid(ctx, tx.client)
	switch {
	case refusal == (reply{}):
		tx.validated = began
	case refusal == replyRevoked && tx.revoked != nil:
		tx.revoked()
	}
	return refusal
}

// addRecipient adds a recipient. A recipient that is named twice is accepted twice
// and gets one copy.
func (tx *transaction) addRecipient(r Recipient) reply {
	if _, ok := tx.known[r.Address]; ok {
		return reply{}
	}
	if len(tx.to) >= tx.srv.maxRecipients() {
		return tx.srv.replyTooManyRecipients()
	}
	if refusal := tx.checkRecipient(r.Address); refusal != (reply{}) {
		return refusal
	}
	if tx.known == nil {
		tx.known = make(map[string]struct{})
	}
	tx.known[r.Address] = struct{}{}
	tx.to = append(tx.to, r)
	return reply{}
}

// contentReply returns the reply for an error of receive.
func (tx *transaction) contentReply(err error) reply {
	if err == errTooLarge {
		return tx.srv.replyTooLarge()
	}
	if refusal, ok := contentRefusals[err]; ok {
		return refusal
	}
	tx.logger().Error("relay: receiving a message failed", "error", err)
	if isDiskFull(err) {
		return replyNoSpace
	}
	return replyUnavailable
}

// finish forwards a message that was received, unless it is refused already, and
// emits the event. It returns the message's ID, or the reply that refuses it. A message
// that repeats another one makes no event.
func (tx *transaction) finish(in *content, refusal reply) (id string, _ reply) {
	m := &Message{ID: NewID(), Identity: tx.client.Identity, From: tx.from, To: tx.to, Options: tx.options, Remote: tx.client.Remote}
	if refusal == (reply{}) {
		refusal = tx.submit(m, in)
	}
	if refusal != (reply{}) {
		if !tx.refused {
			tx.refuse(m, in, refusal)
		}
		return "", refusal
	}
	if tx.repeats != "" {
		tx.logger().Info("relay: message repeated", "id", tx.repeats, "username", m.Identity.Username)
		return tx.repeats, reply{}
	}
	tx.emit(&MessageAccepted{
		Client: tx.client, ID: m.ID, From: m.From, To: m.To, Size: m.Size(), LongLines: in.longLines, Took: tx.took,
		Author: m.Author, Subject: m.Subject, MessageID: m.MessageID,
	})
	return m.ID, reply{}
}

// submit checks the header, completes it and forwards the message. It checks the
// login again right before that, so that no message is accepted after a reset.
func (tx *transaction) submit(m *Message, in *content) reply {
	ctx, cancel := tx.context(lookupTimeout)
	defer cancel()
	if countReceived(in.header) > maxHops {
		return replyLoop
	}
	h, err := mailheader.ParseWithout(in.header, tx.srv.KeyHeader)
	if err != nil {
		return replyBadContent(err.Error())
	}
	m.Author, m.Subject, m.MessageID = h.From[0], h.Subject, h.MessageID
	if refusal := tx.checkHeader(ctx, h, in.size); refusal != (reply{}) {
		return refusal
	}
	if refusal := tx.setKey(m, h.Also, in); refusal != (reply{}) {
		return refusal
	}
	if refusal := tx.stillValid(ctx); refusal != (reply{}) {
		return refusal
	}
	m.Received = time.Now().UTC().Truncate(time.Microsecond)
	m.content, m.size = in.rest, in.restSize
	m.prefix = tx.srv.complete(m, h, tx.with)
	return tx.forward(m)
}

// forwardTimeout limits a call of the Forwarder. Clients wait ten minutes for the
// reply (RFC 5321 section 4.5.3.2.6); after that a 250 would not arrive.
const forwardTimeout = 9 * time.Minute

// forward calls the Forwarder. A panic in the Forwarder fails this message only.
func (tx *transaction) forward(m *Message) (refusal reply) {
	ctx, cancel := tx.context(forwardTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			tx.srv.logPanic("Forwarder", p, slog.String("session", tx.client.Session), slog.String("id", m.ID))
			refusal = replyUnavailable
		}
	}()
	began := time.Now()
	err := tx.srv.Forwarder.Forward(ctx, m)
	tx.took = time.Since(began)
	if err == nil {
		return reply{}
	}
	var taken *TakenError
	if errors.As(err, &taken) && !taken.Differs && m.Key != "" {
		tx.repeats = taken.ID
		return reply{}
	}
	tx.logger().Warn("relay: message not forwarded", "id", m.ID, "error", err)
	return replyFor(err)
}

// refuse emits the event for a message that is refused after its data. If nothing was
// received, in is nil.
func (tx *transaction) refuse(m *Message, in *content, r reply) {
	e := &MessageRefused{
		Client: tx.client, ID: m.ID, From: tx.from, Field: FieldData, Code: r.code, Enhanced: r.enhanced, Reason: r.text,
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
	tx.emit(e)
}
