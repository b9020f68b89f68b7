package diagnose

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// A reply is what the server said (RFC 5321 section 4.2).
type reply struct {
	code  int
	lines []string // without the code
}

// quote returns the reply as one printable line without the password. The line is cut
// last, because a part of the password would not be found.
func (c *checker) quote(r reply) string {
	text := c.withoutPassword(strconv.Itoa(r.code) + " " + strings.Join(r.lines, " "))
	text = c.withoutPassword(mailtext.OneLine(text, len(text)))
	return mailtext.OneLine(text, 400)
}

var errNotSMTP = errors.New("not an SMTP reply")

// maxLines is how many lines of a reply are read. Each has at most the size of the buffer.
const maxLines = 100

// use makes conn the connection from now on.
func (c *checker) use(conn net.Conn) {
	c.conn, c.text = conn, bufio.NewReaderSize(conn, 4096)
}

// read reads a reply.
func (c *checker) read() (r reply, err error) {
	for range maxLines {
		line, err := c.text.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return r, errNotSMTP
		}
		if err != nil {
			return r, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		code, err := strconv.Atoi(text[:min(len(text), 3)])
		if err != nil || code < 200 || code > 599 || len(text) > 3 && text[3] != ' ' && text[3] != '-' {
			return reply{lines: []string{text}}, errNotSMTP
		}
		r.code = code
		r.lines = append(r.lines, text[min(len(text), 4):])
		if len(text) == 3 || text[3] == ' ' {
			return r, nil
		}
	}
	return r, errNotSMTP
}

// command sends a line and reads the reply.
func (c *checker) command(line string) (reply, error) {
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return reply{}, err
	}
	return c.read()
}

// hello says EHLO, with the address as the name (RFC 5321 section 4.1.4).
func (c *checker) hello() (reply, error) {
	name := "localhost"
	if a, ok := c.conn.LocalAddr().(*net.TCPAddr); ok {
		name = "[" + a.IP.String() + "]"
		if a.IP.To4() == nil {
			name = "[IPv6:" + a.IP.String() + "]"
		}
	}
	r, err := c.command("EHLO " + name)
	c.extensions = make(map[string]string)
	for i, line := range r.lines {
		if i > 0 && r.code == 250 {
			keyword, params, _ := strings.Cut(line, " ")
			c.extensions[strings.ToUpper(keyword)] = strings.ToUpper(params)
		}
	}
	return r, err
}

// broken returns the result of a step in which no reply came.
func (c *checker) broken(err error) result {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return result{detail: fmt.Sprintf("The server did not answer within %v.", c.Timeout),
			advice: "Try again. If it stays like this, a firewall or a virus scanner on the way may be holding the connection."}
	case errors.Is(err, errNotSMTP):
		return result{detail: "What answers is not a mail server.", advice: "Check the name of the server and the port."}
	}
	return result{detail: "The server closed the connection.", advice: "Try again in a minute. If it stays like this, check the port."}
}

// auth logs in, with PLAIN if that is offered, and otherwise with LOGIN (RFC 4954).
func (c *checker) auth(context.Context) result {
	offered := strings.Fields(c.extensions["AUTH"])
	var r reply
	var err error
	switch usable := slices.Contains(offered, "PLAIN") || slices.Contains(offered, "LOGIN"); {
	case usable && c.Password.Reveal() == "":
		return result{detail: "No password is entered.", advice: "Enter the password that was shown when the user was made. If it is lost, reset it and enter the new one."}
	case slices.Contains(offered, "PLAIN"):
		r, err = c.command("AUTH PLAIN " + encode("\x00"+c.Username+"\x00"+c.Password.Reveal()))
	case slices.Contains(offered, "LOGIN"):
		if r, err = c.command("AUTH LOGIN"); err == nil && r.code == 334 {
			r, err = c.command(encode(c.Username))
		}
		if err == nil && r.code == 334 {
			r, err = c.command(encode(c.Password.Reveal()))
		}
	default:
		return result{detail: "The server offers no login with a password.", advice: "Check the name of the server and the port: this one may only receive mail."}
	}
	switch {
	case err != nil:
		return c.broken(err)
	case r.code == 235:
		return result{ok: true, detail: "The username and the password are right."}
	}
	return result{detail: fmt.Sprintf("The server refused the login: %s", c.quote(r)), advice: authAdvice(r.code)}
}

func authAdvice(code int) string {
	switch {
	case code == 535:
		return "Copy the username and the password again, without blanks around them. If the password was reset, the old one does not work any more. If it is lost, reset it and enter the new one. If the user may log in from certain networks only, this check fails elsewhere although the password is right."
	case code < 500:
		return "The server cannot decide now. Wait a minute and try again; many wrong passwords in a row make it slower."
	}
	return "Check the username, and that the server's name and port are right."
}

// mail asks whether the sender is allowed, and takes the question back.
func (c *checker) mail(context.Context) result {
	const check = "Enter an address such as shop@example.com, without a name in front of it."
	if !strings.Contains(c.From, "@") || !mailtext.IsASCII(c.From) || strings.ContainsAny(c.From, "<> ,;") || strings.ContainsFunc(c.From, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return result{detail: fmt.Sprintf("The sender %q is not a plain address.", mailtext.OneLine(c.From, 254)), advice: check}
	}
	r, err := c.command("MAIL FROM:<" + c.From + ">")
	switch {
	case err != nil:
		return c.broken(err)
	case r.code == 250:
		c.command("RSET")
		return result{ok: true, detail: fmt.Sprintf("The server takes mail from %s.", c.From)}
	}
	return result{detail: fmt.Sprintf("The server refused the sender %s: %s", c.From, c.quote(r)), advice: mailAdvice(r.code)}
}

func mailAdvice(code int) string {
	switch {
	case code == 530:
		return "The server wants a login first. Switch authentication on in the tool."
	case code == 501 || code == 553:
		return "Check the sender's address for typos."
	case code < 500:
		return "The server cannot take mail now. Wait a minute and try again."
	}
	return "Set the tool's sender to an address at the domain that this user belongs to. If it is, read what the server says: sending may be suspended, or a limit reached."
}

// withoutPassword removes the password, in all forms in which it was sent.
func (c *checker) withoutPassword(text string) string {
	password := c.Password.Reveal()
	if password == "" {
		return text
	}
	for _, form := range []string{encode("\x00" + c.Username + "\x00" + password), encode(password), password, mailtext.OneLine(password, max(len(password), 3))} {
		text = strings.ReplaceAll(text, form, "[redacted]")
	}
	return text
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
