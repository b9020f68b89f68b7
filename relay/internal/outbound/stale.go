package outbound

import (
	"errors"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
)

// maxRejected is how many recipients in a row a server may refuse before the
// connection is not kept: servers slow down, or disconnect, a client that collects
// errors. Postfix begins at 10.
const maxRejected = 5

// keepable reports whether the connection is good for another message.
func (c *Conn) keepable() bool {
	return c.usable && c.messages < c.maxMessages && c.rejected < maxRejected
}

// blamesConnection reports whether a message that failed on a connection with an
// earlier message may succeed on a fresh one: the connection is dead, or the
// server takes no more messages over it and says so in the reply to MAIL, to every
// RCPT, or to DATA.
func (t *transaction) blamesConnection(err error) bool {
	if resendable(err) {
		return len(t.refused) == 0
	}
	if t.err != nil {
		return true
	}
	if err != errRefused || len(t.taken)+len(t.surplus) > 0 {
		return false
	}
	for _, r := range t.refused {
		var re *relay.ReplyError
		if !errors.As(r.Err, &re) || re.Code/100 != 4 && re.Code != 503 && !speaksOfMessages(re.Text) {
			return false
		}
	}
	return true
}

// speaksOfMessages reports whether the text of a refusal is about the number of
// messages on a connection.
func speaksOfMessages(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "too many") &&
		(strings.Contains(text, "message") || strings.Contains(text, "mail") || strings.Contains(text, "transaction"))
}

// chunkingFailed reports whether a server that offers CHUNKING refused BDAT as a
// command it doesn't know, or doesn't allow here.
func chunkingFailed(c *Conn, err error) bool {
	var e *Error
	var re *relay.ReplyError
	if !c.ext.chunking || !errors.As(err, &e) || e.Step < Content || !errors.As(e.Err, &re) {
		return false
	}
	return re.Code == 500 || re.Code == 502 || re.Code == 503
}
