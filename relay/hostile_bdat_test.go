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

// chunk returns a BDAT command with its data.
func chunk(data string, last bool) string {
	cmd := fmt.Sprintf("BDAT %d", len(data))
	if last {
		cmd += " LAST"
	}
	return cmd + "\r\n" + data
}

// TestEndOfDataOverBDAT sends each sequence in two chunks, split at every byte of the
// sequence. With BDAT, only the size ends a message.
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

// TestAbandonedBDAT abandons a message and begins the next one in the same packet.
// The next message gets its own reply and holds nothing of the abandoned one.
func TestAbandonedBDAT(t *testing.T) {
	for _, abandoned := range []string{chunk("From: shop@acme.example\r\n\r\n", false), chunk("", false), chunk("x", false) + chunk("", false)} {
		for _, by := range []string{"RSET", "EHLO again.test"} {
			t.Run(fmt.Sprintf("%.12q %s", abandoned, by), func(t *testing.T) {
				t.Parallel()
				// The result of the abandoned message comes late, while the
				// Forwarder handles the next one.
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
						t.Errorf("got the reply %q, want none of 4yz or 5yz", line)
					}
				}
				if took != messages {
					t.Errorf("got 250 for %d messages, want %d", took, messages)
				}
				accepted(t, r, messages)
			})
		}
	}
}
