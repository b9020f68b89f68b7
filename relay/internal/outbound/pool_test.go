package outbound_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func limits(conns, messages int) func(string) outbound.Limits {
	return func(string) outbound.Limits { return outbound.Limits{Conns: conns, Messages: messages} }
}

// Each destination has connections of its own: one that is busy, or down,
// doesn't hold up another.
func TestPoolDestinations(t *testing.T) {
	release := make(chan struct{})
	stalling := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" {
			<-release
		}
		return relaytest.Answer{}
	}}
	quick := &relaytest.Upstream{NoTLS: true}
	for _, up := range []*relaytest.Upstream{stalling, quick} {
		up.Start()
		defer up.Close()
	}
	p := &outbound.Pool{
		Dial: func(ctx context.Context, key string, _ bool) (*outbound.Conn, error) {
			d := &outbound.Dialer{Addr: key, TLS: outbound.Opportunistic, TLSConfig: stalling.ClientTLS()}
			return d.Dial(ctx)
		},
		Limits: limits(1, 100), IdleTimeout: time.Minute,
	}
	defer p.Close()

	m := &relay.Message{To: []relay.Recipient{{Address: "b@example.com"}}}
	m = m.WithContent(strings.NewReader("x\r\n"), 3)
	first := make(chan error)
	go func() {
		_, err := p.Send(t.Context(), "a", stalling.Addr(), m)
		first <- err
	}()
	for range 3 {
		answer, err := p.Send(t.Context(), "b", quick.Addr(), m)
		if err != nil || answer != "250 2.0.0 Accepted" {
			t.Errorf("%q, %v", answer, err)
		}
	}
	if _, err := p.Send(t.Context(), "c", "127.0.0.1:1", m); err == nil || !relay.Temporary(err) {
		t.Errorf("nobody there: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}

	// Opportunistic TLS: used where it is offered, done without where not.
	if d := stalling.Received(); len(d) != 1 || d[0].TLS == nil {
		t.Errorf("offered: %+v", d)
	}
	if d := quick.Received(); len(d) != 3 || d[0].TLS != nil || d[0].Conn != 1 || d[2].Conn != 1 {
		t.Errorf("not offered: %+v", d)
	}
}

// A function of the embedder's that panics while connecting takes no place with it.
func TestPanicInDial(t *testing.T) {
	p := &outbound.Pool{
		Dial:   func(context.Context, string, bool) (*outbound.Conn, error) { panic("AllowAddr") },
		Limits: limits(1, 1), IdleTimeout: time.Minute,
	}
	defer p.Close()
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it didn't come to the connection")
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p.Send(ctx, "site", "host", &relay.Message{})
		}()
	}
}
