package queue

import (
	"bytes"
	"io"

	"github.com/gatepost-mail/gatepost/relay"
)

const (
	// maxReturned is how many bytes of a message a notice returns.
	maxReturned = 50 << 10

	// maxLine is how long a line may be, without its CRLF (RFC 5322 section
	// 2.1.1).
	maxLine = 998
)

// returned returns what of a message goes into a notice: all of it if mayReturnAll
// is set and it fits, otherwise its header.
func returned(m *relay.Message, mayReturnAll bool) (part []byte, all bool) {
	if m == nil {
		return nil, false
	}
	content := m.Content()
	b := make([]byte, min(content.Size(), maxReturned))
	n, _ := io.ReadFull(content, b)
	b = b[:n]
	if mayReturnAll && int64(n) == content.Size() && !hasLongLine(b) {
		return b, true
	}
	return foldHeader(headerOf(b)), false
}

// headerOf returns the header that a content begins with, in whole lines.
func headerOf(b []byte) []byte {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+2]
	}
	return b[:bytes.LastIndexByte(b, '\n')+1]
}

func hasLongLine(b []byte) bool {
	for line := range bytes.Lines(b) {
		if len(bytes.TrimRight(line, "\r\n")) > maxLine {
			return true
		}
	}
	return false
}

// foldHeader folds lines that are too long to be sent, at white space. It leaves
// out a line that has none in the right places.
func foldHeader(header []byte) []byte {
	if !hasLongLine(header) {
		return header
	}
	out := make([]byte, 0, len(header)+100)
	for line := range bytes.Lines(header) {
		start := len(out)
		for len(bytes.TrimRight(line, "\r\n")) > maxLine {
			i := bytes.LastIndexAny(line[:maxLine], " \t")
			if i <= 0 || len(bytes.TrimLeft(line[:i], " \t")) == 0 {
				out, line = out[:start], nil
				break
			}
			out = append(append(out, line[:i]...), "\r\n"...)
			line = line[i:]
		}
		out = append(out, line...)
	}
	return out
}

// withoutReturned returns the content of a notice without what it returns of the
// message, the third part of a multipart/report. It returns nil if there is none.
func withoutReturned(content []byte) []byte {
	end := bytes.LastIndex(content, []byte("--\r\n"))
	if end < 0 {
		return nil
	}
	line := bytes.LastIndex(content[:end], []byte("\r\n--"))
	if line < 0 {
		return nil
	}
	boundary := content[line:end] // with the CRLF before it
	begin := append(bytes.Clone(boundary), "\r\n"...)
	if bytes.Count(content[:line], begin) != 3 { // text, status, message
		return nil
	}
	last := bytes.LastIndex(content[:line], begin)
	return append(append(bytes.Clone(content[:last]), boundary...), "--\r\n"...)
}
