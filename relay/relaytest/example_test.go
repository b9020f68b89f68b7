package relaytest_test

import (
	"crypto/tls"
	"io"
	"net/smtp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A test of code that sends mail.
func ExampleNewRelay() {
	TestWelcome := func(t *testing.T) {
		r := relaytest.NewRelay(t)
		auth := smtp.PlainAuth("", r.Username, r.Password, "127.0.0.1")
		if err := sendWelcome(r.Addr, r.ClientTLS(), auth, "bob@example.com"); err != nil {
			t.Fatal(err)
		}
		got := r.Messages()
		if len(got) != 1 || got[0].To[0].Address != "bob@example.com" || !strings.Contains(string(got[0].Data), "Welcome!") {
			t.Errorf("sent was %+v", got)
		}
	}
	_ = TestWelcome // in your program it is a function of its own
}

// sendWelcome is the code under test.
func sendWelcome(addr string, config *tls.Config, auth smtp.Auth, to string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(config); err != nil {
		return err
	}
	if err := c.Auth(auth); err != nil {
		return err
	}
	if err := c.Mail("shop@acme.example"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	io.WriteString(w, "From: shop@acme.example\r\nSubject: Welcome!\r\n\r\nGood to see you.\r\n")
	return w.Close()
}
