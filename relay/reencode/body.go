package reencode

import (
	"bufio"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
)

// bodyWriters has for each coding how a body with a long line is written.
var bodyWriters = map[coding]func(io.Writer, io.Reader) error{
	toText:            writeText,
	toBinary:          writeBinary,
	isBase64:          func(w io.Writer, body io.Reader) error { return cutLines(w, body, "\r\n", cutBase64) },
	isQuotedPrintable: func(w io.Writer, body io.Reader) error { return cutLines(w, body, "=\r\n", cutQuotedPrintable) },
}

func writeText(w io.Writer, body io.Reader) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.Copy(q, body); err != nil {
		return err
	}
	return q.Close()
}

// encodedLine is the length of an encoded line (RFC 2045 sections 6.7 and 6.8).
const encodedLine = 76

func writeBinary(w io.Writer, body io.Reader) error {
	b := bufio.NewWriter(w)
	lines := &lineWriter{w: b}
	encoder := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(encoder, body); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	if _, err := b.WriteString("\r\n"); err != nil {
		return err
	}
	return b.Flush()
}

// A lineWriter breaks what is written into lines of encodedLine bytes.
type lineWriter struct {
	w *bufio.Writer
	n int // bytes of the line so far
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for _, ch := range p {
		if l.n == encodedLine {
			l.n = 0
			if _, err := l.w.WriteString("\r\n"); err != nil {
				return 0, err
			}
		}
		if err := l.w.WriteByte(ch); err != nil {
			return 0, err
		}
		l.n++
	}
	return len(p), nil
}

// cutLines puts lineBreak into every line over maxLine, where cut says.
func cutLines(w io.Writer, body io.Reader, lineBreak string, cut func([]byte) int) error {
	in, out := bufio.NewReaderSize(body, maxPiece), bufio.NewWriter(w)
	for long := false; ; {
		line, err := in.ReadSlice('\n')
		full := err == bufio.ErrBufferFull
		if long || full || isLong(line) { // long: the rest of a line that filled the buffer
			for len(line) > encodedLine+2 {
				n := cut(line)
				out.Write(line[:n])
				out.WriteString(lineBreak)
				line = line[n:]
			}
		}
		out.Write(line)
		long = full
		switch {
		case err == io.EOF:
			return out.Flush()
		case err != nil && !full:
			return err
		}
	}
}

func cutBase64([]byte) int { return encodedLine }

// cutQuotedPrintable leaves room for the equals sign of a soft line break, and does
// not cut an encoded byte.
func cutQuotedPrintable(line []byte) int {
	n := encodedLine - 1
	switch {
	case line[n-1] == '=':
		return n - 1
	case line[n-2] == '=':
		return n - 2
	}
	return n
}
