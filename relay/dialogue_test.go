package relay_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// TestDialogues plays the files in testdata/dialogues against a real server. Every
// reply that refuses something has to make an event.
//
//	# text          a comment
//	C: text         the client sends the line, ending in CRLF
//	C| "text"       the client sends exactly the text, a Go string
//	S: text         the server sends the line; * matches any text
//	== starttls     the client does the TLS handshake
//	== closed       the server has closed the connection
//	== mail "text"  the next accepted message has exactly this content
//	== no mail      no further message is accepted
//	== suspend user r     the user is suspended for the reason r
//	== suspend domain r   its domain is; without r both go on
//	== rotate             the user gets a second password; the first works as well
//	== networks n         the user may log in from the network n only; without n from all
//	== end overlap        the first password ends
//	== envelope f -> t u  the next accepted message has sender f and recipients t, u
//
// In any text $user, $pass, $plain (the AUTH PLAIN response), $user64 and
// $pass64 stand for the credentials; $pasted is $plain with the username in
// upper case and white space around both. A file whose name begins with tls- speaks
// TLS from the first byte, one that begins with insecure- goes to a server with
// InsecureAuth.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no dialogues, error %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := relaytest.NewUnstartedRelay(t)
			r.Server.InsecureAuth = strings.HasPrefix(name, "insecure-")
			r.Server.MaxRecipients = 3
			r.Server.MaxMessageBytes = 2000
			events := newEventLog()
			r.Server.OnEvent = events.add
			r.Start()
			d := &dialogue{t: t, r: r, client: dial(t, r, strings.HasPrefix(name, "tls-"))}
			for i, line := range strings.Split(strings.TrimRight(string(script), "\n"), "\n") {
				d.line = fmt.Sprintf("%s:%d", file, i+1)
				d.step(line)
			}
			d.conn.Close()
			eventually(t, "the end of the session", events.ended)
			wantCodesOf(t, d.replies, refusalsOf(events.all()))
		})
	}
}

type dialogue struct {
	t    *testing.T
	r    *relaytest.Relay
	seen int // how many messages the dialogue has checked

	replies []string // every line the server sent
	*client
}

func (d *dialogue) step(line string) {
	d.t.Helper()
	verb, text, _ := strings.Cut(line, " ")
	text = expand(d.r, text)
	switch verb {
	case "", "#":
	case "C:":
		d.send(text + "\r\n")
	case "C|":
		d.send(d.unquote(text))
	case "S:":
		got := d.readLine()
		d.replies = append(d.replies, got)
		want := "^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, ".*") + "$"
		if !regexp.MustCompile(want).MatchString(got) {
			d.t.Fatalf("%s: got\n   %q, want\n   %q", d.line, got, text)
		}
	case "==":
		d.event(text)
	default:
		d.t.Fatalf("%s: unknown step %q", d.line, line)
	}
}

func (d *dialogue) event(text string) {
	d.t.Helper()
	mail, isMail := strings.CutPrefix(text, "mail ")
	switch {
	case text == "starttls":
		d.startTLS()
	case text == "closed":
		if got := d.readLine(); got != "EOF" {
			d.t.Fatalf("%s: got %q, want the end of the connection", d.line, got)
		}
	case text == "no mail":
		if n := len(d.r.Messages()); n != d.seen {
			d.t.Fatalf("%s: got %d messages, want %d", d.line, n, d.seen)
		}
	case strings.HasPrefix(text, "suspend "):
		d.suspend(strings.TrimPrefix(text, "suspend "))
	case strings.HasPrefix(text, "networks"):
		var networks []netip.Prefix
		if _, network, ok := strings.Cut(text, " "); ok {
			networks = append(networks, netip.MustParsePrefix(network))
		}
		if err := d.r.Credentials.Tenant(d.r.Tenant).SetNetworks(d.t.Context(), d.r.Username, networks); err != nil {
			d.t.Fatalf("%s: %v", d.line, err)
		}
	case text == "rotate":
		if _, err := d.r.Credentials.Tenant(d.r.Tenant).RotatePassword(d.t.Context(), d.r.Username, time.Hour); err != nil {
			d.t.Fatalf("%s: %v", d.line, err)
		}
	case text == "end overlap":
		if err := d.r.Credentials.Tenant(d.r.Tenant).EndOverlap(d.t.Context(), d.r.Username); err != nil {
			d.t.Fatalf("%s: %v", d.line, err)
		}
	case strings.HasPrefix(text, "envelope "):
		messages := d.r.Messages()
		if len(messages) <= d.seen {
			d.t.Fatalf("%s: got no message", d.line)
		}
		m := messages[d.seen]
		got := "envelope " + m.From + " ->"
		for _, r := range m.To {
			got += " " + r.Address
		}
		if got != text {
			d.t.Fatalf("%s: got\n   %s, want\n   %s", d.line, got, text)
		}
		d.seen++
	case isMail:
		messages := d.r.Messages()
		if len(messages) <= d.seen {
			d.t.Fatalf("%s: got no message", d.line)
		}
		got, want := string(withoutTrace(messages[d.seen].Data)), d.unquote(mail)
		if got != want {
			d.t.Fatalf("%s: got the message\n   %q, want\n   %q", d.line, got, want)
		}
		d.seen++
	default:
		d.t.Fatalf("%s: unknown step %q", d.line, text)
	}
}

