package relay

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// complete returns the header as it leaves the relay: with a Received line (RFC
// 5321 section 4.4), and with a Message-ID and a Date if the client sent none, or an
// invalid one (RFC 6409 sections 8.1 and 8.2). It sets a new Message-ID on m. with is
// the protocol, or empty for a message that did not come by SMTP.
func (s *Server) complete(m *Message, h *mailheader.Header, with string) []byte {
	var b bytes.Buffer
	size := 512
	for _, part := range h.Kept {
		size += len(part)
	}
	b.Grow(size)
	date := m.Received.Format(time.RFC1123Z)
	fmt.Fprintf(&b, "Received: %sby %s%s id %s;\r\n\t%s\r\n", receivedFrom(m, with), s.host, with, m.ID, date)
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

// receivedFrom returns the "from" clause of a Received line. It is empty if no
// client is known because the message did not come by SMTP.
func receivedFrom(m *Message, with string) string {
	const next = "\r\n\t"
	switch {
	case m.Remote.Is6():
		return "from [IPv6:" + m.Remote.String() + "]" + next
	case m.Remote.IsValid():
		return "from [" + m.Remote.String() + "]" + next
	case with == "":
		return ""
	}
	return "from unknown" + next
}

// protocol returns the "with" clause of a Received line (RFC 3848, RFC 6531 section
// 4.3).
func protocol(utf8, secure bool) string {
	p := " with ESMTP"
	if utf8 {
		p = " with UTF8SMTP"
	}
	if secure {
		p += "S"
	}
	return p + "A"
}
