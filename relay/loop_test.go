package relay_test

import (
	"net/smtp"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A message that has passed more than 100 servers is refused, with an event.
func TestLoops(t *testing.T) {
	const hop = "Received: from a\r\n\tby b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
	r := relaytest.NewUnstartedRelay(t)
	var mu sync.Mutex
	var refused []*relay.MessageRefused
	r.Server.OnEvent = func(e relay.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e, ok := e.(*relay.MessageRefused); ok {
			refused = append(refused, e)
		}
	}
	r.Start()
	mail := "From: a@" + r.Domain + "\r\n\r\nHello\r\n"
	for _, test := range []struct {
		name, content string
		loops         bool
	}{
		{"100", strings.Repeat(hop, 100) + mail, false},
		{"101", strings.Repeat(hop, 101) + mail, true},
		{"101 in other case, with white space", strings.Repeat("rEceived : x\r\n", 101) + mail, true},
		{"101, some in the body", strings.Repeat(hop, 50) + mail + strings.Repeat(hop, 51), false},
		{"101, folded into others", "X: y\r\n" + strings.Repeat(" Received: x\r\n", 101) + mail, false},
		{"others that begin alike", strings.Repeat("Received-SPF: pass\r\n", 101) + mail, false},
		{"101 after a long line", "X: " + strings.Repeat("x", 900) + "\r\n" + strings.Repeat(hop, 101) + mail, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			refused = nil
			err := sendOne(r, test.content)
			if test.loops != (err != nil && strings.HasPrefix(err.Error(), `554 "5.4.6 `)) || !test.loops && err != nil {
				t.Errorf("the client was answered %v", err)
			}
			if test.loops && (len(refused) != 1 || refused[0].ID == "") {
				t.Errorf("events: %+v", refused)
			}
		})
	}
}

// sendOne sends a message as the relay's user.
func sendOne(r *relaytest.Relay, content string) error {
	c, err := smtp.Dial(r.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(r.ClientTLS()); err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", r.Username, r.Password, "127.0.0.1")); err != nil {
		return err
	}
	if err := c.Mail("a@" + r.Domain); err != nil {
		return err
	}
	if err := c.Rcpt("b@example.com"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return err
	}
	return w.Close()
}
