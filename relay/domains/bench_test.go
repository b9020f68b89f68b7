package domains_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/smtp"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// verified returns a fixture with a verified domain.
func verified(b *testing.B) *fixture {
	f := &fixture{T: new(testing.T)}
	*f = *newFixture(f.T)
	acmeOf := f.creds.Tenant(acme)
	if _, err := acmeOf.AddDomain(b.Context(), "acme.example"); err != nil {
		b.Fatal(err)
	}
	d, err := f.Domain(b.Context(), acme, "acme.example")
	if err != nil {
		b.Fatal(err)
	}
	f.publish(d)
	if d, err = f.Check(b.Context(), acme, "acme.example"); err != nil || !d.Sends() {
		b.Fatalf("%+v, %v", d, err)
	}
	return f
}

// BenchmarkAllowUser measures the question that each message asks.
func BenchmarkAllowUser(b *testing.B) {
	f := verified(b)
	r := new(relay.PolicyRequest)
	r.Identity = credentials.Identity{Tenant: acme, Domain: "acme.example"}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.AllowUser(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeys measures the question that each signature asks.
func BenchmarkKeys(b *testing.B) {
	f := verified(b)
	b.ReportAllocs()
	for b.Loop() {
		if keys, err := f.Keys(b.Context(), new(relay.Message), "acme.example"); err != nil || len(keys) != 1 {
			b.Fatal(keys, err)
		}
	}
}

// A round is a message of one recipient over a socket with TLS, on a connection that is
// logged in. The yardstick is the same relay without AllowUser.
func BenchmarkMessage(b *testing.B) {
	load := func(f *fixture) func(n int) error {
		r := relaytest.NewUnstartedRelay(b)
		if f != nil {
			r.Server.AllowUser = f.AllowUser
		}
		r.Server.MessageTimeout, r.Server.IdleTimeout = time.Hour, time.Hour
		r.Start()
		conn, err := tls.Dial("tcp", r.AddrTLS, r.ClientTLS())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		host, _, _ := net.SplitHostPort(r.AddrTLS)
		c, err := smtp.NewClient(conn, host)
		if err == nil {
			err = c.Auth(smtp.PlainAuth("", r.Username, r.Password, host))
		}
		if err != nil {
			b.Fatal(err)
		}
		return func(n int) error {
			for range n {
				if err := send(c); err != nil {
					return err
				}
			}
			return nil
		}
	}
	yardstick.Compare(b, load(nil), load(verified(b)))
}

func send(c *smtp.Client) error {
	if err := errors.Join(c.Mail("shop@acme.example"), c.Rcpt("bob@example.net")); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "From: shop@acme.example\r\n\r\nHello.\r\n"); err != nil {
		return err
	}
	return w.Close()
}
