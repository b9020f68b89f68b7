package relay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

const envelope = "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@example.com>\r\n"

// chunk is a BDAT command with its data.
func chunk(data string, last bool) string {
	cmd := fmt.Sprintf("BDAT %d", len(data))
	if last {
		cmd += " LAST"
	}
	return cmd + "\r\n" + data
}

// TestEndOfDataOverBDAT sends the sequences in chunks, cut at every byte of
// theirs: in BDAT nothing but the size ends a message.
func TestEndOfDataOverBDAT(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.InsecureAuth = true })
	c := loginPlain(t, r)
	n := 0
	for _, end := range endsOfData {
		body := "From: shop@acme.example\r\n\r\nfirst" + end + smuggled
		bad := strings.ContainsAny(strings.ReplaceAll(body, "\r\n", ""), "\r\x00")
		at := strings.Index(body, "first") + len("first")
		for cut := at; cut <= at+len(end); cut++ {
			c.send(envelope + chunk(body[:cut], false) + chunk(body[cut:], true))
			c.want("250")
			c.want("250")
			c.want("250")
			if bad {
				c.want("550 5.6.0")
				continue
			}
			n++
			c.want("250 2.0.0 accepted")
			if got := accepted(t, r, n); len(got) == n && got[n-1] != crlf(body) {
				t.Fatalf("the message arrived as\n   %q, want\n   %q", got[n-1], crlf(body))
			}
		}
	}
	c.cmd("QUIT", "221")
}

// TestAbandonedBDAT abandons a message and begins the next in the same packet.
// Each is answered for itself, and what was abandoned leaves nothing behind.
func TestAbandonedBDAT(t *testing.T) {
	for _, abandoned := range []string{chunk("From: shop@acme.example\r\n\r\n", false), chunk("", false), chunk("x", false) + chunk("", false)} {
		for _, by := range []string{"RSET", "EHLO again.test"} {
			t.Run(fmt.Sprintf("%.12q %s", abandoned, by), func(t *testing.T) {
				t.Parallel()
				// The result of what was abandoned comes late, while the next
				// message is with the Forwarder.
				r := startRelay(t, func(s *relay.Server) {
					s.OnEvent = func(e relay.Event) {
						if _, ok := e.(*relay.MessageRefused); ok {
							time.Sleep(5 * time.Millisecond)
						}
					}
					s.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error {
						time.Sleep(20 * time.Millisecond)
						return nil
					})
				})
				c := login(t, r)
				const messages = 10
				for range messages {
					c.send(envelope + abandoned + by + "\r\n")
					c.send(envelope + chunk(hello, true))
				}
				c.send("QUIT\r\n")
				took := 0
				for _, line := range c.rest() {
					if strings.Contains(line, "accepted as") {
						took++
					}
					if line[0] == '4' || line[0] == '5' {
						t.Errorf("the server answered %q", line)
					}
				}
				if took != messages {
					t.Errorf("%d messages were accepted, want %d", took, messages)
				}
				accepted(t, r, messages)
			})
		}
	}
}