func (d *dialogue) suspend(text string) {
	d.t.Helper()
	what, reason, _ := strings.Cut(text, " ")
	tenant, ctx := d.r.Credentials.Tenant(d.r.Tenant), d.t.Context()
	err := errors.New("unknown step")
	switch {
	case what == "user" && reason == "":
		err = tenant.ResumeUser(ctx, d.r.Username)
	case what == "user":
		err = tenant.SuspendUser(ctx, d.r.Username, reason)
	case what == "domain" && reason == "":
		err = tenant.ResumeDomain(ctx, d.r.Domain)
	case what == "domain":
		err = tenant.SuspendDomain(ctx, d.r.Domain, reason)
	}
	if err != nil {
		d.t.Fatalf("%s: %v", d.line, err)
	}
}

func (d *dialogue) unquote(s string) string {
	d.t.Helper()
	text, err := strconv.Unquote(s)
	if err != nil {
		d.t.Fatalf("%s: %q is not a Go string", d.line, s)
	}
	return text
}

func expand(r *relaytest.Relay, s string) string {
	b64 := base64.StdEncoding.EncodeToString
	return strings.NewReplacer(
		"$user64", b64([]byte(r.Username)), "$pass64", b64([]byte(r.Password)),
		"$user", r.Username, "$pass", r.Password,
		"$pasted", b64([]byte("\x00 "+strings.ToUpper(r.Username)+"\r\n\x00"+r.Password+"\r\n")),
		"$plain", b64([]byte("\x00"+r.Username+"\x00"+r.Password)),
	).Replace(s)
}

var trace = regexp.MustCompile(`(?s)\AReceived: from \[127\.0\.0\.1\]\r\n\tby relay\.test with [A-Z0-9]+ id [0-9a-z]{26};\r\n\t[^\r]*\r\n`)
var added = regexp.MustCompile(`\A(Message-ID: <[0-9a-z]{26}@relay\.test>\r\n)?(Date: [^\r]*\r\n)?`)

// withoutTrace removes the Received field and the other fields that the relay added.
func withoutTrace(data []byte) []byte {
	loc := trace.FindIndex(data)
	if loc == nil {
		return append([]byte("(no Received line) "), data...)
	}
	data = data[loc[1]:]
	return data[added.FindIndex(data)[1]:]
}

// A client sends exactly the bytes of a test.
type client struct {
	t    testing.TB
	line string // of the dialogue, for messages
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, r *relaytest.Relay, implicitTLS bool) *client {
	t.Helper()
	addr := r.Addr
	if implicitTLS {
		addr = r.AddrTLS
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := newClient(t, nc)
	if implicitTLS {
		c.startTLS()
	}
	return c
}

func newClient(t testing.TB, nc net.Conn) *client {
	return &client{t: t, conn: nc, r: bufio.NewReader(nc)}
}

func (c *client) startTLS() {
	c.t.Helper()
	tc := tls.Client(c.conn, relaytest.ClientTLS())
	c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := tc.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func (c *client) send(s string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// readLine returns a line without its CRLF, or "EOF" when the server has closed.
func (c *client) readLine() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := c.r.ReadString('\n')
	switch {
	case err == nil && strings.HasSuffix(line, "\r\n"):
		return line[:len(line)-2]
	case err == nil:
		c.t.Fatalf("%s: got a line with a bare LF, want CR LF: %q", c.line, line)
	case isTimeout(err):
		c.t.Fatalf("%s: got no reply in 20 seconds", c.line)
	}
	return line + "EOF"
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// reply returns a whole reply, its lines joined by "\n".
func (c *client) reply() string {
	c.t.Helper()
	var lines []string
	for {
		line := c.readLine()
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// cmd sends a line and checks that the reply begins with want.
func (c *client) cmd(line, want string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	return c.want(want)
}

func (c *client) want(want string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, want) {
		c.t.Fatalf("got the reply %q, want %q", got, want)
	}
	return got
}

// login returns a new TLS connection that is logged in.
func login(t testing.TB, r *relaytest.Relay) *client {
	t.Helper()
	return loginAs(t, r, expand(r, "$plain"))
}

// loginAs logs in with an AUTH PLAIN response.
func loginAs(t testing.TB, r *relaytest.Relay, plain string) *client {
	t.Helper()
	c := dial(t, r, true)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd("AUTH PLAIN "+plain, "235")
	return c
}

// newUser adds a user to the relay's domain and returns its AUTH PLAIN response.
func newUser(t testing.TB, r *relaytest.Relay) (plain string) {
	t.Helper()
	u, p, err := r.Credentials.Tenant(r.Tenant).AddUser(t.Context(), r.Domain, "another")
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString([]byte("\x00" + u.Username + "\x00" + p.Reveal()))
}

// envelope sends MAIL and RCPT.
func (c *client) envelope() {
	c.t.Helper()
	c.cmd("MAIL FROM:<shop@acme.example>", "250")
	c.cmd("RCPT TO:<bob@example.com>", "250")
}

// beginData sends a message up to its first line.
func (c *client) beginData() {
	c.t.Helper()
	c.envelope()
	c.cmd("DATA", "354")
	c.send("X-Begun: yes\r\n")
}

const hello = "From: shop@acme.example\r\nSubject: hi\r\n\r\nhello\r\n"

// deliver sends a whole message and checks that it is accepted.
func (c *client) deliver() {
	c.t.Helper()
	c.envelope()
	c.cmd("DATA", "354")
	c.cmd(hello+".", "250 2.0.0 accepted")
}
