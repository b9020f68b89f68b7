package relay

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// complete returns the header as it leaves the relay: with a Received line (RFC
// 5321 section 4.4), and with a Message-ID and a Date if the client sent none, or an
// invalid one (RFC 6409 sections 8.1 and 8.2). It sets a new Message-ID on m.
func (s *Server) complete(m *Message, h *mailheader.Header, secure bool) []byte {
	var b bytes.Buffer
	size := 512
	for _, part := range h.Kept {
		size += len(part)
	}
	b.Grow(size)
	from := "unknown"
	switch {
	case m.Remote.Is6():
		from = "[IPv6:" + m.Remote.String() + "]"
	case m.Remote.IsValid():
		from = "[" + m.Remote.String() + "]"
	}
	date := m.Received.Format(time.RFC1123Z)
	fmt.Fprintf(&b, "Received: from %s\r\n\tby %s with %s id %s;\r\n\t%s\r\n", from, s.host, protocol(m.Options.UTF8, secure), m.ID, date)
	if m.MessageID == "" {
		m.MessageID = "<" + m.ID + "@" + s.host + ">"
		fmt.Fprintf(&b, "Message-ID: %s\r\n", m.MessageID)
	}
	if !h.HasDate {
		fmt.Fprintf(&b, "Date: %s\r\n", date)
	}
	for _, part := range h.Kept {
		b.Write(part)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n") // a message that ends within its header
	}
	return b.Bytes()
}

// protocol returns the "with" clause of a Received line (RFC 3848, RFC 6531 section
// 4.3).
func protocol(utf8, secure bool) string {
	p := "ESMTP"
	if utf8 {
		p = "UTF8SMTP"
	}
	if secure {
		p += "S"
	}
	return p + "A"
}
