package webhook_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// A relayed is the queue of a relay on the Spool of a Sender, which is a mistake.
type relayed struct {
	queue.Queue
	lines log

	mu   sync.Mutex
	sent []string // the recipients of what was sent as mail
}

func (h *hooks) onSpoolOfRelay() *relayed {
	r := new(relayed)
	r.Spool, r.Logger = h.Queue.Spool, r.lines.logger()
	r.Next = relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, to := range m.To {
			r.sent = append(r.sent, to.Address)
		}
		return nil
	})
	return r
}

func (r *relayed) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// running calls run until the function that it returns is called, which returns the result.
func running(run func(context.Context) error) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

// mail makes a mail that looks like a request as far as a client can choose: the recipient
// is that of an endpoint.
func mail() *relay.Message {
	const content = "From: billing@acme.example\r\n\r\nHello.\r\n"
	m := &relay.Message{
		ID: relay.NewID(), Identity: credentials.Identity{Tenant: "acme"}, From: "billing@acme.example",
		To: []relay.Recipient{{Address: "shop@acme"}}, Options: relay.Options{EnvelopeID: "06ekx_1_0"},
	}
	return m.WithContent(strings.NewReader(content), int64(len(content)))
}

func (h *hooks) wantDepth(want int64) {
	h.t.Helper()
	if d, err := h.Queue.Spool.Depth(h.t.Context()); err != nil || d.Deliveries != want {
		h.t.Errorf("the Spool has %d deliveries (%v), want %d", d.Deliveries, err, want)
	}
}

// The queue of a relay does not send a request that is in its Spool, and does not give it
// up. A Sender that runs alone with this Spool then sends it.
func TestRequestInSpoolOfRelay(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		r := h.onSpoolOfRelay()
		end := running(r.Run)
		h.publish(event(1, store.EventDelivered))
		wait(100 * time.Hour)
		h.wantDepth(1)
		if err := end(); err != nil {
			t.Errorf("Run of the relay's queue = %v", err)
		}
		if got := r.got(); len(got) != 0 {
			t.Errorf("sent as mail to %v, want none", got)
		}
		if n := strings.Count(r.lines.String(), "queue: the Spool has requests of a webhook.Sender, which wait: set Sender.Queue.Spool"); n < 98 || n > 101 {
			t.Errorf("the log says %d times in 100 hours what to do, want once an hour", n)
		}
		h.start()
		wait(2 * time.Minute)
		h.wantDepth(0)
		if got := h.web.got(); len(got) != 1 {
			t.Errorf("%d requests, want 1", len(got))
		}
	})
}

// A Sender does not make a request of mail that is in its Spool, and does not give it up or
// bounce it. A queue of mail that runs alone with this Spool then sends it.
func TestMailInSpoolOfSender(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		var lines log
		h.Queue.Logger = lines.logger()
		end := running(h.Run)
		r := h.onSpoolOfRelay()
		if err := r.Forward(t.Context(), mail()); err != nil {
			t.Fatal(err)
		}
		wait(100 * time.Hour)
		h.wantDepth(1)
		if err := end(); err != nil {
			t.Errorf("Run of the Sender = %v", err)
		}
		if got := h.events.String(); got != "" {
			t.Errorf("events of the Sender:\n%s", got)
		}
		if !strings.Contains(lines.String(), "queue: the Spool of the webhooks has mail, which waits: set Sender.Queue.Spool") {
			t.Errorf("the log of the Sender does not say what to do:\n%s", lines.String())
		}
		end = running(r.Run)
		wait(2 * time.Minute)
		h.wantDepth(0)
		if got := r.got(); !slices.Equal(got, []string{"shop@acme"}) {
			t.Errorf("sent as mail to %v, want the recipient of the mail", got)
		}
		end()
	})
}

// If a Sender and the queue of a relay run on one Spool, both go on and say in the log what
// to do, also if their nodes have the same name. Mail and requests from before are sent too.
func TestSharedSpool(t *testing.T) {
	for _, node := range []string{"", "one", "two"} {
		bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
			var lines log
			h.Queue.Node, h.Queue.Logger = "one", lines.logger()
			r := h.onSpoolOfRelay()
			r.Node = node
			send := func(n int) {
				h.publish(event(n, store.EventDelivered))
				if err := r.Forward(t.Context(), mail()); err != nil {
					t.Fatal(err)
				}
			}
			send(1)
			end := running(r.Run)
			h.start()
			wait(time.Minute)
			send(2)
			wait(time.Hour)
			if err := end(); err != nil {
				t.Errorf("Run of the relay's queue = %v", err)
			}
			if got := r.got(); !slices.Equal(got, []string{"shop@acme", "shop@acme"}) {
				t.Errorf("sent as mail to %v, want the recipients of the mails", got)
			}
			if got := h.web.got(); len(got) != 2 {
				t.Errorf("%d requests, want 2", len(got))
			}
			for _, l := range []string{lines.String(), r.lines.String()} {
				if !strings.Contains(l, "set Sender.Queue.Spool") {
					t.Errorf("a log does not say what to do:\n%s", l)
				}
			}
			h.wantDepth(0)
		})
	}
}

// The queue of a Sender takes no mail.
func TestMailForSender(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.start()
		if err := h.Queue.Forward(t.Context(), mail()); err == nil || !strings.Contains(err.Error(), "use Sender.Queue for no mail") {
			t.Errorf("Forward = %v, want an error that says what to do", err)
		}
		h.wantDepth(0)
	})
}
