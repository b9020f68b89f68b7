package mailheader

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// A Header is what a relay needs from a message's header.
type Header struct {
	From   []string // every address in From, in order; never empty
	Sender []string // every address in Sender; empty if there is no such field

	// Subject is decoded valid UTF-8 without control characters. It has at
	// most 255 bytes.
	Subject string

	// MessageID has its angle brackets. It is empty if the field is missing or
	// invalid; Kept does not include an invalid one.
	MessageID string

	// HasDate reports whether Kept includes a valid Date.
	HasDate bool

	// Kept is the header without the fields that a relay removes. It ends as
	// the parsed header did.
	Kept [][]byte

	// Also holds the values of the fields that Parse was told to remove as well,
	// without white space around them.
	Also []string
}

// The limits of a header. Other programs, DKIM signers among them, need time that
// grows with the square of these numbers.
const (
	maxFields    = 1000
	maxAuthors   = 100      // addresses in From or Sender, each of which is checked
	maxAddresses = 16 << 10 // bytes of From or Sender
)

// onceOnly lists the fields that a message has at most once (RFC 5322 section
// 3.6). Bcc is missing because Parse always removes it.
var onceOnly = [...]string{
	"From", "Sender", "Date", "Message-ID", "Subject", "To", "Cc", "Reply-To", "In-Reply-To", "References",
}

const (
	from = iota // indexes of onceOnly
	sender
	date
	messageID
	subject
)

// A span is a part of the header, from start to just before end.
type span struct{ start, end int }

// A scan is the state of Parse.
type scan struct {
	found   [len(onceOnly)]*found
	removed []span
	remove  string   // the name of a field that is removed as well, or ""
	also    []string // its values
}

// A found is a field that the header has, and whose name is in onceOnly.
type found struct {
	value []byte
	at    span
}

// Parse reads a header that ends in an empty line, or with the message. The text
// of its errors is meant for the client.
//
// Kept lacks Bcc, Resent-Bcc and Return-Path, an invalid Date or Message-ID, and
// every further field of a once-only name that is empty or repeats the first.
// It has the first valid Date and Message-ID. Any other repetition of a once-only
// field is an error, as is a second From or Sender.
func Parse(b []byte) (*Header, error) { return ParseWithout(b, "") }

// ParseWithout is Parse, and removes every field of one more name. The name is not
// one of those that Parse looks at.
func ParseWithout(b []byte, name string) (*Header, error) {
	s := scan{remove: name}
	count := 0
	for at, line := 0, 1; at < len(b) && !bytes.HasPrefix(b[at:], []byte("\r\n")); {
		if count++; count > maxFields {
			return nil, fmt.Errorf("the header has more than %d fields", maxFields)
		}
		size, lines := FieldSize(b[at:])
		if err := s.field(b[at:at+size], span{at, at + size}, line); err != nil {
			return nil, err
		}
		at += size
		line += lines
	}
	return s.header(b)
}

// Author returns the first address in From. It finds the same as Parse, and accepts
// headers that Parse does not: other programs may have added fields since.
func Author(b []byte) (string, error) {
	var value []byte
	for name, v := range fields(b) {
		switch {
		case !equalFold(bytes.TrimRight(name, " \t"), "From"):
		case value != nil:
			return "", repeated(from)
		case len(name) > len("From"):
			return "", errors.New("there is white space between From and the colon")
		default:
			value = v
		}
	}
	if value == nil {
		return "", errNoFrom
	}
	list, err := addresses("From", bytes.Trim(value, " \t\r\n"))
	if err != nil {
		return "", err
	}
	return list[0], nil
}

// Fields returns the name and the value of each field of a header. The name has no
// white space before the colon. The value has all that follows the colon, with its
// line breaks.
func Fields(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, value := range fields(b) {
			if !yield(string(bytes.TrimRight(name, " \t")), value) {
				return
			}
		}
	}
}

// fields returns what is before and behind the colon of each field.
func fields(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for at := 0; at < len(b) && !bytes.HasPrefix(b[at:], []byte("\r\n")); {
			size, _ := FieldSize(b[at:])
			name, value, _ := bytes.Cut(b[at:at+size], []byte(":"))
			if !yield(name, value) {
				return
			}
			at += size
		}
	}
}

