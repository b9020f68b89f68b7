package relay

import (
	"io"
	"log/slog"

	"github.com/gatepost-mail/gatepost/internal/stack"
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
		stack.Grow()
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
	in, refusal := s.readContent(r, tx)
	if in != nil {
		defer in.Close()
	}
	id, refusal := tx.finish(in, refusal)
	if refusal != (reply{}) {
		return refusal
	}
	s.setValidated(tx.validated)
	return replyAccepted(id)
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
	refusal := tx.contentReply(err)
	if in.endless {
		s.conn.end(refusal)
	}
	return in, refusal
}
