package relay

import (
	"bytes"
	"io"
)

// A dataReader reads a message sent with DATA from the conn itself. It removes the
// dots that the client added in front of dots, and the line that ends the message
// (RFC 5321 section 4.5.2). go-smtp's own reader is slower, and loses or misses
// bytes next to a bare CR.
//
// It relies on go-smtp having read the DATA command and nothing behind it. Close
// lets go-smtp find the end of the message.
type dataReader struct {
	c    *conn
	dots unstuffer
	err  error
}

func (d *dataReader) Read(p []byte) (int, error) {
	for d.err == nil {
		n, used, end := d.dots.unstuff(p, d.c.in.Bytes())
		d.c.in.Next(used)
		if n == 0 && !end {
			var m int
			m, d.err = d.c.fill(p)
			if d.c.in.Len() > 0 { // a dot, which may begin the final line
				d.c.in.Write(p[:m])
				continue
			}
			n, used, end = d.dots.unstuff(p, p[:m])
			d.c.in.Write(p[used:m])
		}
		if end {
			d.err = io.EOF
			return n, io.EOF
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, d.err
}

// Close gives go-smtp the end of the message if the reader has reached it.
func (d *dataReader) Close() {
	if d.err == io.EOF && !d.c.broken.Load() {
		d.c.given = ".\r\n"
	}
	if d.c.in.Len() == 0 {
		d.c.in = bytes.Buffer{} // the buffer may have become large
	}
}

// An unstuffer removes the dots of transparency from a stream. Only CRLF . CRLF ends
// the stream, and a line begins only after CRLF. A server that accepts less as a line
// end sees messages that the client did not send (SMTP smuggling).
type unstuffer struct {
	inLine bool // the next byte is not the first of a line
	cr     bool // the last byte was a CR
}

var lineDot = []byte("\r\n.")

// unstuff copies from src to dst as far as it can. It returns the number of bytes
// written, the number of bytes read from src, and whether it reached the end. It
// reads nothing if it needs more bytes to decide. dst may begin where src does.
func (u *unstuffer) unstuff(dst, src []byte) (n, used int, end bool) {
	for n < len(dst) && used < len(src) {
		rest := src[used:]
		if !u.inLine && rest[0] == '.' {
			switch {
			case bytes.HasPrefix(rest, []byte(".\r\n")):
				return n, used + 3, true
			case bytes.HasPrefix([]byte(".\r\n"), rest):
				return n, used, false
			}
			used++
			u.inLine = true
			continue
		}
		piece := rest
		if i := bytes.Index(rest, lineDot); i >= 0 {
			piece = rest[:i+2]
		}
		if u.cr && rest[0] == '\n' {
			piece = rest[:1]
		}
		k := min(len(piece), len(dst)-n)
		u.inLine = !(piece[k-1] == '\n' && (k > 1 && piece[k-2] == '\r' || k == 1 && u.cr))
		u.cr = piece[k-1] == '\r'
		copy(dst[n:], piece[:k])
		n, used = n+k, used+k
	}
	return n, used, false
}
