package smarthost_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A behind is a queue in front of a Forwarder, with short pauses.
type behind struct {
	q      *queue.Queue
	events chan queue.Event

	mu  sync.Mutex
	log bytes.Buffer
}

func (b *behind) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *behind) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func runBehind(t *testing.T, f *smarthost.Forwarder, configure ...func(*queue.Queue)) *behind {
	t.Helper()
	b := &behind{events: make(chan queue.Event, 1000)}
	f.Logger = slog.New(slog.NewTextHandler(b, nil))
	b.q = &queue.Queue{
		Spool: new(memory.Store), Next: f, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e queue.Event) { b.events <- e },
		Retry:   func(int) time.Duration { return time.Second },
	}
	for _, f := range configure {
		f(b.q)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- b.q.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return b
}

// send hands over a message of a tenant.
func (b *behind) send(t *testing.T, n int, tenant, from string) {
	t.Helper()
	m := message(hello, "b@example.com")
	m.ID, m.From, m.Identity.Tenant = fmt.Sprintf("message%d", n), from, store.TenantID(tenant)
	if err := b.q.Forward(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// next returns the name of the next event, other than Queued, and the event.
func (b *behind) next(t *testing.T) (string, queue.Event) {
	t.Helper()
	for {
		select {
		case e := <-b.events:
			if name := strings.TrimPrefix(fmt.Sprintf("%T", e), "*queue."); name != "Queued" {
				return name, e
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no event")
		}
	}
}

// A refusal before MAIL is about this server: the message waits, the destination is
// suspended, and the log has an error.
func TestRefusalBeforeMailBouncesNothing(t *testing.T) {
	t.Parallel()
	for _, at := range []string{relaytest.Greeting, "EHLO", "STARTTLS", "AUTH"} {
		for _, reply := range []string{"554 5.7.1 your address is blocked", "550 go away", "535 5.7.8 bad credentials"} {
			t.Run(at+" "+reply, func(t *testing.T) {
				t.Parallel()
				up := &relaytest.Upstream{Username: "relay", Password: secret, Script: func(c relaytest.Command) relaytest.Answer {
					if c.Verb == at {
						return relaytest.Answer{Text: reply}
					}
					return relaytest.Answer{}
				}}
				f := start(t, up)
				f.Username, f.Password = "relay", credentials.NewPassword(secret)
				b := runBehind(t, f)
				b.send(t, 1, "one", "a@example.org")
				names := make(map[string]bool)
				for range 2 {
					name, _ := b.next(t)
					names[name] = true
				}
				if !names["Suspended"] || !names["Deferred"] {
					t.Errorf("events %v, want Suspended and Deferred", names)
				}
				if got := b.logged(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "mail waits") {
					t.Errorf("logged: %q", got)
				}
			})
		}
	}
}

// A refusal of MAIL that may be about this relay bounces a message only after other mail
// was accepted, and one that is about the sender bounces it at once.
func TestRefusalOfMailThatMayMeanUs(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"550 5.7.1 blocked":                       "Deferred",
		"554 5.7.1 your account is closed":        "Deferred",
		"554 transaction failed":                  "Deferred",
		"530 5.7.0 authentication required":       "Suspended",
		"553 5.7.1 sender not owned by user":      "Bounced",
		"550 5.1.8 the domain does not exist":     "Bounced",
		"552 5.3.4 too large":                     "Bounced",
		"501 5.1.7 bad address":                   "Bounced",
		"555 5.5.4 parameters are not recognized": "Bounced",
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			var mended atomic.Bool
			up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
				if c.Verb == "MAIL" && strings.Contains(c.Line, "<bad@") && !mended.Load() {
					return relaytest.Answer{Text: reply}
				}
				return relaytest.Answer{}
			}}
			b := runBehind(t, start(t, up))
			b.send(t, 1, "one", "bad@example.org")
			if got, e := b.next(t); got != want {
				t.Fatalf("got %s, want %s: %+v", got, want, e)
			}
			if want != "Deferred" {
				return
			}
			for range 2 { // no other mail
				if got, e := b.next(t); got != "Deferred" {
					t.Fatalf("got %s, want Deferred again: %+v", got, e)
				}
			}
			b.send(t, 2, "one", "a@example.org")
			for got := ""; got != "Bounced"; {
				var e queue.Event
				if got, e = b.next(t); got != "Delivered" && got != "Deferred" && got != "Bounced" {
					t.Fatalf("got %s after other mail was accepted, want Bounced: %+v", got, e)
				}
			}
			if got := b.logged(); !strings.Contains(got, "level=WARN") {
				t.Errorf("logged: %q", got)
			}
		})
	}
}

// When an upstream begins to refuse every tenant, no message bounces, and all are
// delivered once it accepts them again.
func TestFirstMessagesBeforeTheSuspensionDoNotBounce(t *testing.T) {
	t.Parallel()
	var blocked atomic.Bool
	blocked.Store(true)
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" && blocked.Load() {
			return relaytest.Answer{Text: "550 5.7.1 blocked"}
		}
		return relaytest.Answer{}
	}}
	b := runBehind(t, start(t, up))
	for i := range 4 {
		b.send(t, i, fmt.Sprint("tenant", i), "a@example.org")
	}
	for got := ""; got != "Suspended"; {
		if got, _ = b.next(t); got == "Bounced" {
			t.Fatal("a message bounced")
		}
	}
	blocked.Store(false)
	for delivered := 0; delivered < 4; {
		switch got, e := b.next(t); got {
		case "Delivered":
			delivered++
		case "Bounced", "Expired":
			t.Fatalf("%+v", e)
		}
	}
}

// One transaction and one attempt serve all recipients of a message at a destination, from
// memory and from the spool, at the first attempt and at later ones.
func TestOneAttemptForAllRecipients(t *testing.T) {
	t.Parallel()
	const n = 50
	for _, memory := range []int64{0, -1} {
		t.Run(fmt.Sprint("memory ", memory), func(t *testing.T) {
			t.Parallel()
			rec := &recorder{}
			var refused atomic.Bool
			rec.then = func(c relaytest.Command) relaytest.Answer {
				if c.Verb == relaytest.EndOfData && refused.CompareAndSwap(false, true) {
					return relaytest.Answer{Text: "451 4.3.0 not now"}
				}
				return relaytest.Answer{}
			}
			up := &relaytest.Upstream{Extensions: without("CHUNKING"), Script: rec.script}
			b := runBehind(t, start(t, up), func(q *queue.Queue) { q.MaxMemory = memory })
			m := many(n)
			m.ID = "message1"
			if err := b.q.Forward(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			for range n {
				if name, e := b.next(t); name != "Deferred" || e.(*queue.Deferred).Attempt != 1 {
					t.Fatalf("got %s, want Deferred at attempt 1: %+v", name, e)
				}
			}
			for range n {
				if name, e := b.next(t); name != "Delivered" {
					t.Fatalf("got %s, want Delivered: %+v", name, e)
				}
			}
			mails, rcpts, contents := len(rec.lines("MAIL")), len(rec.lines("RCPT")), len(rec.lines("DATA"))
			if mails != 2 || rcpts != 2*n || contents != 2 {
				t.Errorf("%d MAIL, %d RCPT and %d DATA for two attempts, want 2, %d and 2", mails, rcpts, contents, 2*n)
			}
			stats, err := b.q.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var attempts int64
			for _, c := range stats.AttemptSeconds.Counts {
				attempts += c
			}
			if attempts != 2 {
				t.Errorf("%d attempts were counted, want 2", attempts)
			}
		})
	}
}
