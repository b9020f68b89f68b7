package suppress_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"runtime"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// filled returns a Store with n suppressions of acme.
func filled(tb testing.TB, n int) *memory.Store {
	tb.Helper()
	st := new(memory.Store)
	now := time.Now().UTC().Truncate(time.Microsecond)
	var list []store.Suppression
	for i := range n {
		list = append(list, store.Suppression{
			Tenant: "acme", Address: fmt.Sprintf("gone%d@example.net", i), Source: store.SuppressedByPerson, Since: now, Changed: now.Add(-time.Hour),
		})
	}
	if lost, err := st.Suppress(tb.Context(), list); err != nil || len(lost) > 0 {
		tb.Fatalf("%d lost, %v", len(lost), err)
	}
	return st
}

// A round is a RCPT of a recipient that is not on a list of 100,000, over a socket with
// TLS. The yardstick is the same relay with a function that allows every recipient, or
// with none.
func BenchmarkRecipient(b *testing.B) {
	all := func(context.Context, *relay.PolicyRequest) error { return nil }
	for name, other := range map[string]func(context.Context, *relay.PolicyRequest) error{"allows-all": all, "none": nil} {
		b.Run(name, func(b *testing.B) {
			sup := &suppress.List{Store: filled(b, 100_000)}
			yardstick.Compare(b, recipients(b, other), recipients(b, sup.AllowRecipient))
		})
	}
}

// recipients returns a load of RCPT commands, 100 in each transaction.
func recipients(b *testing.B, allow func(context.Context, *relay.PolicyRequest) error) func(n int) error {
	b.Helper()
	r := relaytest.NewUnstartedRelay(b)
	r.Server.AllowRecipient, r.Server.MessageTimeout, r.Server.IdleTimeout = allow, time.Hour, time.Hour
	r.Start()
	conn, err := tls.Dial("tcp", r.AddrTLS, r.ClientTLS())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	host, _, _ := net.SplitHostPort(r.AddrTLS)
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", r.Username, r.Password, host)); err != nil {
		b.Fatal(err)
	}
	count := 0
	return func(n int) error {
		for range n {
			if count%100 == 0 {
				if err := c.Reset(); err != nil {
					return err
				}
				if err := c.Mail("shop@acme.example"); err != nil {
					return err
				}
			}
			count++
			if err := c.Rcpt(fmt.Sprintf("someone%d@example.net", count)); err != nil {
				return err
			}
		}
		return nil
	}
}

// BenchmarkAllowRecipient measures a recipient that is not on the list, and the memory
// that each address of the list takes.
func BenchmarkAllowRecipient(b *testing.B) {
	for _, n := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sup := &suppress.List{Store: filled(b, n)}
			before := heap()
			ask(b, sup, "acme", "someone@example.net")
			after := heap()
			r := &relay.PolicyRequest{Client: relay.Client{Identity: credentials.Identity{Tenant: "acme"}}, Address: "someone@example.net"}
			b.ReportAllocs()
			for b.Loop() {
				if err := sup.AllowRecipient(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(after-before)/float64(max(n, 1)), "bytes/address")
			runtime.KeepAlive(sup)
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
