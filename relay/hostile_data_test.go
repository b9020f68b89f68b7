package relay_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// endsOfData holds byte sequences that some servers take for the end of a message or
// of a line.
var endsOfData = []string{
	"\n.\n", "\n.\r\n", "\n.\r", "\n\n.\r\n", "\n\r.\r\n", "\r\n\n.\n", "\r\n\n.\r\n",
	"\r\n.\n", "\r\n.\n\r\n", "\r\n..\n", "\r\n.\x0b\r\n", "\r\n. \r\n", "\r\n.\t\n",
	"\r.\r", "\r.\r\n", "\r.\n", "\r\r.\r\r", "\r\n.\r", "\r\n.\rX", "\r\n.\r.\r\n",
	"\r\n.\r\r\n", "\r\r\n.\r\n", "\r\r\n.\r\r\n", "\r\r\n\r\n.\r", "\n\r\n.\r\r\n", "\r\n.\n.\r",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\x00\r\n.\r\x00\n", "\r\n\r.\r\n",
	"\x85.\x85", "\xe2\x80\xa8.\xe2\x80\xa8", "\r\n=2E\r\n", "\r\n\\.\r\n",
}

// smuggled holds the commands that an attacker wants a server to run.
const smuggled = "MAIL FROM:<ceo@acme.example>\r\nRCPT TO:<victim@example.com>\r\n" +
	"DATA\r\nFrom: ceo@acme.example\r\n\r\nsmuggled\r\n"

