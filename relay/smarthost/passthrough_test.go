package smarthost_test

import (
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// Without a queue the client gets the upstream's replies to the message. If the
// upstream itself fails, the client is only told to try again.
func TestPassThrough(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   string
		a    relaytest.Answer
		want string
	}{
		{"accepted", "", relaytest.Answer{}, ""},
		{"refused recipient", "RCPT", relaytest.Answer{Text: "550 5.1.1 No such user\x1b"}, "550 5.1.1 <bob@example.com>: No such user?"},
		{"refused message", relaytest.EndOfData, relaytest.Answer{Text: "554 5.7.1 Smells of spam"}, "554 5.7.1 Smells of spam"},
		{"full", relaytest.EndOfData, relaytest.Answer{Text: "452 4.3.1 Disk full"}, "452 4.3.1 Disk full"},
		{"not our client's login", "MAIL", relaytest.Answer{Text: "530 5.7.0 Log in first"}, "451 4.3.0 "},
		{"shutting down", "MAIL", relaytest.Answer{Text: "421 4.3.2 Bye", Close: true}, "451 4.3.0 "},
		{"unknown outcome", relaytest.EndOfData, relaytest.Answer{Close: true}, "451 4.3.0 "},
		{"silent", relaytest.EndOfData, relaytest.Answer{Wait: time.Minute}, "451 4.4.1 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := &relaytest.Upstream{Script: on(tc.at, tc.a)}
			f := start(t, up)
			f.EndTimeout = 300 * time.Millisecond
			err := submit(t, f)
			if tc.want == "" {
				if d := up.Received(); err != nil || len(d) != 1 || !strings.HasSuffix(string(d[0].Content), "\r\n\r\n.Hello\r\n") {
					t.Errorf("%v, %+v", err, d)
				}
				return
			}
			var reply *textproto.Error
			if !errors.As(err, &reply) || !strings.HasPrefix(fmt.Sprint(reply.Code, " ", reply.Msg), tc.want) {
				t.Errorf("the client is told %v, want %s", err, tc.want)
			}
		})
	}
}

// submit sends a message through a relay that hands it to f, and returns the
// reply to its data.
func submit(t *testing.T, f *smarthost.Forwarder) error {
	t.Helper()
	r := relaytest.NewUnstartedRelay(t)
	r.Server.Forwarder = f
	r.Start()
	c, err := smtp.Dial(r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, err := range []error{
		c.StartTLS(r.ClientTLS()),
		c.Auth(smtp.PlainAuth("", r.Username, r.Password, "127.0.0.1")),
		c.Mail("shop@" + r.Domain), c.Rcpt("bob@example.com"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("From: shop@" + r.Domain + "\r\nSubject: x\r\n\r\n.Hello\r\n"))
	return w.Close()
}
