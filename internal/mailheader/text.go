package mailheader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// checkText refuses characters that make programs see another text than the parser.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("has a byte that is not UTF-8 (send UTF-8, or encode the name as in RFC 2047)")
	}
	for _, r := range strings.ReplaceAll(text, "\r\n", "") {
		if r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("has the control character %U", r)
		}
	}
	// Some programs end a decoded name at a NUL or a line break.
	decoder := mime.WordDecoder{CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil }}
	for _, word := range encodedWord.FindAllString(text, -1) {
		if name, err := decoder.Decode(word); err == nil && strings.ContainsAny(name, "\x00\r\n") {
			return errMisleading
		}
	}
	return nil
}