// unstuffed returns the content that a client sent with DATA, as RFC 5321 section
// 4.5.2 defines it, and whether it may be accepted.
func unstuffed(body string) (content string, ok bool) {
	if strings.Contains(body, "\x00") || strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\r") {
		return "", false
	}
	var b strings.Builder
	for line := range strings.SplitAfterSeq(body, "\r\n") {
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	return crlf(b.String()), true
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// TestEndOfDataOverDATA sends each sequence within a body, followed by commands, and
// at the end of the body. The server sees exactly one message each time.
func TestEndOfDataOverDATA(t *testing.T) {
	const head = "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"
	for _, end := range endsOfData {
		for _, test := range []struct {
			what, body string
		}{
			{"within", "From: shop@acme.example\r\n\r\nfirst" + end + smuggled},
			{"first in body", "From: shop@acme.example\r\n\r\n" + end + smuggled},
			{"at the end", "From: shop@acme.example\r\n\r\nlast" + end + "\r\n"},
			{"before the end", "From: shop@acme.example\r\n\r\nlast" + end},
			{"at the beginning", end + "From: shop@acme.example\r\n\r\n" + smuggled},
		} {
			what, body := test.what, test.body
			if !strings.HasSuffix(body, "\r\n") {
				body += "\r\n"
			}
			stream := body + ".\r\n"
			if strings.Index(stream, "\r\n.\r\n") != len(body)-2 || strings.HasPrefix(stream, ".\r\n") {
				continue // the sequence is a valid end of the message
			}
			want, ok := unstuffed(body)
			for _, packets := range []string{"in one packet", "in two", "a byte at a time"} {
				t.Run(fmt.Sprintf("%q %s %s", end, what, packets), func(t *testing.T) {
					t.Parallel()
					if packets == "a byte at a time" && what != "within" {
						t.Skip("once is enough")
					}
					playEndOfData(t, head, stream, packets, want, ok && what != "at the beginning")
				})
			}
		}
	}
}

func playEndOfData(t *testing.T, head, stream, packets, want string, ok bool) {
	r := startRelay(t, func(s *relay.Server) { s.InsecureAuth = true })
	c := loginPlain(t, r)
	switch packets {
	case "in one packet":
		c.send(head + stream + "QUIT\r\n")
	case "in two":
		c.send(head)
		c.want("250")
		c.want("250")
		c.want("354")
		c.send(stream + "QUIT\r\n")
	default:
		c.send(head)
		c.want("250")
		c.want("250")
		c.want("354")
		for i := range len(stream) {
			c.send(stream[i : i+1])
		}
		c.send("QUIT\r\n")
	}
	codes := []string{"250", "221"}
	if !ok {
		codes[0] = "550 5.6.0"
	}
	if packets == "in one packet" {
		codes = append([]string{"250", "250", "354"}, codes...)
	}
	c.wantCodes(codes...)
	if !ok {
		accepted(t, r, 0)
		return
	}
	if got := accepted(t, r, 1); len(got) == 1 && got[0] != want {
		t.Errorf("the message arrived as\n   %q, want\n   %q", got[0], want)
	}
}

// TestStallWithinBody stops sending in the middle of a body until the server has
// ended the session, and then sends text that looks like commands.
func TestStallWithinBody(t *testing.T) {
	for _, tt := range []struct{ name, begun string }{
		{"DATA", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"DATA in a line", "DATA\r\nFrom: shop@acme.example\r\n\r\nhel"},
		{"DATA after dot", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\r\n."},
		{"DATA after CR", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\r"},
		{"BDAT", "BDAT 500\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"BDAT LAST", "BDAT 500 LAST\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"BDAT between chunks", chunk(hello, false)},
		{"BDAT LAST of nothing", "BDAT 500 LAST\r\n"},
	} {
		stall := func(t *testing.T, r *relaytest.Relay, c *pipeClient) {
			c.login(r)
			var replies []byte
			c.sending.Go(func() { replies, _ = io.ReadAll(c.r) })
			c.send(envelope + tt.begun)
			time.Sleep(5*time.Minute + time.Second) // IdleTimeout is 5 minutes
			// The server may have closed the connection.
			io.WriteString(c.conn, "\r\n.\r\nRSET\r\n"+smuggled+".\r\nQUIT\r\n")
			time.Sleep(10 * time.Minute)
			c.conn.Close()
			c.sending.Wait()
			if got := string(replies); !strings.Contains(got, "421 4.4.2 ") || strings.Contains(got, "accepted as") || strings.Contains(got, "\n221 ") {
				t.Errorf("the server answered %q, want 421 as the last reply", got)
			}
			accepted(t, r, 0)

			next := c.l.dial(t) // the server still serves
			defer next.conn.Close()
			next.reply()
			next.login(r)
			next.begin()
			if got := next.cmd(strings.TrimSuffix(hello, "\r\n") + "\r\n."); !strings.HasPrefix(got, "250 ") {
				t.Errorf("the next client got %q, want 250", got)
			}
		}
		t.Run(tt.name+" secure=false", func(t *testing.T) { inBubble(t, stall) })
		t.Run(tt.name+" secure=true", func(t *testing.T) { inBubbleTLS(t, stall) })
	}
}

// TestDisconnectWithinBody closes the client's side before the end of the body.
// The client can still read the reply, which is not 250.
func TestDisconnectWithinBody(t *testing.T) {
	for _, test := range []struct {
		name, begun string
	}{
		{"DATA", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"DATA in the end", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\r\n.\r"},
		{"DATA after bare LF", "DATA\r\nFrom: shop@acme.example\r\n\r\nhello\n.\n"},
		{"BDAT", "BDAT 500\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"BDAT LAST", "BDAT 500 LAST\r\nFrom: shop@acme.example\r\n\r\nhello\r\n"},
		{"BDAT LAST, one short", fmt.Sprintf("BDAT %d LAST\r\n%s", len(hello)+1, hello)},
		{"BDAT LAST, nothing", "BDAT 500 LAST\r\n"},
		{"BDAT LAST, 2nd chunk", chunk(hello, false) + "BDAT 1 LAST\r\n"},
		{"BDAT LAST, large", "BDAT 9000000 LAST\r\nFrom: shop@acme.example\r\n\r\n" + strings.Repeat(filler, 5000)},
		{"BDAT, all but LAST", chunk(hello, false)},
		{"BDAT, half of command", chunk(hello, false) + "BDAT 0 LAS"},
		{"BDAT, LAST without LF", chunk(hello, false) + "BDAT 0 LAST"},
	} {
		name, begun := test.name, test.begun
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s secure=%v", name, secure), func(t *testing.T) {
				t.Parallel()
				r := startRelay(t, func(s *relay.Server) { s.InsecureAuth = true })
				c := loginPlain(t, r)
				if secure {
					c = login(t, r)
				}
				c.send(envelope + begun)
				c.closeWrite()
				for _, line := range c.rest() {
					if strings.Contains(line, "accepted as") {
						t.Errorf("got the reply %q, want no success", line)
					}
				}
				accepted(t, r, 0)
				stillServes(t, r)
			})
		}
	}
}

const filler = "The quick brown fox jumps over the lazy dog, and then once more, and again.\r\n"
