package relaytest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An upstreamConn is one connection to an Upstream. It belongs to a goroutine.
type upstreamConn struct {
	u        *Upstream
	n        int
	raw      net.Conn // the TCP connection
	conn     net.Conn // raw, or TLS over it
	r        *bufio.Reader
	w        *bufio.Writer
	tls      *tls.ConnectionState
	hello    string
	username string
	tx       *Received // nil outside of a transaction
}

func newUpstreamConn(u *Upstream, nc net.Conn, n int) *upstreamConn {
	return &upstreamConn{u: u, n: n, raw: nc, conn: nc, r: bufio.NewReaderSize(nc, 32<<10), w: bufio.NewWriter(nc)}
}

func (c *upstreamConn) serve() {
	if c.u.ImplicitTLS && !c.startTLS() {
		return
	}
	text, ok := c.ask(Greeting, "")
	if !ok {
		return
	}
	c.reply(text, "220 localhost ESMTP relaytest")
	for {
		line, ok := c.readLine()
		if !ok {
			return
		}
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		text, ok := c.ask(verb, line)
		if !ok || !c.command(verb, arg, text) {
			c.w.Flush()
			return
		}
	}
}

// ask consults the script. It returns the reply to give, "" for the ordinary
// one, and false if the line was dropped.
func (c *upstreamConn) ask(verb, line string) (string, bool) {
	if c.u.Script == nil {
		return "", true
	}
	a := c.u.Script(Command{Conn: c.n, Verb: verb, Line: line, More: c.r.Buffered() > 0})
	if a.Wait > 0 {
		c.w.Flush()
		select {
		case <-time.After(a.Wait):
		case <-c.u.done:
			return "", false
		}
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok && a.Reset {
		tcp.SetLinger(0)
		tcp.Close()
		return "", false
	}
	if a.Close {
		c.w.WriteString(a.Text)
		c.w.Flush()
		c.conn.Close()
		return "", false
	}
	return a.Text, true
}

// reply gives the scripted reply, or the ordinary one if there is none.
func (c *upstreamConn) reply(text, ordinary string) {
	if text == "" {
		text = ordinary
	}
	c.w.WriteString(text)
	c.w.WriteString("\r\n")
}

// positive reports whether a scripted reply lets the command happen.
func positive(text string) bool { return text == "" || text[0] == '2' || text[0] == '3' }

// command does what a command asks for and returns false if the connection is
// to end.
func (c *upstreamConn) command(verb, arg, text string) bool {
	switch verb {
	case "DATA":
		return c.data(text)
	case "BDAT":
		return c.bdat(arg, text)
	case "STARTTLS":
		return c.startTLSCommand(text)
	case "AUTH":
		return c.auth(arg, text)
	case "QUIT":
		c.reply(text, "221 2.0.0 Bye")
		return false
	}
	if !positive(text) {
		c.reply(text, "")
		return true
	}
	c.reply(text, c.simple(verb, arg))
	return true
}

// simple does the commands that are one line and one reply.
func (c *upstreamConn) simple(verb, arg string) string {
	switch verb {
	case "EHLO":
		c.hello, c.tx = arg, nil
		return c.greeting()
	case "HELO":
		c.hello, c.tx = arg, nil
		return "250 localhost"
	case "MAIL":
		return c.mail(arg)
	case "RCPT":
		return c.rcpt(arg)
	case "RSET":
		c.tx = nil
		return "250 2.0.0 Reset"
	case "NOOP":
		return "250 2.0.0 OK"
	}
	return "500 5.5.1 Unknown command"
}

func (c *upstreamConn) greeting() string {
	lines := append([]string{"localhost"}, c.u.Extensions...)
	if c.tls == nil && !c.u.NoTLS {
		lines = append(lines, "STARTTLS")
	}
	if c.u.Username != "" {
		lines = append(lines, "AUTH "+strings.Join(c.u.Mechanisms, " "))
	}
	var b strings.Builder
	for _, l := range lines[:len(lines)-1] {
		b.WriteString("250-" + l + "\r\n")
	}
	b.WriteString("250 " + lines[len(lines)-1])
	return b.String()
}

func (c *upstreamConn) mail(arg string) string {
	from, params, ok := parsePath(arg, "FROM:")
	switch {
	case c.hello == "" || c.tx != nil:
		return "503 5.5.1 Bad sequence of commands"
	case c.u.Username != "" && c.username == "":
		return "530 5.7.0 Authentication required"
	case !ok:
		return "501 5.5.2 Syntax error"
	case !c.offered(params):
		return "555 5.5.4 Parameter of an extension that isn't offered"
	case c.improperPipelining():
		return "503 5.5.0 Improper pipelining"
	}
	c.tx = &Received{
		Conn: c.n, TLS: c.tls, Hello: c.hello, Username: c.username,
		From: from, Params: params,
	}
	return "250 2.1.0 Sender OK"
}

func (c *upstreamConn) rcpt(arg string) string {
	to, params, ok := parsePath(arg, "TO:")
	switch {
	case c.tx == nil:
		return "503 5.5.1 Bad sequence of commands"
	case !ok || to == "":
		return "501 5.5.2 Syntax error"
	case !c.offered(params):
		return "555 5.5.4 Parameter of an extension that isn't offered"
	case c.improperPipelining():
		return "503 5.5.0 Improper pipelining"
	}
	c.tx.To = append(c.tx.To, ReceivedRecipient{Address: to, Params: params})
	return "250 2.1.5 Recipient OK"
}

// improperPipelining reports whether the client has sent more without having
// been told that it may (RFC 2920).
func (c *upstreamConn) improperPipelining() bool {
	return c.r.Buffered() > 0 && !c.extension("PIPELINING")
}

func (c *upstreamConn) extension(name string) bool {
	return slices.ContainsFunc(c.u.Extensions, func(line string) bool {
		keyword, _, _ := strings.Cut(line, " ")
		return strings.EqualFold(keyword, name)
	})
}

// offered reports whether all parameters belong to extensions in the EHLO reply.
func (c *upstreamConn) offered(params []string) bool {
	for _, p := range params {
		name, _, _ := strings.Cut(p, "=")
		switch name {
		case "BODY":
			name = "8BITMIME"
		case "RET", "ENVID", "NOTIFY", "ORCPT":
			name = "DSN"
		}
		if !c.extension(name) {
			return false
		}
	}
	return true
}

// parsePath takes "FROM:<path> PARAM=value" apart.
func parsePath(arg, prefix string) (path string, params []string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", nil, false
	}
	arg = arg[len(prefix):]
	if !strings.HasPrefix(arg, "<") {
		return "", nil, false
	}
	quoted := false
	for i := 1; i < len(arg); i++ {
		switch {
		case arg[i] == '\\' && quoted:
			i++
		case arg[i] == '"':
			quoted = !quoted
		case arg[i] == '>' && !quoted:
			return arg[1:i], strings.Fields(arg[i+1:]), true
		}
	}
	return "", nil, false
}

