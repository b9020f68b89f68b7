package reencode

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// The limits of what is parsed. Beyond them a part stays as it is.
const (
	maxHeader = 1 << 20 // bytes of the header of a message or part
	maxDepth  = 50      // multiparts inside each other
	maxPiece  = 128 << 10
)

// A scanner reads a message line by line and collects the edits.
type scanner struct {
	r     *bufio.Reader
	at    int64 // offset of the next line
	edits []edit

	boundaries []string // of the multiparts around, the innermost last
	part       part
	inHeader   bool
	inLine     bool // the next piece continues a line
	top        bool // the part is the message itself
}

// A part is the message, or a part of a multipart that has no parts itself.
type part struct {
	header      []byte // nil if it is too large
	headerStart int64
	bodyStart   int64
	longHeader  bool   // a line of the header is over maxLine
	long        bool   // a line of the body is
	eightBit    bool   // the body has bytes beyond ASCII
	invalid     bool   // and they are not UTF-8
	coding      coding // what to do with a long line
}

// A coding is how a part is encoded, or is to be encoded.
type coding int

const (
	leave coding = iota // do not touch
	toText
	toBinary
	isBase64
	isQuotedPrintable
)

// scan returns the edits that a content needs, in order.
func scan(content io.Reader) ([]edit, error) {
	s := &scanner{r: bufio.NewReaderSize(content, maxPiece), inHeader: true, top: true, part: part{header: []byte{}}}
	for {
		line, long, err := s.line()
		if len(line) > 0 {
			s.take(line, long)
		}
		if err == io.EOF {
			if s.inHeader {
				s.endHeader(s.at)
			}
			s.endPart(s.at)
			return s.edits, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// line reads a line with its CRLF. It returns a line that is larger than the
// reader's buffer in pieces, which count as long except perhaps the last.
func (s *scanner) line() (line []byte, long bool, err error) {
	line, err = s.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return line, true, nil
	}
	return line, isLong(line), err
}

func isLong(line []byte) bool { return len(bytes.TrimRight(line, "\r\n")) > maxLine }

// take handles one line.
func (s *scanner) take(line []byte, long bool) {
	start, first := s.at, !s.inLine
	s.at += int64(len(line))
	s.inLine = line[len(line)-1] != '\n'
	if first && bytes.HasPrefix(line, []byte("--")) && s.boundary(line, start) {
		return
	}
	if !s.inHeader {
		p := &s.part
		p.long = p.long || long
		p.eightBit = p.eightBit || !mailtext.IsASCII(line)
		p.invalid = p.invalid || p.eightBit && !utf8.Valid(line)
		return
	}
	if len(bytes.TrimRight(line, "\r\n")) == 0 {
		s.endHeader(start)
		s.part.bodyStart = s.at
		return
	}
	if s.part.header == nil || len(s.part.header)+len(line) > maxHeader {
		s.part.header = nil
		return
	}
	s.part.header = append(s.part.header, line...)
	s.part.longHeader = s.part.longHeader || long
}

// boundary reports whether line is the boundary of one of the multiparts around,
// and if so ends the part before it.
func (s *scanner) boundary(line []byte, start int64) bool {
	text := strings.TrimRight(string(line[2:]), " \t\r\n")
	for i := len(s.boundaries) - 1; i >= 0; i-- {
		b := s.boundaries[i]
		last := text == b+"--"
		if text != b && !last {
			continue
		}
		s.endPart(start - 2) // the CRLF before belongs to the boundary
		s.boundaries = s.boundaries[:i+1]
		if last {
			s.boundaries = s.boundaries[:i]
		}
		s.part = part{}
		s.top, s.inHeader = false, !last
		if !last {
			s.part.header, s.part.headerStart = []byte{}, s.at
		}
		return true
	}
	return false
}

// endHeader decides from a part's header what to do with the part. The header ends
// just before the offset end.
func (s *scanner) endHeader(end int64) {
	s.inHeader = false
	p := &s.part
	p.bodyStart = end
	if p.header == nil {
		return
	}
	if p.longHeader {
		s.edits = append(s.edits, edit{p.headerStart, end, text(fold(p.header))})
	}
	kind, params, err := mime.ParseMediaType(field(p.header, "Content-Type"))
	if errors.Is(err, mime.ErrInvalidMediaParameter) && !strings.HasPrefix(kind, "multipart/") {
		err = nil
	}
	if field(p.header, "Content-Type") == "" {
		kind, err = "text/plain", nil
	}
	encoding := strings.ToLower(strings.TrimSpace(field(p.header, "Content-Transfer-Encoding")))
	identity := encoding == "" || encoding == "7bit" || encoding == "8bit" || encoding == "binary"
	major, _, _ := strings.Cut(kind, "/")
	switch {
	case err != nil:
	case major == "multipart":
		signed := kind == "multipart/signed" || kind == "multipart/encrypted"
		if b := params["boundary"]; b != "" && identity && !signed && len(s.boundaries) < maxDepth {
			s.boundaries = append(s.boundaries, b)
		}
	case major == "message":
	case encoding == "base64":
		p.coding = isBase64
	case encoding == "quoted-printable":
		p.coding = isQuotedPrintable
	case identity && major == "text":
		p.coding = toText
	case identity:
		p.coding = toBinary
	}
}

// endPart adds the edits of a part whose body ends before end.
func (s *scanner) endPart(end int64) {
	p := s.part
	if !p.long || p.coding == leave || end <= p.bodyStart {
		return
	}
	if p.coding == toText || p.coding == toBinary {
		if p.longHeader {
			s.edits = s.edits[:len(s.edits)-1] // which folds the header only
		}
		header := declare(fold(p.header), p, s.top)
		s.edits = append(s.edits, edit{p.headerStart, p.headerStart + int64(len(p.header)), text(header)})
	}
	s.edits = append(s.edits, edit{p.bodyStart, end, bodyWriters[p.coding]})
}

// text returns the write function of an edit that puts b in.
func text(b []byte) func(io.Writer, io.Reader) error {
	return func(w io.Writer, _ io.Reader) error {
		_, err := w.Write(b)
		return err
	}
}
