package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// An operatorError is a failure of a server of the operator's own.
type operatorError struct{ error }

func (operatorError) Internal() bool    { return true }
func (operatorError) Unreachable() bool { return true }
func (operatorError) Temporary() bool   { return true }

// What is recorded of a failure of the operator's own server, and of mail that waits for
// it, says so and no more. The spool and the embedder have what went wrong.
func TestInternal(t *testing.T) {
	var deferred *queue.Deferred
	inBubble(t, recording(func(b *bench) {
		b.q.OnEvent = func(e queue.Event) {
			if e, ok := e.(*queue.Deferred); ok && deferred == nil {
				deferred = e
			}
		}
		b.sink.script = func(context.Context, *relay.Message) error {
			return operatorError{errors.New("smtp.internal: AUTH")}
		}
	}), func(b *bench) {
		b.forward(message(1, "shop@acme.example", "b@example.com"))
		b.pass(time.Second)
		b.forward(message(2, "shop@acme.example", "c@example.com")) // the destination is suspended
		b.pass(time.Second)
		full := store.InternalReason + ": smtp.internal: AUTH"
		b.wantStory("b@example.com", "accepted 0, deferred 1 "+store.InternalReason)
		b.wantStory("c@example.com", "accepted 0, waiting 0 "+store.InternalReason)
		if deferred == nil || deferred.Reason != full || b.deliveries()[0].Delivery.Reason != full {
			t.Errorf("got %+v and the delivery %+v, want the reason %q", deferred, b.deliveries()[0].Delivery, full)
		}
		b.pass(6 * 24 * time.Hour)
		if story := b.story("b@example.com"); !strings.Contains(story, "soft") {
			t.Errorf("recorded %q, want that the message was given up", story)
		}
		for _, e := range b.journal() {
			if strings.Contains(e.Reason, "smtp.internal") {
				t.Errorf("recorded: %v %q", e.Kind, e.Reason)
			}
		}
	})
}

// A sender reads that the operator's own server has a problem, and is not asked to check the
// address.
func TestInternalNotice(t *testing.T) {
	var notices []queue.Notice
	inBubble(t, func(b *bench) {
		b.q.Bounce = func(n queue.Notice) string {
			notices = append(notices, n)
			return ""
		}
		b.sink.script = func(context.Context, *relay.Message) error {
			return operatorError{&relay.ReplyError{Code: 554, Text: "smtp.internal"}}
		}
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "b@example.com"))
		b.pass(6 * 24 * time.Hour)
	})
	if len(notices) != 2 {
		t.Fatalf("got %d notices, want one of the delay and one of the failure", len(notices))
	}
	for i, want := range []string{"You don't have to do anything", "The address is not the reason"} {
		text := notices[i].Text()
		if !strings.Contains(text, "Our outgoing server has a problem") || !strings.Contains(text, want) ||
			strings.Contains(text, "smtp.internal") || strings.Contains(text, "after the @") {
			t.Errorf("got the notice:\n%s", text)
		}
	}
}

// A suspension that another node has recorded is the operator's too.
func TestInternalOfAnotherNode(t *testing.T) {
	var notices []queue.Notice
	inBubble(t, recording(func(b *bench) {
		b.q.Bounce = func(n queue.Notice) string {
			notices = append(notices, n)
			return ""
		}
		b.sink.script = func(context.Context, *relay.Message) error {
			return operatorError{errors.New("smtp.internal: AUTH")}
		}
		s := store.Suspension{Since: time.Now(), Until: time.Now().Add(time.Hour), Reason: store.InternalReason + ": smtp.internal: AUTH"}
		if err := b.spool.Suspend(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}), func(b *bench) {
		b.pass(time.Second)
		b.forward(message(1, "shop@acme.example", "b@example.com"))
		b.pass(time.Second)
		b.wantStory("b@example.com", "accepted 0, waiting 0 "+store.InternalReason)
		b.pass(6 * 24 * time.Hour)
	})
	if len(notices) != 2 || !notices[0].Recipients[0].Internal || !notices[1].Recipients[0].Internal {
		t.Errorf("got the notices %+v, want two with Internal", notices)
	}
}
