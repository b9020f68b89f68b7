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

// What receive refuses.
var (
	errTooLarge    = errors.New("too large")
	errBareCR      = errors.New("bare CR")
	errNUL         = errors.New("NUL")
	errHeaderSize  = errors.New("header too large")
	errLineTooLong = errors.New("line too long")
	errAbandoned   = errors.New("abandoned")
)

// A content is a message as it was received: the header in memory, and the rest
// in memory or in a file.
type content struct {
	header   []byte // up to and including the empty line that ends it
	rest     io.ReaderAt
	restSize int64

	mem     []byte   // all of it, or what is yet to be written to the file
	file    *os.File // nil until memory has had enough
	temp    *tempSpace
	taken   int64 // of temp
	size    int64
	endless bool // refused, and its end is too far away to wait for

	longLines int // lines over longLine bytes
}

// Close removes the file, if there is one.
func (c *content) Close() {
	if c.file == nil {
		return
	}
	c.file.Close()
	os.Remove(c.file.Name()) // already gone where an open file can be removed
	c.temp.giveBack(c.taken)
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// receive reads a content to its end. Lines leave it ending in CRLF, whatever
// they ended in (RFC 5321 section 2.3.8). One that is refused is read to its end
// too, so that the reply comes when the client expects it; if that end is
// too far away, the content is endless.
func receive(r io.Reader, limit, declared int64, temp *tempSpace) (*content, error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	c := &content{mem: make([]byte, 0, min(declared+declared/64, maxInMemory)), temp: temp}
	var fault error
	var lines lineEnds
	for read := int64(0); ; {
		n, err := r.Read(buf[:])
		read += int64(n)
		if fault == nil {
			fault = lines.scan(buf[:n], c.write)
		}
		if fault == nil && c.size > limit {
			fault = errTooLarge
		}
		if fault != nil && read > maxSkipped(limit) {
			c.endless = true
			return c, fault
		}
		switch {
		case errors.Is(err, smtp.ErrDataReset):
			return c, errAbandoned
		case err != nil && err != io.EOF:
			return c, err
		case err == io.EOF && fault != nil:
			return c, fault
		case err == io.EOF:
			c.longLines = lines.long()
			return c, c.finish(lines.cr)
		}
	}
}

// maxSkipped is how many bytes of a message that is refused are read, so that the
// client gets a reply. Beyond that the connection ends.
func maxSkipped(limit int64) int64 { return 2*limit + maxInMemory }

// write appends to the content, and turns to a file when memory has had enough. It
// fills memory first: how p is cut doesn't decide how large a header may be.
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

// keep appends to what is in memory.
func (c *content) keep(p []byte) {
	if n := len(c.mem) + len(p); n > cap(c.mem) {
		c.mem = append(make([]byte, 0, max(n, min(2*cap(c.mem), maxInMemory))), c.mem...)
	}
	c.mem = append(c.mem, p...)
}

// spill moves what is in memory to the file, which takes a large piece in far
// less time than many small ones.
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
		os.Remove(f.Name()) // on Unix: gone whatever happens to us
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

// headerEnd returns where the body begins: after the first empty line. It is -1
// if there is none.
func headerEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// lineEnds watches the lines of a stream.
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

// scan hands b on in pieces, with every bare LF made CRLF. A bare CR and a NUL
// are refused: neither may ever leave the relay, since some servers end a line,
// or even a message, there.
func (l *lineEnds) scan(b []byte, write func([]byte) error) error {
	if bytes.IndexByte(b, 0) >= 0 {
		return errNUL
	}
	start := 0 // of what is not yet written
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
