package outbound

import (
	"bytes"
	"fmt"
	"io"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// check refuses a message that must not or can't go to this server. It does not look
// at the recipients. Nothing has been sent yet.
func (c *Conn) check(m *relay.Message) error {
	switch {
	case len(m.To) == 0:
		return final(554, "5.5.1", "the message has no recipients")
	case !validPath(m.From):
		return final(553, "5.1.7", "the sender's address can't be sent in a command")
	case !validParameters(&m.Options):
		return final(501, "5.5.4", "a parameter of the message is not valid")
	case c.ext.size > 0 && m.Size() > c.ext.size:
		return final(552, "5.3.4", fmt.Sprintf("the message has %d bytes, %s takes %d", m.Size(), c.host, c.ext.size))
	case m.Options.RequireTLS && !(c.verified && c.ext.requireTLS): // RFC 8689 section 4.2.1
		return final(550, "5.7.30", c.host+" doesn't support REQUIRETLS")
	}
	if !c.ext.eightBit || !c.ext.utf8 && wantsUTF8(m) { // otherwise any content may go there
		return c.checkContent(m)
	}
	return nil
}

// checkRecipients separates the recipients that can't be sent to this server from
// the rest.
func (c *Conn) checkRecipients(to []relay.Recipient) (refused []relay.RefusedRecipient, rest []relay.Recipient) {
	for i := range to {
		err := c.checkRecipient(&to[i])
		switch {
		case err != nil:
			if refused == nil {
				rest = append(rest, to[:i]...)
			}
			refused = append(refused, relay.RefusedRecipient{Address: to[i].Address, Err: err})
		case refused != nil:
			rest = append(rest, to[i])
		}
	}
	if refused == nil {
		return nil, to
	}
	return refused, rest
}

func (c *Conn) checkRecipient(r *relay.Recipient) error {
	switch addr := r.Address; {
	case addr == "" || !validPath(addr):
		return final(553, "5.1.3", "the address can't be sent in a command")
	case !validDSN(r):
		return final(501, "5.5.4", "a parameter of the recipient is not valid")
	case !c.ext.utf8 && !mailtext.IsASCII(addr): // RFC 6531 section 3.5
		return final(553, "5.6.7", c.host+" doesn't support SMTPUTF8, which the address needs")
	}
	return nil
}

// checkContent refuses a message that needs an extension the server doesn't offer.
// The bytes count, not what the client declared: 8-bit bytes in the header need
// SMTPUTF8 if the client declared it, and 8-bit bytes anywhere need 8BITMIME (RFC
// 6152 section 3, RFC 6531 section 3.2). The message is not converted, because that
// would break its signatures.
func (c *Conn) checkContent(m *relay.Message) error {
	if !c.ext.utf8 && !mailtext.IsASCII(m.From) {
		return final(553, "5.6.7", c.host+" doesn't support SMTPUTF8, which the sender's address needs")
	}
	header, body, err := eightBit(m.Content())
	switch {
	case err != nil:
		return &Error{Host: c.host, Step: Content, Err: fmt.Errorf("reading the message: %w", err)}
	case header && m.Options.UTF8 && !c.ext.utf8:
		return final(554, "5.6.9", c.host+" doesn't support SMTPUTF8, which the header needs")
	case (header || body) && !c.ext.eightBit:
		return final(554, "5.6.3", c.host+" doesn't support 8BITMIME, which the content needs")
	}
	return nil
}

// eightBit reports whether the header has 8-bit bytes and, if it has none, whether
// the body has.
func eightBit(r io.Reader) (header, body bool, err error) {
	buf := make([]byte, 16<<10)
	// buf begins with the last bytes of the previous piece, because the end of the
	// header may lie across two pieces, or at the very beginning.
	keep := copy(buf, "\r\n")
	for inHeader := true; ; {
		n, err := r.Read(buf[keep:])
		piece := buf[:keep+n]
		if inHeader {
			if i := bytes.Index(piece, []byte("\r\n\r\n")); i >= 0 {
				inHeader = false
				if !mailtext.IsASCII(piece[:i]) {
					return true, false, nil
				}
				piece = piece[i:]
			}
		}
		if !mailtext.IsASCII(piece) {
			return inHeader, !inHeader, nil
		}
		if err == io.EOF {
			return false, false, nil
		}
		if err != nil {
			return false, false, err
		}
		keep = copy(buf, piece[max(0, len(piece)-3):])
	}
}
