package mailheader

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxText      = 255     // bytes of a decoded text
	maxRawText   = 4 << 10 // bytes of a text that are decoded
	maxMessageID = 998     // bytes: a line of RFC 5322 section 2.1.1
)

// decodeText returns an unstructured field as text: encoded words (RFC 2047)
// decoded, control characters and line breaks made blanks, at most maxText bytes
// of valid UTF-8. An encoded word of an unknown charset stays as it is.
func decodeText(value []byte) string {
	value = value[:min(len(value), maxRawText)]
	raw := string(bytes.ReplaceAll(value, []byte("\r\n"), nil))
	if text, err := new(mime.WordDecoder).DecodeHeader(raw); err == nil {
		raw = text
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(raw, "\ufffd"))
	if len(text) > maxText {
		end := maxText
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return strings.TrimSpace(text)
}

// isDate reports whether a Date field holds a date (RFC 5322 section 3.3).
func isDate(value []byte) bool {
	text := string(bytes.ReplaceAll(value, []byte("\r\n"), nil))
	if _, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", text); err == nil {
		return true // the usual form; ParseDate tries it after many others
	}
	_, err := mail.ParseDate(text)
	return err == nil
}

// isMessageID reports whether a Message-ID field holds one identifier (RFC 5322
// section 3.6.4). A comment may follow it.
func isMessageID(value []byte) bool {
	id, rest, ok := bytes.Cut(value, []byte(">"))
	if rest = bytes.TrimLeft(rest, " \t\r\n"); !ok || len(id) > maxMessageID || len(rest) > 0 && (rest[0] != '(' || rest[len(rest)-1] != ')') {
		return false
	}
	left, right, ok := bytes.Cut(id, []byte("@"))
	if !ok || len(left) < 2 || left[0] != '<' || len(right) == 0 || !utf8.Valid(id) {
		return false
	}
	return !bytes.ContainsFunc(id[1:], func(r rune) bool {
		return r == '<' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}
