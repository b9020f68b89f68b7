package queue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// brake returns the only brake of a kind.
func (b *bench) brake(kind relay.BrakeKind) relay.Brake {
	b.Helper()
	var found []relay.Brake
	for _, brake := range b.q.Brakes() {
		if brake.Kind == kind {
			found = append(found, brake)
		}
	}
	if len(found) != 1 {
		b.Fatalf("%d brakes of kind %q, want 1: %+v", len(found), kind, b.q.Brakes())
	}
	return found[0]
}

// Brakes says which site of Next has no slot, for how many messages, and until when.
func TestBrakes(t *testing.T) {
	for kind, site := range map[relay.BrakeKind]*busySite{
		relay.BrakeConnections: {slots: 1, takes: minute},
		relay.BrakeRate:        {slots: 9, every: minute},
	} {
		inBubble(t, func(b *bench) {
			b.q.Destination, b.sink.script = domainOf, site.forward
		}, func(b *bench) {
			if list := b.q.Brakes(); len(list) > 0 {
				b.Errorf("without mail: got %+v", list)
			}
			for i := range 5 {
				b.forward(ofTenant(store.TenantID(fmt.Sprint("t", i)), message(i, "a@acme.example", fmt.Sprintf("r@d%d.example", i))))
			}
			b.pass(10 * time.Second)
			got := b.brake(kind)
			if got.Site != "mx.example" || got.Waiting != 4 || (kind == relay.BrakeRate) != (time.Until(got.Until) > 30*time.Second) {
				b.Errorf("got %+v, want 4 that wait for mx.example", got)
			}
			b.pass(10 * minute)
			if list := b.q.Brakes(); len(list) > 0 {
				b.Errorf("after the mail: got %+v", list)
			}
		})
	}
}

// The limits of the queue itself are brakes too.
func TestBrakesOfTheQueue(t *testing.T) {
	site := &busySite{slots: 99, takes: minute}
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.Workers, b.q.PerDestination, b.sink.script = domainOf, 4, 2, site.forward
	}, func(b *bench) {
		for i := range 5 {
			b.forward(message(i, "a@acme.example", "r@one.example"))
		}
		b.pass(time.Second)
		if got := b.brake(relay.BrakeDestination); got.Site != "one.example" || got.Limit != 2 || got.Waiting != 3 {
			b.Errorf("got %+v, want 3 that wait for one.example with 2 attempts", got)
		}
		for i := range 9 {
			b.forward(message(100+i, "a@acme.example", fmt.Sprintf("r@d%d.example", i)))
		}
		b.pass(time.Second)
		if got := b.brake(relay.BrakeWorkers); got.Limit != 4 || got.Waiting != 7 {
			b.Errorf("got %+v, want 7 that wait for one of 4 workers", got)
		}
		b.pass(10 * minute)
		b.wantDepth(0)
	})
	if list := new(queue.Queue).Brakes(); len(list) > 0 {
		t.Errorf("a queue that does not work: got %+v", list)
	}
}
