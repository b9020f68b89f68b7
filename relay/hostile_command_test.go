package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// TestCommandsAfterTheEnd pipelines a submission after a command that ends the
// session. No command of the submission is run, and the server logs no error.
func TestCommandsAfterTheEnd(t *testing.T) {
	after := "EHLO again.test\r\nAUTH PLAIN $plain\r\n" + smuggled + ".\r\n"
	bdat := "EHLO again.test\r\nAUTH PLAIN $plain\r\n" + envelope + chunk(hello, true)
	for _, test := range []struct {
		name, send string
	}{
		{"QUIT", "QUIT\r\n"},
		{"QUIT after data", envelope + "DATA\r\nno header\r\n.\r\nQUIT\r\n"},
		{"QUIT within BDAT", envelope + chunk("x", false) + "QUIT\r\n"},
		{"QUIT after BDAT", envelope + chunk("x", true) + "QUIT\r\n"},
		{"QUIT in a transaction", envelope + "QUIT\r\n"},
		{"a line that is too long", strings.Repeat("x", 70000) + "\r\n"},
		{"four errors", strings.Repeat("FOO BAR\r\n", 4)},
		{"BDAT of no size", envelope + "BDAT\r\n"},
		{"BDAT of a malformed size", envelope + "BDAT 12x LAST\r\n"},
		{"BDAT of a negative size", envelope + "BDAT -1 LAST\r\n"},
		{"BDAT of more than 4 GiB", envelope + "BDAT 5000000000 LAST\r\n"},
		{"BDAT of more than 2^64", envelope + "BDAT 99999999999999999999 LAST\r\n"},
		{"BDAT FIRST", envelope + "BDAT 12 FIRST\r\n"},
		{"BDAT LAST and more", envelope + "BDAT 12 LAST 12\r\n"},
		{"BDAT that is in the wrong", envelope + chunk("x", false) + "BDAT x\r\n"},
	} {
		name, send := test.name, test.send
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logged := new(syncBuilder)
			r := startRelay(t, func(s *relay.Server) { s.Logger = errorLog(logged) })
			for _, more := range []string{after, bdat, chunk(hello, true), "MAIL FROM:<shop@acme.example>\r\n", "\x00\r\n\r\n"} {
				c := login(t, r)
				c.sendAnyway(send + expand(r, more))
				for _, line := range c.rest() {
					if strings.Contains(line, "accepted as") || strings.HasPrefix(line, "235") {
						t.Errorf("%.20q: got the reply %q, want no success", more, line)
					}
				}
			}
			accepted(t, r, 0)
			time.Sleep(50 * time.Millisecond) // a command that is run after the end is run a moment later
			if s := logged.String(); s != "" {
				t.Errorf("got the error log %.500s, want none for what a client sends", s)
			}
		})
	}
}

// TestEHLONames sends client names that could break a reply or a header.
func TestEHLONames(t *testing.T) {
	r := startRelay(t, nil)
	for _, name := range []string{
		"a\x00b", "a\rb", "a\x1b[2J", "b\xfccher", "b\xc3\xbccher.example", "a\tb", "<a>", "a\x7f", "[127.0.0.1]", "250-STARTTLS", "421", "%s%n",
		strings.Repeat("n", 1000), strings.Repeat("421 ", 2000), strings.Repeat("n", 5000), "x" + strings.Repeat("\x80", 12000),
	} {
		for _, verb := range []string{"EHLO", "HELO"} {
			t.Run(fmt.Sprintf("%s %.10q", verb, name), func(t *testing.T) {
				c := login(t, r)
				for _, line := range strings.Split(c.cmd(verb+" "+name, "250"), "\n") {
					if len(line) > 510 {
						t.Errorf("got a reply line of %d bytes, want at most 510", len(line))
					}
					for i := range len(line) {
						if line[i] < ' ' || line[i] > '~' {
							t.Fatalf("got %q in a reply, want printable ASCII: %.100q", line[i], line)
						}
					}
				}
				c.deliver()
				c.cmd("QUIT", "221")
			})
		}
	}
	for _, m := range r.Messages() {
		if strings.Contains(string(m.Data), "nnnn") || strings.Contains(string(m.Data), "\x1b") {
			t.Errorf("got the client's name in a message: %.300q", m.Data)
		}
	}
}