// FieldSize returns the length of the field that b begins with, including its
// folded lines, and the number of its lines.
func FieldSize(b []byte) (size, lines int) {
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

// field reads one field. line is the number of its first line, for errors.
func (s *scan) field(f []byte, at span, line int) error {
	name, value, err := splitField(f)
	if err != nil {
		return fmt.Errorf("header line %d %w", line, err)
	}
	trimmed := bytes.TrimRight(name, " \t")
	switch {
	case equalFold(trimmed, "Bcc"), equalFold(trimmed, "Resent-Bcc"), equalFold(trimmed, "Return-Path"):
		s.removed = append(s.removed, at)
		return nil
	case s.remove != "" && equalFold(trimmed, s.remove):
		s.removed = append(s.removed, at)
		s.also = append(s.also, string(bytes.Trim(value, " \t\r\n")))
		return nil
	}
	i := slices.IndexFunc(onceOnly[:], func(n string) bool { return equalFold(trimmed, n) })
	switch {
	case i < 0:
		return nil
	case i <= sender && s.found[i] == nil && len(trimmed) < len(name):
		return fmt.Errorf("header line %d has white space between %s and the colon", line, onceOnly[i])
	}
	return s.once(i, &found{bytes.Trim(value, " \t\r\n"), at})
}

// once records a field of a name that may appear once.
func (s *scan) once(i int, f *found) error {
	first := s.found[i]
	switch {
	case i == date && !isDate(f.value), i == messageID && !isMessageID(f.value):
		s.removed = append(s.removed, f.at)
	case first == nil:
		s.found[i] = f
	case i <= sender:
		return repeated(i)
	case i == date, i == messageID, len(f.value) == 0, bytes.Equal(f.value, first.value):
		s.removed = append(s.removed, f.at)
	case len(first.value) == 0:
		s.removed = append(s.removed, first.at)
		s.found[i] = f
	default:
		return repeated(i)
	}
	return nil
}

var errNoFrom = errors.New("the message has no From field")

func repeated(i int) error {
	return fmt.Errorf("the message has more than one %s field", onceOnly[i])
}

// header makes a Header of what was read.
func (s *scan) header(b []byte) (h *Header, err error) {
	if s.found[from] == nil {
		return nil, errNoFrom
	}
	h = &Header{HasDate: s.found[date] != nil, Also: s.also}
	if h.From, err = addresses("From", s.found[from].value); err != nil {
		return nil, err
	}
	if f := s.found[sender]; f != nil {
		if h.Sender, err = addresses("Sender", f.value); err != nil {
			return nil, err
		}
	}
	if f := s.found[messageID]; f != nil {
		h.MessageID = string(f.value[:bytes.IndexByte(f.value, '>')+1])
	}
	if f := s.found[subject]; f != nil {
		h.Subject = decodeText(f.value)
	}
	slices.SortFunc(s.removed, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	kept := 0
	for _, r := range s.removed {
		h.Kept = append(h.Kept, b[kept:r.start])
		kept = r.end
	}
	h.Kept = append(h.Kept, b[kept:])
	return h, nil
}

// splitField splits a field at its colon. White space before the colon is obsolete
// (RFC 5322 section 4.5) and stays part of the name.
func splitField(f []byte) (name, value []byte, err error) {
	const hint = "(an empty line ends the header)"
	name, value, ok := bytes.Cut(f, []byte(":"))
	if !ok {
		return nil, nil, errors.New("is not a header field, it has no colon " + hint)
	}
	trimmed := bytes.TrimRight(name, " \t")
	for _, ch := range trimmed {
		if ch <= ' ' || ch > '~' {
			return nil, nil, errors.New("is not a header field, its name has a character that is not allowed " + hint)
		}
	}
	if len(trimmed) == 0 {
		return nil, nil, errors.New("is not a header field, it has no name " + hint)
	}
	if bytes.ContainsAny(value, "\v\f\x1c\x1d\x1e") {
		return nil, nil, errors.New("has a control character at which some programs end a line")
	}
	return name, value, nil
}

func equalFold(name []byte, s string) bool {
	return len(name) == len(s) && bytes.EqualFold(name, []byte(s))
}
