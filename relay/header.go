package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// A header is what a relay has to know of a message's header (RFC 5322).
type header struct {
	from, sender []string // every address in From, and in Sender if there is one
	hasDate      bool
	hasMessageID bool
	kept         [][]byte // the header without what is removed
}

// What a header may hold. Programs further on, signers among them, take a time
// that grows with the square of these.
const (
	maxFields    = 1000
	maxAuthors   = 100      // addresses in From or Sender, each of which is checked
	maxAddresses = 16 << 10 // bytes of From or Sender
)

// parseHeader reads a header that ends in an empty line, or with the message.
// Its errors are for the client's eyes. It is strict where programs disagree on
// what a header means: what one reads past, another may show.
func parseHeader(b []byte) (*header, error) {
	h := &header{}
	var from, sender [][]byte
	kept := 0 // where the part begins that is not yet in h.kept
	fields := 0
	for at, n := 0, 1; at < len(b); n++ {
		if bytes.HasPrefix(b[at:], []byte("\r\n")) {
			break
		}
		if fields++; fields > maxFields {
			return nil, fmt.Errorf("the header has more than %d fields", maxFields)
		}
		size, lines := fieldSize(b[at:])
		name, value, err := splitField(b[at : at+size])
		if err != nil {
			return nil, fmt.Errorf("header line %d %w", n, err)
		}
		switch {
		case equalFold(name, "From"):
			from = append(from, value)
		case equalFold(name, "Sender"):
			sender = append(sender, value)
		case equalFold(name, "Date"):
			h.hasDate = true
		case equalFold(name, "Message-ID"):
			h.hasMessageID = true
		case equalFold(name, "Bcc"), equalFold(name, "Return-Path"):
			h.kept = append(h.kept, b[kept:at])
			kept = at + size
		}
		at += size
		n += lines - 1
	}
	h.kept = append(h.kept, b[kept:])
	return h, h.parseAddresses(from, sender)
}

func (h *header) parseAddresses(from, sender [][]byte) (err error) {
	switch {
	case len(from) == 0:
		return errors.New("the message has no From field")
	case len(from) > 1:
		return errors.New("the message has more than one From field")
	case len(sender) > 1:
		return errors.New("the message has more than one Sender field")
	}
	if h.from, err = addresses("From", from[0]); err != nil || len(sender) == 0 {
		return err
	}
	h.sender, err = addresses("Sender", sender[0])
	return err
}

// fieldSize returns the length of the field b begins with, its folded lines
// included, and how many lines it has.
func fieldSize(b []byte) (size, lines int) {
	for {
		i := bytes.IndexByte(b[size:], '\n')
		lines++
		if i < 0 {
			return len(b), lines
		}
		size += i + 1
		if size == len(b) || b[size] != ' ' && b[size] != '\t' {
			return size, lines
		}
	}
}

// splitField splits a field at its colon. White space before the colon is
// obsolete (RFC 5322 section 4.5), but some programs see a From field there.
func splitField(f []byte) (name, value []byte, err error) {
	name, value, ok := bytes.Cut(f, []byte(":"))
	if !ok {
		return nil, nil, errors.New("is no header field, it has no colon (an empty line ends the header)")
	}
	name = bytes.TrimRight(name, " \t")
	for _, ch := range name {
		if ch <= ' ' || ch > '~' {
			return nil, nil, errors.New("is no header field, its name has a character that isn't allowed")
		}
	}
	if len(name) == 0 {
		return nil, nil, errors.New("is no header field, it has no name")
	}
	if bytes.ContainsAny(value, "\v\f\x1c\x1d\x1e") {
		return nil, nil, errors.New("has a character that some programs end a line at")
	}
	return name, value, nil
}

// addresses parses an address list and returns the addresses, whatever names
// and groups are around them.
func addresses(field string, value []byte) ([]string, error) {
	if len(value) > maxAddresses {
		return nil, fmt.Errorf("the %s field is larger than %d bytes", field, maxAddresses)
	}
	text := strings.TrimSpace(string(bytes.ReplaceAll(value, []byte("\r\n"), nil)))
	if name, addr, ok := strings.Cut(text, "<"); ok && sameAddress(strings.TrimSpace(name), strings.TrimSuffix(addr, ">")) {
		text = "<" + addr // a@b <a@b>: many tools write it, though a name with an @ needs quotes
	}
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: anyCharset}}
	list, err := parser.ParseList(text)
	if err != nil || len(list) == 0 {
		return nil, fmt.Errorf("the %s field holds no address that can be read (a name with other characters than letters and digits needs double quotes)", field)
	}
	if len(list) > maxAuthors {
		return nil, fmt.Errorf("the %s field holds more than %d addresses", field, maxAuthors)
	}
	addrs := make([]string, len(list))
	for i, a := range list {
		if isMisleading(a) {
			return nil, fmt.Errorf("the %s field holds an address that programs read in different ways", field)
		}
		addrs[i] = a.Address
	}
	return addrs, nil
}

// sameAddress reports whether two addresses differ in the case of ASCII letters at
// most: beyond ASCII, letters that fold into each other may be another domain's.
func sameAddress(a, b string) bool {
	return a == b || mailtext.IsASCII(a) && mailtext.IsASCII(b) && strings.EqualFold(a, b)
}

// isMisleading reports whether some programs are known to show another address
// than a's: the first that a quoted local part seems to hold, one that they
// decode though nothing is encoded there (RFC 2047 section 5), or what comes
// before the end of the line in a name.
func isMisleading(a *mail.Address) bool {
	return strings.Count(a.Address, "@") != 1 || strings.ContainsAny(a.Address, "<>") ||
		strings.Contains(a.Address, "=?") || strings.ContainsAny(a.Name, "\x00\r\n")
}

// anyCharset lets every display name pass; nobody looks at it here.
func anyCharset(_ string, r io.Reader) (io.Reader, error) { return r, nil }

func equalFold(name []byte, s string) bool {
	return len(name) == len(s) && bytes.EqualFold(name, []byte(s))
}

// complete returns the header as it leaves the relay: with a Received line (RFC
// 5321 section 4.4), and with the Message-ID and Date a submission should have
// (RFC 6409 section 8) if it came without.
func (s *Server) complete(m *Message, h *header, secure bool) []byte {
	var b bytes.Buffer
	size := 512
	for _, part := range h.kept {
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
	if !h.hasMessageID {
		fmt.Fprintf(&b, "Message-ID: <%s@%s>\r\n", m.ID, s.host)
	}
	if !h.hasDate {
		fmt.Fprintf(&b, "Date: %s\r\n", date)
	}
	for _, part := range h.kept {
		b.Write(part)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n") // a message that ends within its header
	}
	return b.Bytes()
}

// protocol is the "with" of a Received line (RFC 3848, RFC 6531 section 4.3).
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
