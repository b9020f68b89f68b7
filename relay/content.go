package relay

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/emersion/go-smtp"
)

const (
	maxInMemory = 256 << 10 // of a content; what is larger goes to a temporary file
	maxHeader   = maxInMemory
)

// Errors of receive for contents that are refused.
var (
	errTooLarge    = errors.New("too large")
	errBareCR      = errors.New("bare CR")
	errNUL         = errors.New("NUL")
	errHeaderSize  = errors.New("header too large")
	errLineTooLong = errors.New("line too long")
	errAbandoned   = errors.New("abandoned")
)

// A content is a message as it was received. The header is in memory, the rest in
// memory or in a file.
type content struct {
	header   []byte // up to and including the empty line that ends it
	rest     io.ReaderAt
	restSize int64

	mem     []byte   // the whole content, or the part that is not yet in the file
	file    *os.File // nil while the content fits in maxInMemory
	temp    *tempSpace
	taken   int64 // of temp
	size    int64
	endless bool // refused, and over maxSkipped bytes long

	longLines int // lines over longLine bytes
}

// Close removes the temporary file.
func (c *content) Close() {
	if c.file == nil {
		return
	}
	c.file.Close()
	os.Remove(c.file.Name()) // for systems that cannot remove an open file
	c.temp.giveBack(c.taken)
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// receive reads a content to its end and makes every line end in CRLF (RFC 5321
// section 2.3.8). It reads a refused content to its end too, because the client
// expects the reply there. After maxSkipped bytes it gives up and sets endless. The
// caller must close the content, also after an error. If r panics, receive closes it.
func receive(r io.Reader, limit, declared int64, temp *tempSpace) (*content, error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	c := &content{mem: make([]byte, 0, min(declared+declared/64, maxInMemory)), temp: temp}
	returned := false
	defer func() {
		if !returned {
			c.Close()
		}
	}()
	err := c.readFrom(r, buf[:], limit)
	returned = true
	return c, err
}

// readFrom reads the content from r, piece by piece into buf.
func (c *content) readFrom(r io.Reader, buf []byte, limit int64) error {
	var fault error
	var lines lineEnds
	for read := int64(0); ; {
		n, err := r.Read(buf)
		read += int64(n)
		if fault == nil {
			fault = lines.scan(buf[:n], c.write)
		}
		if fault == nil && c.size > limit {
			fault = errTooLarge
		}
		if fault != nil && read > maxSkipped(limit) {
			c.endless = true
			return fault
		}
		switch {
		case errors.Is(err, smtp.ErrDataReset):
			return errAbandoned
		case err != nil && err != io.EOF:
			return err
		case err == io.EOF && fault != nil:
			return fault
		case err == io.EOF:
			c.longLines = lines.long()
			return c.finish(lines.cr)
		}
	}
}

// maxSkipped is how many bytes of a message that is refused are read, so that the
// client gets a reply. Beyond that the connection ends.
func maxSkipped(limit int64) int64 { return 2*limit + maxInMemory }

// write appends to the content. Beyond maxInMemory it moves the content to a file.
// It fills the memory first, so that the size limit of the header does not depend on
// how p is cut.
func (c *content) write(p []byte) error {
	c.size += int64(len(p))
	if room := maxInMemory - len(c.mem); len(p) > room {
		c.keep(p[:room])
		p = p[room:]
		if err := c.spill(); err != nil {
			return err
		}
	}
	c.keep(p)
	return nil
}

// keep appends to mem.
func (c *content) keep(p []byte) {
	if n := len(c.mem) + len(p); n > cap(c.mem) {
		c.mem = append(make([]byte, 0, max(n, min(2*cap(c.mem), maxInMemory))), c.mem...)
	}
	c.mem = append(c.mem, p...)
}

// spill moves mem to the file. One large write takes far less time than many small
// ones.
func (c *content) spill() error {
	if c.file == nil {
		end := headerEnd(c.mem)
		if end < 0 {
			return errHeaderSize
		}
		f, err := os.CreateTemp(c.temp.dir, "gatepost-*")
		if err != nil {
			return err
		}
		os.Remove(f.Name()) // on Unix the file is gone even after a crash
		c.file, c.header = f, bytes.Clone(c.mem[:end])
	}
	n := int64(len(c.mem))
	if !c.temp.take(n) {
		return errTempFull
	}
	c.taken += n
	_, err := c.file.Write(c.mem)
	c.mem = c.mem[:0]
	return err
}

// finish splits the content into its header and the rest.
func (c *content) finish(endsInCR bool) error {
	if endsInCR {
		return errBareCR
	}
	if c.file != nil {
		end := int64(len(c.header))
		c.restSize = c.size - end
		c.rest = io.NewSectionReader(c.file, end, c.restSize)
		err := c.spill()
		c.mem = nil
		return err
	}
	end := headerEnd(c.mem)
	if end < 0 {
		end = len(c.mem) // no body
	}
	c.header = c.mem[:end:end]
	c.restSize = c.size - int64(end)
	c.rest = bytes.NewReader(c.mem[end:])
	return nil
}

// headerEnd returns the offset of the body, which begins after the first empty
// line. It returns -1 if there is no empty line.
func headerEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// lineEnds checks and counts the lines of a stream.
type lineEnds struct {
	cr     bool // the last byte was a CR
	length int  // of the line so far, with its CR
	longs  int  // ended lines that are over longLine
}

// longLine is the most bytes that a line may have (RFC 5322 section 2.1.1),
// without its CRLF.
const longLine = 998

// isLong reports whether the line that ends here is too long.
func (l *lineEnds) isLong(endsInCR bool) bool {
	return l.length > longLine && !(l.length == longLine+1 && endsInCR)
}

// long returns the number of lines that are too long. The last line may lack its
// CRLF.
func (l *lineEnds) long() int {
	if l.isLong(l.cr) {
		return l.longs + 1
	}
	return l.longs
}

// maxLine is the longest line of a message, in bytes. RFC 5321 section 4.5.3.1.6
// says 1000, but many programs write a whole document in one line.
const maxLine = 64 << 10

// scan calls write with the pieces of b, and makes every bare LF a CRLF. It refuses
// a bare CR and a NUL, because some servers end a line, or even a message, there.
func (l *lineEnds) scan(b []byte, write func([]byte) error) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	start := 0 // of the part that is not yet written
	for i := 0; i < len(b); {
		n := bytes.IndexByte(b[i:], '\n')
		line := b[i:]
		if n >= 0 {
			line = b[i : i+n]
		}
		if l.length += len(line); l.length > maxLine {
			return errLineTooLong
		}
		switch cr := bytes.IndexByte(line, '\r'); {
		case l.cr && len(line) > 0, cr >= 0 && cr < len(line)-1:
			return errBareCR
		case n < 0: // the line goes on in the next piece
			l.cr = cr >= 0 || l.cr && len(line) == 0
			return write(b[start:])
		case cr < 0 && !l.cr: // a bare LF
			if err := write(b[start : i+n]); err != nil {
				return err
			}
			if err := write([]byte("\r")); err != nil {
				return err
			}
			start = i + n
		}
		if l.isLong(l.cr || bytes.HasSuffix(line, []byte("\r"))) {
			l.longs++
		}
		l.cr, l.length = false, 0
		i += n + 1
	}
	return write(b[start:])
}

func isDiskFull(err error) bool {
	return err == errTempFull || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
