package mx_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// Mail for 200 domains behind one slow host does not delay mail for another host.
func TestSlowSiteBehindTheQueue(t *testing.T) {
	z := mailFor()
	for i := range 200 {
		z.mx[fmt.Sprintf("d%d.example", i)] = []string{"10 slow.example."}
	}
	z.mx["other.example"] = []string{"10 quick.example."}
	z.addrs["slow.example"], z.addrs["quick.example"] = []string{localhost}, []string{localhost}
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "RCPT" && c.Line != "RCPT TO:<r@other.example>" {
			return relaytest.Answer{Wait: 300 * time.Millisecond}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up, z)
	var mu sync.Mutex
	delivered := make(map[string]time.Duration)
	var begin time.Time
	other, done := make(chan struct{}), make(chan struct{})
	q := &queue.Queue{
		Spool: new(memory.Store), Next: f, Destination: mx.Destination, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e queue.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case *queue.Queued:
			case *queue.Delivered:
				delivered[e.Recipient] = time.Since(begin)
				if e.Recipient == "r@other.example" {
					close(other)
				}
				if len(delivered) == 201 {
					close(done)
				}
			default:
				t.Errorf("%T: %+v", e, e)
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	send := func(to string) {
		m := message(to)
		m.ID = relay.NewID()
		if err := q.Forward(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		send(fmt.Sprintf("r@d%d.example", i))
	}
	begin = time.Now()
	send("r@other.example")
	for what, c := range map[string]chan struct{}{"the other": other, "all": done} {
		select {
		case <-c:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: not delivered", what)
		}
	}
	cancel()
	<-ended
	t.Logf("the other after %v", delivered["r@other.example"])
	if took := delivered["r@other.example"]; took > time.Second {
		t.Errorf("the other message took %v", took)
	}
	if made, _ := up.Connections(); made > 15 {
		t.Errorf("%d connections", made)
	}
}
