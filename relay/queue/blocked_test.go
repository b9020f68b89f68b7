package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// Three tenants wait for one destination that takes one attempt at once. The second
// is suspended. The third is served when the attempt of the first ends.
func TestTenantBehindASuspendedOneIsServed(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.PerDestination = domainOf, 1
		b.sink.script = func(context.Context, *relay.Message) error {
			time.Sleep(10 * time.Second)
			return nil
		}
	}, func(b *bench) {
		for i, tenant := range []string{"first", "second", "third"} {
			b.forward(ofTenant(store.TenantID(tenant), message(i, "a@acme.example", tenant+"@slow.example")))
		}
		admin := &queue.Admin{Queue: b.q}
		if err := admin.Suspend(b.Context(), store.Suspension{Tenant: "second"}); err != nil {
			t.Fatal(err)
		}
		b.pass(30 * time.Second)
		if got := b.sink.all(); len(got) != 2 || got[1].to[0] != "third@slow.example" {
			t.Errorf("sent %d messages, want those of the first and the third tenant", len(got))
		}
	})
}

// Mail of many tenants for one destination goes out at the destination's limit again
// after Next had few slots for a while.
func TestManyTenantsAfterASiteWasBusy(t *testing.T) {
	var most, now int
	var busy bool
	inBubble(t, func(b *bench) {
		b.q.Destination, b.q.PerDestination = domainOf, 10
		b.sink.script = func(context.Context, *relay.Message) error {
			b.sink.mu.Lock()
			first := !busy
			busy = true
			now++
			most = max(most, now)
			b.sink.mu.Unlock()
			defer func() {
				b.sink.mu.Lock()
				now--
				b.sink.mu.Unlock()
			}()
			if first {
				free := make(chan struct{})
				time.AfterFunc(time.Millisecond, func() { close(free) })
				return &relay.BusyError{Site: "slow.example", Free: free}
			}
			time.Sleep(time.Second)
			return nil
		}
	}, func(b *bench) {
		b.forward(message(999, "a@acme.example", "r@slow.example"))
		b.pass(100 * time.Millisecond)
		for i := range 200 {
			b.forward(ofTenant(store.TenantID(fmt.Sprint("t", i)), message(i, "a@acme.example", "r@slow.example")))
		}
		b.pass(minute)
		if most < 8 {
			t.Errorf("%d attempts at once, want about 10", most)
		}
		b.wantDepth(0)
	})
}
