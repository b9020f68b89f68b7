package outbound

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// appendMail appends the MAIL command with those of the message's options that the
// server offers. A server without DSN gets no DSN parameters (RFC 3461 section
// 5.2.2); check has refused a message that needs another missing extension. Content
// is declared 8BITMIME unless the client said otherwise, because clients send 8-bit
// content without declaring it (RFC 6152).
func (c *Conn) appendMail(b []byte, m *relay.Message) []byte {
	b = append(b, "MAIL FROM:<"...)
	b = append(b, m.From...)
	b = append(b, '>')
	if c.ext.sized {
		b = append(b, " SIZE="...)
		b = strconv.AppendInt(b, m.Size(), 10)
	}
	if c.ext.eightBit {
		b = append(b, " BODY="...)
		b = append(b, cmp.Or(m.Options.Body, "8BITMIME")...)
	}
	if c.ext.utf8 && wantsUTF8(m) {
		b = append(b, " SMTPUTF8"...)
	}
	if m.Options.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	if c.ext.dsn && m.Options.Return != "" {
		b = append(b, " RET="...)
		b = append(b, m.Options.Return...)
	}
	if c.ext.dsn && m.Options.EnvelopeID != "" {
		b = appendXtext(append(b, " ENVID="...), m.Options.EnvelopeID)
	}
	return append(b, "\r\n"...)
}

// appendRcpt appends the RCPT command.
func (c *Conn) appendRcpt(b []byte, r *relay.Recipient) []byte {
	b = append(b, "RCPT TO:<"...)
	b = append(b, r.Address...)
	b = append(b, '>')
	if c.ext.dsn && len(r.Notify) > 0 {
		b = append(b, " NOTIFY="...)
		for i, n := range r.Notify {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, n...)
		}
	}
	if kind, addr, ok := strings.Cut(r.OriginalRecipient, ";"); ok && c.ext.dsn {
		b = append(append(b, " ORCPT="...), kind...)
		b = append(b, ';')
		if strings.EqualFold(kind, "utf-8") {
			b = appendUTF8Xtext(b, addr)
		} else {
			b = appendXtext(b, addr)
		}
	}
	return append(b, "\r\n"...)
}

const hex = "0123456789ABCDEF"

// appendXtext encodes a parameter's value (RFC 3461 section 4).
func appendXtext(b []byte, s string) []byte {
	for i := range len(s) {
		if ch := s[i]; ch > ' ' && ch <= '~' && ch != '+' && ch != '=' {
			b = append(b, ch)
		} else {
			b = append(b, '+', hex[ch>>4], hex[ch&15])
		}
	}
	return b
}

// appendUTF8Xtext encodes an address of type utf-8 so that it passes servers
// without SMTPUTF8 too (RFC 6533 section 3).
func appendUTF8Xtext(b []byte, s string) []byte {
	for _, r := range s {
		if r > ' ' && r <= '~' && r != '+' && r != '=' && r != '\\' {
			b = append(b, byte(r))
		} else {
			b = fmt.Appendf(b, `\x{%02X}`, r)
		}
	}
	return b
}

// wantsUTF8 reports whether the message is an internationalised one (RFC 6531).
func wantsUTF8(m *relay.Message) bool {
	return m.Options.UTF8 || !mailtext.IsASCII(m.From) ||
		slices.ContainsFunc(m.To, func(r relay.Recipient) bool { return !mailtext.IsASCII(r.Address) })
}

// validPath reports whether an address can stand between the angle brackets of
// a command: nothing in it ends the path or the line. Whether the mailbox exists is
// for the server to say.
func validPath(addr string) bool {
	if len(addr) > maxPath || !utf8.ValidString(addr) {
		return false
	}
	quoted := false
	for i := 0; i < len(addr); i++ {
		switch ch := addr[i]; {
		case ch < ' ' || ch == 0x7f:
			return false
		case ch == '"':
			quoted = !quoted
		case quoted && ch == '\\': // the next character has no meaning (RFC 5321 section 4.1.2)
			i++
			if i == len(addr) || addr[i] < ' ' || addr[i] >= 0x7f {
				return false
			}
		case !quoted && (ch == ' ' || ch == '<' || ch == '>' || ch == '\\'):
			return false
		}
	}
	return !quoted
}

// maxPath is above the limit of every server (RFC 5321 section 4.5.3.1.3 has 256).
const maxPath = 1000

// validParameters reports whether the options are words that can be passed on.
func validParameters(o *relay.Options) bool {
	return slices.Contains([]string{"", "7BIT", "8BITMIME"}, o.Body) &&
		slices.Contains([]string{"", "FULL", "HDRS"}, o.Return)
}

// validDSN is validParameters for a recipient.
func validDSN(r *relay.Recipient) bool {
	for _, n := range r.Notify {
		if !slices.Contains([]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}, n) {
			return false
		}
	}
	kind, _, ok := strings.Cut(r.OriginalRecipient, ";")
	return r.OriginalRecipient == "" || ok && validAtom(kind)
}

// validAtom reports whether an address type is a plain word.
func validAtom(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	return s != "" && len(s) <= 64 && strings.Trim(s, allowed) == ""
}
