package webhook_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// full makes an event in which all fields are set that its kind has.
func full(kind store.EventKind) store.Event {
	e := event(int(kind), kind)
	e.Received = e.Time.Add(-time.Second)
	e.Remote = netip.MustParseAddr("192.0.2.1")
	if kind == store.EventLoginRefused {
		e.Mail, e.Recipient, e.Field, e.Reason, e.Times = "", "", "AUTH", "wrong password", 3
		e.Reply = store.Reply{Code: 535, Enhanced: "5.7.8", Text: "wrong username or password"}
		return e
	}
	e.From, e.Author, e.Subject, e.MessageID, e.Size = "shop@acme.example", "shop@acme.example", "Your order & more", "<1@acme.example>", 4096
	switch kind {
	case store.EventDeferred, store.EventDelivered, store.EventSoftBounced, store.EventHardBounced:
		e.Attempt = 2
	}
	switch kind {
	case store.EventDelivered:
		e.Reply = store.Reply{Code: 250, Enhanced: "2.0.0", Text: "ok", Host: "mx.example.com"}
	case store.EventDeferred, store.EventSoftBounced:
		e.Reply = store.Reply{Code: 452, Enhanced: "4.2.2", Text: "mailbox full", Host: "mx.example.com"}
		e.Reason = "mx.example.com 452 4.2.2 mailbox full"
		if kind == store.EventDeferred {
			e.NextAttempt = e.Time.Add(4 * time.Minute)
		}
	case store.EventHardBounced, store.EventLateHardBounced, store.EventLateSoftBounced:
		e.Reply = store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.example.com"}
		e.Reason = "mx.example.com 550 5.1.1 no such user"
	case store.EventRefused:
		e.Field, e.Reason = "RCPT TO", "no such domain"
		e.Reply = store.Reply{Code: 550, Enhanced: "5.1.2", Text: "no such domain"}
	case store.EventWaiting:
		e.Reason = "the destination is suspended"
	}
	return e
}

// Each kind of event has the documented form.
func TestPayload(t *testing.T) {
	golden, err := os.ReadFile("testdata/payloads.txt")
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.Queue.PerDestination = 1
		h.start()
		for kind := store.EventAccepted; kind <= store.EventLoginRefused; kind++ {
			h.publish(full(kind))
			wait(time.Second)
		}
		var b strings.Builder
		for _, g := range h.web.got() {
			fmt.Fprintln(&b, g.body)
		}
		if b.String() != string(golden) {
			t.Errorf("payloads are\n%s\nwant\n%s", &b, golden)
		}
	})
}

// docs/webhooks.md names every type and field.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range webhook.Documented() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/webhooks.md does not name %s", name)
		}
	}
}

// docs/webhooks.md shows verify as the example has it.
func TestDocumentedVerify(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if code == "" || !strings.Contains(string(example), code) {
		t.Errorf("docs/webhooks.md has another verify than example_test.go:\n%s", code)
	}
}
