package relaytest_test

import (
	"fmt"
	"net/smtp"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func TestRelayRecords(t *testing.T) {
	r := relaytest.NewRelay(t)
	for _, test := range []struct {
		name, from string
		ok         bool
	}{
		{"allowed", "shop@acme.example", true},
		{"another domain", "shop@evil.example", false},
	} {
		before := len(r.Messages())
		err := send(r, test.from, "bob@example.com", "hello")
		if (err == nil) != test.ok {
			t.Errorf("%s: sending: %v", test.name, err)
		}
		if got := len(r.Messages()) > before; got != test.ok {
			t.Errorf("%s: recorded %v, want %v", test.name, got, test.ok)
		}
	}
}

func send(r *relaytest.Relay, from, to, text string) error {
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
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: %s\r\nTo: %s\r\n\r\n%s\r\n", from, to, text)
	return w.Close()
}
