package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// Limits of one reply. RFC 5321 section 4.5.3.1.5 allows 512 octets for a line; the
// replies of real servers, with long explanations and many extensions, are far shorter
// than these.
const (
	maxReplyLine  = 4096
	maxReplyLines = 256
	maxReplyBytes = 32 << 10
	maxReplyText  = 1000 // as shown to people
)

// A reply is a server's reply (RFC 5321 section 4.2).
type reply struct {
	code int
	text []byte // its lines without the codes, each ending in LF; valid until the next reply
}

// readReply reads a reply of one or more lines, with text as its space. r holds
// maxReplyLine bytes.
func readReply(r *bufio.Reader, text []byte) (reply, error) {
	rp := reply{text: text[:0]}
	for lines, size := 0, 0; ; lines++ {
		line, err := r.ReadSlice('\n')
		size += len(line)
		switch {
		case err == bufio.ErrBufferFull, lines == maxReplyLines, size > maxReplyBytes:
			return rp, badReply("a reply that is too long", rp.text, line)
		case err == io.EOF && size > 0:
			return rp, io.ErrUnexpectedEOF
		case err != nil:
			return rp, err
		}
		code, last, ok := parseReplyLine(line)
		if !ok || lines > 0 && code != rp.code {
			return rp, badReply("a malformed reply", rp.text, line)
		}
		rp.code = code
		if rest := bytes.TrimRight(line[3:], "\r\n"); len(rest) > 1 {
			rp.text = append(rp.text, rest[1:]...)
		}
		rp.text = append(rp.text, '\n')
		if last {
			return rp, nil
		}
	}
}

// parseReplyLine reads the code of a line, and whether it is the reply's last.
func parseReplyLine(line []byte) (code int, last, ok bool) {
	if len(line) < 4 || line[0] < '2' || line[0] > '5' {
		return 0, false, false
	}
	for _, d := range line[:3] {
		if d < '0' || d > '9' {
			return 0, false, false
		}
		code = code*10 + int(d-'0')
	}
	switch line[3] {
	case ' ', '\r', '\n':
		return code, true, true
	case '-':
		return code, false, true
	}
	return 0, false, false
}

// badReply is the error for bytes that are not a reply; it quotes the beginning.
func badReply(what string, text, line []byte) error {
	begin := safeText(append(bytes.Clone(text), line[:min(len(line), maxReplyText)]...))
	if len(begin) > 200 {
		begin = begin[:200] + "..."
	}
	return errors.New("the server sent " + what + ": " + fmt.Sprintf("%q", begin))
}

// asError returns the reply as an error; nil if its code is not 4yz or 5yz.
func (rp reply) asError(host string) *relay.ReplyError {
	if rp.code < 400 || rp.code > 599 {
		return nil
	}
	enhanced, _ := cutEnhanced(rp.text, byte('0'+rp.code/100))
	return &relay.ReplyError{Code: rp.code, Enhanced: enhanced, Text: rp.words(), Host: host}
}

// words returns the reply's text without codes, safe to show.
func (rp reply) words() string {
	class := byte('0' + rp.code/100)
	var b []byte
	for line := range bytes.Lines(rp.text) {
		_, rest := cutEnhanced(line, class)
		b = append(b, rest...)
	}
	return safeText(b)
}

// String returns the reply as one line, safe to show.
func (rp reply) String() string { return fmt.Sprintf("%d %s", rp.code, safeText(rp.text)) }

// cutEnhanced takes the enhanced status code off the beginning of a line. It must
// agree with the class of the reply (RFC 2034 section 4, RFC 3463 section 2).
func cutEnhanced(line []byte, class byte) (code string, rest []byte) {
	word := line
	if i := bytes.IndexAny(line, " \n"); i >= 0 {
		word = line[:i]
	}
	parts := bytes.Split(word, []byte{'.'})
	if len(parts) != 3 || len(parts[0]) != 1 || parts[0][0] != class {
		return "", line
	}
	for _, p := range parts[1:] {
		if len(p) == 0 || len(p) > 3 || len(bytes.Trim(p, "0123456789")) > 0 {
			return "", line
		}
	}
	return string(word), bytes.TrimPrefix(line[len(word):], []byte(" "))
}

// safeText returns what a server said as one line of printable ASCII.
func safeText(text []byte) string { return mailtext.OneLine(string(text), maxReplyText) }
