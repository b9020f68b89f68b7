package limits_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func threeLimits(context.Context, credentials.Identity) ([]limits.Limit, error) {
	zone := time.FixedZone("here", -5*3600)
	return []limits.Limit{
		{Max: 1 << 40, Anchor: time.Date(2026, 1, 14, 0, 0, 0, 0, zone)},
		{Scope: limits.PerDomain, Interval: limits.Daily, Max: 1 << 40}, {Scope: limits.PerUser, Interval: limits.Hourly, Max: 1 << 40},
	}, nil
}

func nothing(context.Context, *relay.Message) error { return nil }

// A round is a message of 4 KiB over TLS on an open connection, with three limits. The
// yardstick is the same relay without limits. Nothing is kept, so with a queue the share of
// the limits is smaller.
func BenchmarkMessage(b *testing.B) {
	yardstick.Compare(b, messages(b, nil), messages(b, &limits.Limiter{Store: new(memory.Store), Limits: threeLimits, Next: relay.ForwarderFunc(nothing)}))
}

// messages returns a load of messages.
func messages(b *testing.B, l *limits.Limiter) func(n int) error {
	b.Helper()
	r := relaytest.NewUnstartedRelay(b)
	r.Server.Forwarder = relay.ForwarderFunc(nothing)
	if l != nil {
		r.Server.Forwarder, r.Server.AllowUser = l, l.AllowUser
	}
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
	content := []byte("From: shop@acme.example\r\nSubject: hello\r\n\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 50))
	return func(n int) error {
		for range n {
			if err := c.Mail("shop@acme.example"); err != nil {
				return err
			}
			if err := c.Rcpt("bob@example.net"); err != nil {
				return err
			}
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(content); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
		}
		return nil
	}
}

// BenchmarkForward measures three limits alone.
func BenchmarkForward(b *testing.B) {
	l := &limits.Limiter{Store: new(memory.Store), Limits: threeLimits, Next: relay.ForwarderFunc(nothing)}
	m := &relay.Message{ID: relay.NewID(), Identity: billing, To: make([]relay.Recipient, 1)}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Forward(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
}

// 10,000 messages a second of one tenant on four nodes make a few calls of Reserve a
// second, and a tenant that sends little makes few at all.
func TestCallsOfReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100_000_000})
		p.stop()
		var nodes []*limits.Limiter
		for range 4 {
			l := p.node()
			l.Next = relay.ForwarderFunc(nothing)
			defer p.run(l)()
			nodes = append(nodes, l)
		}
		calls := func(seconds, rate int) float64 {
			before := p.count.calls()
			for range seconds * 100 {
				time.Sleep(10 * time.Millisecond)
				for i := range rate / 100 {
					if err := send(nodes[i%4], billing, 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			return float64(p.count.calls()-before) / float64(seconds)
		}
		first, rest := calls(10, 10_000), calls(20, 10_000)
		t.Logf("%.1f calls a second in the first 10 seconds, %.1f after them", first, rest)
		if first > 10 || rest > 3 {
			t.Error("too many calls")
		}
		if slow := calls(60, 100); slow > 1 {
			t.Errorf("%.1f calls a second for 100 messages a second", slow)
		}
	})
}
