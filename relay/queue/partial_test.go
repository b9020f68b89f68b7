package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// If Next takes a message for some recipients, each recipient is settled by what
// Next says of it, in one call of Next.
func TestPartial(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if !m.Partial {
				t.Error("the queue doesn't set Partial")
			}
			err := refuse(m, reply(450, "later"), "later")
			if e := new(relay.RefusedError); errors.As(err, &e) {
				e.Recipients = append(e.Recipients, relay.RefusedRecipient{Address: "gone@example.com", Err: reply(550, "unknown")})
				e.Partial = true
			}
			return err
		}
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "a@example.com", "later@example.com", "gone@example.com", "b@example.com"))
		b.pass(time.Second)
		if n := len(b.from("shop@acme.example")); n != 1 {
			t.Errorf("Next was called %d times", n)
		}
		var delivered []string
		for _, e := range of[*queue.Delivered](b.events) {
			if e.From != "" { // the bounce has none
				delivered = append(delivered, e.Recipient)
			}
		}
		if want := []string{"a@example.com", "b@example.com"}; !slices.Equal(delivered, want) {
			t.Errorf("delivered to %v, want %v", delivered, want)
		}
		if n := len(of[*queue.Deferred](b.events)); n != 1 {
			t.Errorf("%d recipients were deferred", n)
		}
		if n := len(of[*queue.Bounced](b.events)); n != 1 {
			t.Errorf("%d recipients bounced", n)
		}
		b.wantDepth(1)
	})
}

// Each recipient's event has the reply to the transaction that the recipient was
// in.
func TestNextHopOfRecipient(t *testing.T) {
	hop := func(n int, to ...string) relay.NextHop {
		return relay.NextHop{Host: "mx.test", Reply: fmt.Sprintf("250 queued as %d", n), DSN: true, Recipients: to}
	}
	inBubble(t, func(b *bench) {
		b.sink.taken = []relay.NextHop{hop(1, "a@example.com"), hop(2, "b@example.com")}
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "b@example.com", "a@example.com"))
		b.pass(time.Second)
		got := make(map[string]string)
		for _, e := range of[*queue.Delivered](b.events) {
			got[e.Recipient] = e.Reply.String()
		}
		if got["a@example.com"] != "250 queued as 1" || got["b@example.com"] != "250 queued as 2" {
			t.Errorf("the replies are %v", got)
		}
	})
}

// A recipient whose site is busy was not tried.
func TestBusyRecipientCountsNoAttempt(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			busy := &relay.BusyError{Site: "example.com", Wait: time.Minute, Err: reply(450, "rate")}
			return &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: "b@example.com", Err: busy}}, Partial: true}
		}
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "a@example.com", "b@example.com"))
		b.pass(time.Second)
		d := b.deliveries()
		if len(d) != 1 || d[0].Delivery.Attempts != 0 {
			t.Errorf("the spool holds %+v", d)
		}
		if next := time.Until(d[0].Delivery.Next); next < 50*time.Second || next > time.Minute {
			t.Errorf("it is tried again in %v", next)
		}
	})
}
