package relay_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// sized returns a message of exactly n bytes.
func sized(n int) string {
	const head = "From: shop@acme.example\r\n\r\n"
	n -= len(head)
	lines := n/len(filler) - 1
	return head + strings.Repeat(filler, lines) + strings.Repeat("x", n-lines*len(filler)-2) + "\r\n"
}

// ways holds the ways to send a message in which no line begins with a dot.
var ways = []struct {
	name string
	send func(string) string
}{
	{"DATA", func(m string) string { return "DATA\r\n" + m + ".\r\n" }},
	{"BDAT", func(m string) string { return chunk(m, true) }},
	{"BDAT, chunks", func(m string) string { return chunk(m[:len(m)/2], false) + chunk(m[len(m)/2:], true) }},
	{"BDAT, last 0", func(m string) string { return chunk(m, false) + chunk("", true) }},
}

// TestMessageSize sends messages of exactly the limit, and of one byte more.
func TestMessageSize(t *testing.T) {
	const limit = 300_000 // larger than the part that is kept in memory
	r := startRelay(t, func(s *relay.Server) { s.MaxMessageBytes = limit })
	for _, way := range ways {
		name, send := way.name, way.send
		for _, test := range []struct {
			size           int
			declared, want string
		}{
			{limit, "", "250 2.0.0 accepted"},
			{limit, fmt.Sprintf(" SIZE=%d", limit), "250 2.0.0 accepted"},
			{limit, " SIZE=1", "250 2.0.0 accepted"},
			{limit + 1, "", "552 5.3.4"},
			{limit + 1, " SIZE=1", "552 5.3.4"},
			{2 * limit, fmt.Sprintf(" SIZE=%d", limit), "552 5.3.4"},
		} {
			t.Run(fmt.Sprintf("%s %d%s", name, test.size, test.declared), func(t *testing.T) {
				c := login(t, r)
				before := len(r.Messages())
				c.cmd("MAIL FROM:<shop@acme.example>"+test.declared, "250")
				c.cmd("RCPT TO:<bob@example.com>", "250")
				m := sized(test.size)
				if len(m) != test.size {
					t.Fatalf("the test made a message of %d bytes", len(m))
				}
				c.send(send(m) + "NOOP\r\n")
				var last string
				for last == "" || strings.HasPrefix(last, "354") || strings.HasSuffix(last, "chunk received") {
					last = c.reply()
				}
				if !strings.HasPrefix(last, test.want) {
					t.Errorf("got the reply %q, want %q", last, test.want)
				}
				if name == "BDAT, last 0" && test.want[0] == '5' {
					c.want("503") // to the second chunk
				}
				c.want("250") // to NOOP
				c.deliver()   // the session goes on
				messages := r.Messages()[before:]
				if test.want[0] == '2' && string(withoutTrace(messages[0].Data)) != m {
					t.Error("got another message than was sent")
				}
			})
		}
	}
	c := login(t, r)
	c.cmd(fmt.Sprintf("MAIL FROM:<shop@acme.example> SIZE=%d", limit+1), "552 5.3.4")
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=4294967295", "552 5.3.4")
	c.cmd("mail from:<shop@acme.example> size=4294967296", "552 5.3.4")
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=99999999999999999999999 BODY=8BITMIME", "552 5.3.4")
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=-1", "501")
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=5000000000x", "501")

	c = login(t, startRelay(t, func(s *relay.Server) { s.MaxMessageBytes = 8 << 30 }))
	c.cmd("MAIL FROM:<shop@acme.example> SIZE=5000000000", "250")
}

// TestHeaderSize sends headers of exactly the limit, and of one byte more.
func TestHeaderSize(t *testing.T) {
	const limit = 256 << 10
	r := startRelay(t, nil)
	for _, way := range ways {
		name, send := way.name, way.send
		for _, test := range []struct {
			size int
			want string
		}{{limit, "250 2.0.0 accepted"}, {limit + 1, "552 5.3.4 the header is larger"}} {
			size, want := test.size, test.want
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				const from = "From: shop@acme.example\r\n"
				h := from + strings.Repeat("X: "+strings.Repeat("x", 507)+"\r\n", limit/512-1)
				h += "X: " + strings.Repeat("x", size-len(h)-len("X: \r\n\r\n")) + "\r\n\r\n"
				c := login(t, r)
				c.envelope()
				go c.sendAnyway(send(h + strings.Repeat(filler, 1000)))
				last := c.reply()
				for strings.HasPrefix(last, "354") || strings.HasSuffix(last, "chunk received") {
					last = c.reply()
				}
				if !strings.HasPrefix(last, want) {
					t.Errorf("got the reply %q, want %q", last, want)
				}
			})
		}
	}
}

