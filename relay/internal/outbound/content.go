package outbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/gatepost-mail/gatepost/relay"
)

// piece is how much of a content is read, and sent, at a time. It is two records
// of TLS.
const piece = 32 << 10

// content sends the content and reads the answer. It is streamed: a small message
// is one write, a large one never in memory as a whole.
func (c *Conn) content(m *relay.Message) (string, error) {
	src := m.Content()
	left := src.Size()
	c.in = grow(c.in, min(left, piece))
	out := c.out[:0]
	if c.ext.chunking {
		size, err := chunkSize(src)
		if err != nil {
			return "", c.abandon(err)
		}
		out = append(out, "BDAT "...)
		out = strconv.AppendInt(out, size, 10)
		out = append(out, " LAST\r\n"...)
	}
	e := encoder{stuff: !c.ext.chunking, begin: true}
	for left > 0 {
		in := c.in[:min(left, piece)]
		_, err := io.ReadFull(src, in)
		if err == nil {
			out, err = e.append(out, in)
		}
		if err != nil {
			return "", c.abandon(err)
		}
		if left -= int64(len(in)); left > 0 {
			if err := c.write(Content, out); err != nil {
				return "", c.earlyReply(err)
			}
			out = out[:0]
		}
	}
	out, err := e.finish(out)
	if err != nil {
		return "", c.abandon(err)
	}
	c.out = out
	return c.finish(out)
}

// finish sends the last piece. From then on the server may have the message.
func (c *Conn) finish(out []byte) (string, error) {
	if err := c.write(End, out); err != nil {
		return "", c.earlyReply(err)
	}
	rp, err := c.read(End)
	if err != nil {
		return "", err
	}
	c.usable = true
	if rp.code/100 != 2 {
		return "", c.refuse(End, rp)
	}
	return rp.String(), nil
}

// abandon gives up a message in its middle. The connection must be closed, because
// SMTP has no other way to abandon content.
func (c *Conn) abandon(err error) error {
	var re *relay.ReplyError
	if errors.As(err, &re) {
		return err
	}
	return &Error{Host: c.host, Step: Content, Err: fmt.Errorf("reading the message: %w", err)}
}

// earlyReply returns the reply of a server that stopped reading, or err, the error of
// the write, if it sent none.
func (c *Conn) earlyReply(err error) error {
	if c.contextErr() != nil {
		return err
	}
	c.limitEarly()
	rp, readErr := readReply(c.r, c.text)
	c.text = rp.text
	if readErr != nil || rp.code < 400 {
		return err
	}
	return c.refuse(Content, rp)
}

// chunkSize returns the size of a content with the line end that finish adds.
func chunkSize(src *io.SectionReader) (int64, error) {
	size := src.Size()
	var end [2]byte
	if size >= 2 {
		if _, err := src.ReadAt(end[:], size-2); err != nil {
			return 0, err
		}
	}
	if size > 0 && string(end[:]) != "\r\n" {
		size += 2
	}
	return size, nil
}

// grow returns b with a length of n.
func grow(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// An encoder prepares content for sending. It refuses a bare CR, a bare LF and a NUL:
// some servers take a bare CR or LF for a line end, and would find commands or the end
// of the message in the content (RFC 5321 section 2.3.8). relay.Server accepts no such
// content, but an embedder's Forwarder could make some.
type encoder struct {
	stuff bool // add a dot to lines that begin with one (RFC 5321 section 4.5.2)
	begin bool // at the beginning of a line
	cr    bool // after a CR
}

// errBare is the refusal of content that can't be sent.
func errBare() error {
	return final(550, "5.6.0", "the message contains a bare CR, a bare LF or a NUL")
}

// append appends the next part of the content to dst.
func (e *encoder) append(dst, src []byte) ([]byte, error) {
	if bytes.IndexByte(src, 0) >= 0 {
		return dst, errBare()
	}
	from := 0 // what is not yet appended
	for at := 0; at < len(src); {
		if e.stuff && e.begin && src[at] == '.' {
			dst = append(append(dst, src[from:at]...), '.')
			from = at
		}
		line, complete := src[at:], false
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, complete = line[:i+1], true
		}
		if !e.wellFormed(line, complete) {
			return dst, errBare()
		}
		e.begin, e.cr = complete, line[len(line)-1] == '\r'
		at += len(line)
	}
	return append(dst, src[from:]...), nil
}

// wellFormed reports whether every CR of a line, or of a part of one, is right before
// the LF, which may come with the next part.
func (e *encoder) wellFormed(line []byte, complete bool) bool {
	if e.cr { // of the part before
		return complete && len(line) == 1
	}
	i := bytes.IndexByte(line, '\r')
	if complete {
		return i >= 0 && i == len(line)-2
	}
	return i < 0 || i == len(line)-1
}

// finish appends the missing line end, and the final dot if e.stuff is set.
func (e *encoder) finish(dst []byte) ([]byte, error) {
	if e.cr {
		return dst, errBare()
	}
	if !e.begin {
		dst = append(dst, "\r\n"...)
	}
	if e.stuff {
		dst = append(dst, ".\r\n"...)
	}
	return dst, nil
}