// TestEnvelopeAddresses sends addresses that could break a command, here or on the
// next server. Every accepted address is safe between angle brackets.
func TestEnvelopeAddresses(t *testing.T) {
	r := startRelay(t, nil)
	c := login(t, r)
	for _, test := range []struct{ path, want, accepted string }{
		{`<"a>b"@example.com>`, "250", `"a>b"@example.com`},
		{`<"a> NOTIFY=NEVER"@example.com>`, "250", `"a> NOTIFY=NEVER"@example.com`},
		{`<"a\"b\\c"@example.com>`, "250", `"a\"b\\c"@example.com`},
		{`<"a@b"@example.com>`, "501", ""},
		{`<a@b@example.com>`, "501", ""},
		{`<"plain"@example.com>`, "250", `plain@example.com`},
		{`<@relay.example,@b.example:bob@example.com>`, "250", `bob@example.com`},
		{`bob@example.com`, "250", `bob@example.com`},
		{"<\"a\x01b\"@example.com>", "501", ""},
		{"<\"a\tb\"@example.com>", "501", ""},
		{"<\"a\x7fb\"@example.com>", "501", ""},
		{"<\"a\\\x00b\"@example.com>", "501", ""},
		{"<\"a\rRCPT TO:<x@y.example>\"@example.com>", "501", ""},
		{"<a\x08b@example.com>", "501", ""},
		{"<bob@exam\x00ple.com>", "501", ""},
		{"<bob@exam\rple.com>", "501", ""},
		{"<bob@exam\vple.com>", "501", ""},
		{"<bob@example.com\x1b[2J>", "501", ""},
		{"<bob@exam<ple.com>", "501", ""},
		{`<bob@"example".com>`, "501", ""},
		{`<bob@example.com,eve@example.com>`, "501", ""},
		{`<bob@example..com>`, "501", ""},
		{`<bob@.example.com>`, "501", ""},
		{`<bob@>`, "501", ""},
		{`<@example.com>`, "501", ""},
		{`<""@example.com>`, "501", ""},
		{`<bob>`, "501", ""},
		{`<>`, "501", ""},
		{`<`, "501", ""},
		{`<bob@[127.0.0.1>`, "501", ""},
		{`<bob@[IPv6:::1]>`, "250", `bob@[IPv6:::1]`},
		{"<b\xf6b@example.com>", "501", ""},
		{"<b\xc3\xb6b@example.com>", "553", ""},
		{"<" + strings.Repeat("b", 242) + "@example.com>", "250", strings.Repeat("b", 242) + "@example.com"},
		{"<" + strings.Repeat("b", 243) + "@example.com>", "501", ""},
		{"<bob@" + strings.Repeat("b.", 150) + "example>", "501", ""},
		{"<bob@example.com> NOTIFY=NEVER,SUCCESS", "501", ""},
		{"<bob@example.com> ORCPT=rfc822;a+0Db", "501", ""},
		{"<bob@example.com> ORCPT=utf-8;a\\x{0D}b", "501", ""},
		{"<bob@example.com> X=\x00", "555", ""},
	} {
		c.cmd("MAIL FROM:<shop@acme.example>", "250")
		got := c.cmd("RCPT TO:"+test.path, test.want)
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("RCPT TO:%q: got the reply %q, want printable ASCII", test.path, got)
		}
		if test.want != "250" {
			c.cmd("RSET", "250")
			continue
		}
		c.cmd("DATA", "354")
		c.cmd(hello+".", "250")
		messages := r.Messages()
		if got := messages[len(messages)-1].To[0].Address; got != test.accepted {
			t.Errorf("RCPT TO:%q: got the recipient %q, want %q", test.path, got, test.accepted)
		}
	}
	for _, path := range []string{
		"<shop@acme.example\x00>", "<\"a\x01\"@acme.example>", "<shop@acme.example\t@evil.example>",
		"<shop@evil.example@acme.example>", "<shop@acme.example@evil.example>", "<shop@acme.example>x", "<shop @acme.example>",
	} {
		if got := c.cmd("MAIL FROM:"+path, "5"); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("MAIL FROM:%q: got the reply %q, want printable ASCII", path, got)
		}
	}
}

// TestSecondMAIL sends MAIL within a transaction.
func TestSecondMAIL(t *testing.T) {
	r := startRelay(t, nil)
	c := login(t, r)
	c.envelope()
	c.cmd("MAIL FROM:<other@acme.example>", "503 5.5.1")
	c.cmd("MAIL FROM:<>", "503 5.5.1")
	c.cmd(expand(r, "AUTH PLAIN $plain"), "503 5.5.1")
	c.cmd("DATA", "354")
	c.cmd(hello+".", "250")
	c.envelope()
	c.send(chunk(hello, false))
	c.want("250")
	c.cmd("MAIL FROM:<other@acme.example>", "503 5.5.1")
	c.cmd("RCPT TO:<carol@example.com>", "503 5.5.1")
	c.cmd("DATA", "503 5.5.1")
	c.cmd("BDAT 0 LAST", "250")
	accepted(t, r, 2)
	for _, m := range r.Messages() {
		if m.From != "shop@acme.example" || len(m.To) != 1 || m.To[0].Address != "bob@example.com" {
			t.Errorf("got the envelope %q to %v, want shop@acme.example to bob@example.com", m.From, m.To)
		}
	}
}

// TestChunks sends messages in unusual chunks.
func TestChunks(t *testing.T) {
	t.Run("thousands of one byte", func(t *testing.T) {
		r := startRelay(t, nil)
		c := login(t, r)
		body := "From: shop@acme.example\r\n\r\n" + strings.Repeat(filler, 60)
		var stream strings.Builder
		stream.WriteString(envelope)
		for i := range body {
			stream.WriteString(chunk(body[i:i+1], false))
		}
		go c.sendAnyway(stream.String() + chunk("", true) + "QUIT\r\n")
		for _, line := range c.rest() {
			if !strings.HasPrefix(line, "2") {
				t.Errorf("got the reply %q, want 2yz", line)
			}
		}
		if got := accepted(t, r, 1); len(got) == 1 && got[0] != body {
			t.Errorf("got a message of %[2]d bytes, want %[1]d", len(body), len(got[0]))
		}
	})
	t.Run("of nothing", func(t *testing.T) {
		r := startRelay(t, nil)
		c := login(t, r)
		c.send(envelope + strings.Repeat(chunk("", false), 500) + chunk(hello, false) + strings.Repeat(chunk("", false), 500) + chunk("", true) + "QUIT\r\n")
		c.rest()
		accepted(t, r, 1)
	})
	t.Run("without recipients", func(t *testing.T) {
		r := startRelay(t, nil)
		c := login(t, r)
		c.send(chunk("QUIT\r\nMAIL FROM:<shop@acme.example>\r\n", true))
		c.want("503")
		c.send("MAIL FROM:<shop@acme.example>\r\n" + chunk("QUIT\r\n", false))
		c.want("250")
		c.want("503")
		c.cmd("RSET", "250")
		c.deliver()
		accepted(t, r, 1)
	})
}