// TestHugeHeader sends a header of 10 MB.
func TestHugeHeader(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	for _, way := range ways[:2] {
		t.Run(way.name, func(t *testing.T) {
			send := way.send
			c := login(t, r)
			for _, m := range []string{
				"From: shop@acme.example\r\n" + strings.Repeat("X: "+filler, 130_000) + "\r\nhello\r\n",
				"From: shop@acme.example\r\nX:" + strings.Repeat(" "+filler, 130_000),
			} {
				c.envelope()
				go c.sendAnyway(send(m))
				last := c.reply()
				for strings.HasPrefix(last, "354") || strings.HasSuffix(last, "chunk received") {
					last = c.reply()
				}
				if !strings.HasPrefix(last, "552 5.3.4 the header is larger") {
					t.Fatalf("got the reply %q, want 552 5.3.4", last)
				}
			}
			c.deliver()
		})
	}
}

// TestManyRecipients names 100,000 recipients in one transaction.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	r := startRelay(t, nil)
	c := login(t, r)
	const n = 100_000
	go func() {
		var b strings.Builder
		b.WriteString("MAIL FROM:<shop@acme.example>\r\n")
		for i := range n {
			fmt.Fprintf(&b, "RCPT TO:<r%d@example.com>\r\n", i)
		}
		c.sendAnyway(b.String() + "DATA\r\n" + hello + ".\r\nQUIT\r\n")
	}()
	c.want("250")
	for i := range n {
		want := "250"
		if i >= 1000 {
			want = "452 4.5.3"
		}
		c.want(want)
	}
	c.want("354")
	c.want("250 2.0.0 accepted")
	if to := r.Messages()[0].To; len(to) != 1000 {
		t.Errorf("got %d recipients, want 1000", len(to))
	}
}

// TestLongLines sends a line of 1 MB, as a command and within a message.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	r := startRelay(t, nil)
	for _, implicit := range []bool{false, true} {
		for _, cmd := range []string{"EHLO " + long, "MAIL FROM:<" + long + "@acme.example>", long} {
			t.Run(fmt.Sprintf("command %.4s implicit=%v", cmd, implicit), func(t *testing.T) {
				c := dial(t, r, implicit)
				go c.sendAnyway(cmd + "\r\nQUIT\r\n")
				c.wantCodes("220", "421 4.5.2")
			})
		}
	}
	content := "From: shop@acme.example\r\n\r\n" + long + "\r\n"
	for _, way := range ways[:2] {
		name, data := way.name, way.send(content)
		t.Run(name, func(t *testing.T) {
			c := login(t, r)
			c.envelope()
			go c.sendAnyway(data + "NOOP\r\n")
			if name == "DATA" {
				c.want("354")
			}
			c.want("550 5.6.0 a line is longer than")
			c.want("250")
		})
	}
	accepted(t, r, 0)
}

// TestEndlessBody sends a body without an end. The server ends the connection instead
// of reading on.
func TestEndlessBody(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := startRelay(t, func(s *relay.Server) { s.MaxMessageBytes = 100_000 })
	for _, test := range []struct {
		name, begin string
	}{
		{"DATA", "DATA\r\nFrom: shop@acme.example\r\n\r\n"},
		{"DATA, bare CR", "DATA\r\nFrom: shop@acme.example\r\n\r\n\r"},
		{"DATA, header", "DATA\r\n"},
		{"BDAT", "BDAT 4000000000 LAST\r\nFrom: shop@acme.example\r\n\r\n"},
		{"BDAT, bare CR", "BDAT 4000000000 LAST\r\nFrom: shop@acme.example\r\n\r\n\r"},
		{"BDAT, no RCPT", "RSET\r\nBDAT 4000000000 LAST\r\n"},
		{"BDAT, a chunks", chunk("From: shop@acme.example\r\n\r\n", false) + "BDAT 4000000000 LAST\r\n"},
	} {
		name, begin := test.name, test.begin
		t.Run(name, func(t *testing.T) {
			c := login(t, r)
			c.envelope()
			c.send(begin)
			if strings.Contains(name, "no RCPT") {
				return // allowed: timeouts limit it
			}
			sent := make(chan int)
			go func() {
				n := 0
				c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
				for n < 64<<20 {
					w, err := io.WriteString(c.conn, strings.Repeat("X: "+filler, 100))
					n += w
					if err != nil {
						break
					}
				}
				sent <- n
			}()
			got := strings.Join(c.rest(), "\n")
			if strings.Contains(got, "accepted as") {
				t.Errorf("got the reply %q, want no success", got)
			}
			if n := <-sent; n >= 64<<20 {
				t.Errorf("got %d bytes read, want little more than the limit of 100,000", n)
			}
		})
	}
	accepted(t, r, 0)
	noFiles(t)
}

// noFiles checks that the directory for temporary files is empty, and that the process
// has no deleted file of it open.
func noFiles(t testing.TB) {
	t.Helper()
	files, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Errorf("got the temporary file %s, want none left", f.Name())
	}
	open, _ := os.ReadDir("/proc/self/fd") // on Linux only
	for _, f := range open {
		if name, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.HasPrefix(name, os.TempDir()+"/") {
			t.Errorf("got the temporary file %s open, want none", name)
		}
	}
}
