package bounces_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// runQueue runs a queue until the end of the test.
func runQueue(t *testing.T, next relay.Forwarder) *queue.Queue {
	t.Helper()
	q := &queue.Queue{Spool: new(memory.Store), Next: next, Logger: slog.New(slog.DiscardHandler), Hostname: "mx.example.com"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return q
}

// A server with package queue reports what this package understands, whatever the
// sender's address, and whether the report returns the header or the envelope ID.
func TestReportOfQueue(t *testing.T) {
	for _, from := range []string{"billing@acme.example", `"john doe"@acme.example`, "bücher@acme.example"} {
		for _, own := range []string{"", "theirs"} {
			calls := make(chan string, 1)
			var passedOn relaytest.Recorder
			in := &bounces.Receiver{Secrets: []credentials.Password{newSecret}, Logger: quiet, Forwarder: &passedOn,
				Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
					calls <- fmt.Sprint(tenant, " ", mail, " ", recipient, " ", r)
					return nil
				}}
			remote := runQueue(t, relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
				if m.From == "" {
					return in.Receive(ctx, m.To[0].Address, m.Content())
				}
				return &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such mailbox", Host: "store.example.com"}
			}))
			w := &bounces.Rewriter{Next: remote, Secrets: in.Secrets, Domain: func(context.Context, string) (string, error) {
				return "bounces.acme.example", nil
			}}
			m := message(from, "bob@example.com")
			m.Options.UTF8, m.Options.EnvelopeID, m.Received = true, own, time.Now()
			if err := w.Forward(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got, want := <-calls, "acme "+m.ID+" bob@example.com relay: store.example.com replied 550 5.1.1 no such mailbox"; got != want {
				t.Errorf("%s: got %q, want %q", from, got, want)
			}
			if got := passedOn.Wait(t, 1)[0].To[0].Address; got != from {
				t.Errorf("passed on to %s, want %s", got, from)
			}
		}
	}
}

// A report goes over SMTP to a Server whatever the sender's address.
func TestReportOverSMTP(t *testing.T) {
	for _, from := range []string{"billing@acme.example", `"john doe"@acme.example`, `"a\"b"@acme.example`, "bücher@acme.example"} {
		var passedOn relaytest.Recorder
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &bounces.Server{Hostname: "mx.example.net", Logger: quiet, Receiver: &bounces.Receiver{
			Secrets: []credentials.Password{newSecret}, Bounced: neverBounced(t), Logger: quiet, Forwarder: &passedOn,
		}}
		go srv.Serve(l)
		defer srv.Close()
		out := &smarthost.Forwarder{Addr: l.Addr().String(), TLS: smarthost.NoTLS}
		defer out.Close()
		report := message("", rewrite(t, message(from, "bob@example.com"), "bounces.acme.example").From)
		report.Options.UTF8 = true
		if err := out.Forward(t.Context(), report); err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		if got := passedOn.Wait(t, 1)[0].To[0].Address; got != from {
			t.Errorf("passed on to %s, want %s", got, from)
		}
	}
}