func (c *upstreamConn) startTLSCommand(text string) bool {
	if c.tls != nil || c.u.NoTLS {
		c.reply(text, "502 5.5.1 Not offered")
		return true
	}
	c.reply(text, "220 2.0.0 Go ahead")
	if !positive(text) {
		return true
	}
	c.w.Flush()
	return c.startTLS()
}

func (c *upstreamConn) startTLS() bool {
	tc := tls.Server(c.conn, c.u.server)
	if tc.Handshake() != nil {
		return false
	}
	state := tc.ConnectionState()
	c.tls, c.hello, c.conn = &state, "", tc
	c.r.Reset(tc)
	c.w.Reset(tc)
	return true
}

// readLine returns a command line without its line end.
func (c *upstreamConn) readLine() (string, bool) {
	waiting, _ := c.r.Peek(c.r.Buffered())
	if bytes.IndexByte(waiting, '\n') < 0 {
		c.w.Flush()
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", false
	}
	return string(bytes.TrimRight(line, "\r\n")), true
}

func (c *upstreamConn) data(text string) bool {
	if text == "" && (c.tx == nil || len(c.tx.To) == 0) {
		c.reply("", "503 5.5.1 No valid recipients")
		return true
	}
	if c.tx == nil {
		c.tx = &Received{Conn: c.n, TLS: c.tls, Hello: c.hello, Username: c.username}
	}
	c.reply(text, "354 Go ahead")
	if !positive(text) {
		return true
	}
	c.w.Flush()
	early, ok := c.ask(Content, "")
	if !ok {
		return false
	}
	if early != "" {
		c.reply(early, "")
		c.w.Flush()
	}
	content, ok := c.readDotted()
	if !ok || early != "" {
		c.tx = nil
		return ok
	}
	return c.settle(content)
}

// readDotted reads up to CRLF.CRLF and takes away the dots that were added
// (RFC 5321 section 4.5.2).
func (c *upstreamConn) readDotted() ([]byte, bool) {
	var content []byte
	for begin, cr := true, false; ; {
		line, err := c.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, false
		}
		if begin && string(line) == ".\r\n" {
			return content, true
		}
		if begin && line[0] == '.' {
			line = line[1:]
		}
		begin = bytes.HasSuffix(line, []byte("\r\n")) || cr && string(line) == "\n"
		cr = bytes.HasSuffix(line, []byte("\r"))
		if !c.u.Discard {
			content = append(content, line...)
		}
	}
}

func (c *upstreamConn) bdat(arg, text string) bool {
	length, last, _ := strings.Cut(arg, " ")
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil || size < 0 || size > 1<<30 {
		c.reply("", "501 5.5.4 Bad chunk size")
		return false
	}
	if early, ok := c.ask(Content, ""); !ok {
		return false
	} else if early != "" && text == "" {
		text = early
	}
	if c.tx == nil || len(c.tx.To) == 0 || !positive(text) {
		c.reply(text, "503 5.5.1 No valid recipients")
		c.w.Flush()
		_, err := c.r.Discard(int(size))
		return err == nil
	}
	if int64(c.r.Buffered()) < size {
		c.w.Flush()
	}
	if c.u.Discard {
		_, err = c.r.Discard(int(size))
	} else {
		c.tx.Content, err = appendN(c.tx.Content, c.r, size)
	}
	if err != nil {
		return false
	}
	if !strings.EqualFold(last, "LAST") {
		c.reply(text, "250 2.0.0 Chunk OK")
		return true
	}
	c.tx.Chunked = true
	return c.settle(c.tx.Content)
}

// appendN appends the next n bytes of r, whatever a client claims n to be.
func appendN(b []byte, r io.Reader, n int64) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	_, err := io.CopyN(buf, r, n)
	return buf.Bytes(), err
}

// settle answers a message whose content has arrived.
func (c *upstreamConn) settle(content []byte) bool {
	d := c.tx
	c.tx = nil
	text, ok := c.ask(EndOfData, "")
	if !ok {
		return false
	}
	if positive(text) && !c.u.Discard {
		d.Content = content
		c.u.record(*d)
	}
	c.reply(text, "250 2.0.0 Accepted")
	return true
}
