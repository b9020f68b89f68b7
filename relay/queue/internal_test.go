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
		for _, e := range b.journal() {
			if strings.Contains(e.Reason, "smtp.internal") {
				t.Errorf("recorded: %v %q", e.Kind, e.Reason)
			}
		}
	})
}
