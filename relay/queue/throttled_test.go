package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A throttler is a site that wants less mail of one tenant. Each message of that tenant
// begins a pause, for all tenants, that is twice as long as the one before. The first
// message after a pause is alone.
type throttler struct {
	tenant  store.TenantID
	reaches bool // it calls OnReached

	mu      sync.Mutex
	pauses  int // in a row
	until   time.Time
	probing bool
	free    chan struct{} // closed when the probe ends
}

func (s *throttler) forward(_ context.Context, m *relay.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := time.Until(s.until); wait > 0 {
		return s.pause(wait, errors.New("mx.example wants less mail"))
	}
	if s.pauses > 0 && s.probing {
		return &relay.BusyError{Site: "mx.example", Free: s.free}
	}
	if s.probing = s.pauses > 0; s.probing {
		s.free = make(chan struct{})
	}
	if s.reaches && m.OnReached != nil {
		m.OnReached()
	}
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	if s.probing {
		s.probing = false
		close(s.free)
	}
	if m.Identity.Tenant != s.tenant {
		s.pauses = 0
		return nil
	}
	if time.Until(s.until) <= 0 {
		s.until = time.Now().Add(time.Second << s.pauses)
		s.pauses++
	}
	return s.pause(time.Until(s.until), reply(450, "4.7.28 too much mail from your domain"))
}

func (s *throttler) pause(wait time.Duration, err error) error {
	free := make(chan struct{})
	time.AfterFunc(wait, func() { close(free) })
	return &relay.BusyError{Site: "mx.example", Free: free, Wait: wait, Err: err}
}

// If a site wants less mail of one tenant, the others go on in turn. It is the same if they
// send to another destination at that site.
func TestOneTenantIsThrottled(t *testing.T) {
	for _, to := range []string{"same.example", "other.example"} {
		for _, reaches := range []bool{false, true} {
			t.Run(fmt.Sprint(to, "/", reaches), func(t *testing.T) {
				site := &throttler{tenant: "loud", reaches: reaches}
				inBubble(t, func(b *bench) {
					b.q.Destination, b.sink.script = domainOf, site.forward
				}, func(b *bench) {
					for i := range 60 {
						b.forward(ofTenant("loud", message(i, "a@loud.example", fmt.Sprintf("r%d@same.example", i))))
					}
					b.pass(250 * time.Millisecond)
					for i := range 20 {
						b.forward(ofTenant("quiet", message(100+i, "a@quiet.example", fmt.Sprintf("r%d@%s", i, to))))
					}
					b.pass(10 * time.Second)
					n := 0
					for _, d := range b.deliveries() {
						if d.Mail.Tenant == "quiet" {
							n++
						}
					}
					if n > 18 { // each third second one goes, or more
						t.Errorf("%d of 20 messages of the tenant that is not throttled wait after 10s, want at most 18", n)
					}
				})
			})
		}
	}
}
