package relay

import (
	"io"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// Data receives the message and forwards it. go-smtp sends the returned error as the
// reply. The reply 250 is also returned as an error, because it contains the ID.
func (s *session) Data(r io.Reader) error {
	tx := s.current()
	if tx == nil {
		s.conn.end(replyShutdown)
		return replyShutdown.smtp()
	}
	tx.chunks, _ = r.(*io.PipeReader)
	close(tx.began)
	defer close(tx.ended)
	return s.replyOf(func() reply { return s.receiveMessage(tx, r) }).smtp()
}

// replyOf returns the result of f, which it calls in a goroutine of its own. If f
// panics or calls runtime.Goexit, as t.FailNow does in a Forwarder, replyOf still
// returns a reply. go-smtp would otherwise wait for one forever.
func (s *session) replyOf(f func() reply) reply {
	result := make(chan reply, 1)
	go func() {
		r, returned := replyUnavailable, false
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

// receiveMessage receives the message of a transaction and forwards it.
func (s *session) receiveMessage(tx *transaction, r io.Reader) reply {
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
	in, refusal := s.readContent(r, tx)
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
		Client: s.client(tx.id), ID: m.ID, From: m.From, To: m.To, Size: m.Size(), LongLines: in.longLines, Took: tx.took,
		Author: m.Author, Subject: m.Subject, MessageID: m.MessageID,
	})
	return replyAccepted(m.ID)
}

// readContent reads the whole content. To go-smtp, a connection that breaks during
// BDAT looks like the end of the message. So a broken connection is checked here,
// and an incomplete message is never accepted.
func (s *session) readContent(r io.Reader, tx *transaction) (*content, reply) {
	in, err := receive(r, s.srv.maxMessageBytes(), tx.size, &s.srv.temp)
	if s.conn.broken.Load() || s.conn.closing.Load() {
		return in, replyIncomplete
	}
	if err == nil {
		return in, reply{}
	}
	refusal := s.contentReply(err)
	if in.endless {
		s.conn.end(refusal)
	}
	return in, refusal
}

// contentReply returns the reply for an error of receive.
func (s *session) contentReply(err error) reply {
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
	return replyUnavailable
}

// submit checks the header, completes it and forwards the message. It checks the
// login again right before that, so that no message is accepted after a reset.
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
	return s.forward(m, tx)
}

// forwardTimeout limits a call of the Forwarder. Clients wait ten minutes for the
// reply (RFC 5321 section 4.5.3.2.6); after that a 250 would not arrive.
const forwardTimeout = 9 * time.Minute

// forward calls the Forwarder. A panic in the Forwarder fails this message only.
func (s *session) forward(m *Message, tx *transaction) (refusal reply) {
	ctx, cancel := s.context(forwardTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.srv.logPanic("Forwarder", p, slog.String("session", s.conn.id), slog.String("id", m.ID))
			refusal = replyUnavailable
		}
	}()
	began := time.Now()
	err := s.srv.Forwarder.Forward(ctx, m)
	tx.took = time.Since(began)
	if err == nil {
		return reply{}
	}
	s.logger().Warn("relay: message not forwarded", "id", m.ID, "error", err)
	return replyFor(err)
}

// refuse emits the event for a message that is refused after its data. If nothing was
// received, in is nil.
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
