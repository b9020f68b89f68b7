package chaos_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// TestAdmin has three relays at work, and an operator in a fourth process who
// changes what they do. Each change takes effect in time on all of them, and nothing
// arrives that was reported as cancelled.
func TestAdmin(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			var open atomic.Bool
			s := newSink(t, func(c relaytest.Command) relaytest.Answer {
				if c.Verb == "RCPT" && strings.Contains(c.Line, "@later.example") && !open.Load() {
					return relaytest.Answer{Text: "450 4.2.1 come back later"}
				}
				return relaytest.Answer{}
			})
			nodes := startNodes(t, b, b.create(t), s, func(n *node) { n.ByDomain, n.Retry = true, time.Hour })
			l := &load{conns: 3, pause: 20 * time.Millisecond}
			stop := l.run(t, nodes...)
			o := nodes[0].operator(t)
			o.cancelsAtWork(t, s)
			o.suspendsDestination(t, s)
			o.suspendsTenant(t, s)
			o.retries(t, s, &open)
			stop()
			s.wantAll(t, l, nodes...)
			all := s.all()
			for recipient, list := range all {
				if len(list) > 1 && recipient != "load@"+domain { // who gets the bounces
					t.Errorf("%s was delivered %d times", recipient, len(list))
				}
			}
			for recipient := range o.canceled {
				if len(all[recipient]) > 0 {
					t.Errorf("%s was reported as cancelled and arrived", recipient)
				}
			}
			nodes[1].wantDepth(t, 0, 0)
			t.Logf("%d messages got 250, %d were cancelled", l.accepted(), len(o.canceled))
		})
	}
}

// cancelsAtWork cancels, holds and releases messages while the relays deliver them.
// Each message is either cancelled or arrives.
func (o *operator) cancelsAtWork(t *testing.T, s *sink) {
	const messages = 300
	work := queue.Selection{Filter: store.Filter{Destination: "work.example"}}
	sent := make(chan []string)
	go func() { sent <- o.send(t, "acme", "work.example", messages) }()
	canceled := 0
	var recipients []string
	for round := 0; ; round++ {
		var c queue.Changed
		var err error
		switch round % 4 {
		case 0:
			c, err = o.Hold(t.Context(), work, "looking")
		case 1:
			_, err = o.Retry(t.Context(), work)
		case 2:
			_, err = o.Release(t.Context(), work)
		case 3:
			c, err = o.Cancel(t.Context(), work, "not wanted", round%8 == 3)
			canceled += c.Done
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case recipients = <-sent:
		case <-time.After(20 * time.Millisecond):
		}
		if recipients == nil {
			continue
		}
		left, err := o.Count(t.Context(), work.Filter)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
	}
	eventually(t, "each message has arrived or was cancelled", func() bool {
		return s.arrived(t, recipients)+canceled == messages
	})
	if arrived := messages - canceled; canceled == 0 || arrived == 0 {
		t.Errorf("%d arrived and %d were cancelled: the operator and the relays did not meet", arrived, canceled)
	}
	t.Logf("of %d messages under way %d were cancelled", messages, canceled)
}

// suspendsDestination suspends and resumes a destination, and acts on what waits.
func (o *operator) suspendsDestination(t *testing.T, s *sink) {
	ctx := t.Context()
	paused := store.Suspension{Destination: "paused.example", Reason: "they are moving"}
	if err := o.Suspend(ctx, paused); err != nil {
		t.Fatal(err)
	}
	time.Sleep(noticeTime)
	recipients := o.send(t, "acme", "paused.example", 100)
	one := func(i int) queue.Selection { return queue.Selection{Filter: store.Filter{Recipient: recipients[i]}} }
	for i := range 10 {
		c, err := o.Hold(ctx, one(i), "looking")
		wantDone(t, "hold", 1)(c, err)
		c, err = o.Cancel(ctx, one(10+i), "not wanted", i < 5)
		wantDone(t, "cancel", 1)(c, err)
		c, err = o.Retry(ctx, one(20+i))
		wantDone(t, "retry", 1)(c, err)
	}
	time.Sleep(2 * time.Second)
	s.wantNone(t, "suspended destination", recipients)
	if err := o.Resume(ctx, paused); err != nil {
		t.Fatal(err)
	}
	s.wantSoon(t, "resumed destination", recipients[20:])
	s.wantNone(t, "held or cancelled", recipients[:20])
	c, err := o.Release(ctx, queue.Selection{Filter: store.Filter{Destination: "paused.example", State: store.StateHeld}})
	wantDone(t, "release", 10)(c, err)
	s.wantSoon(t, "released", recipients[:10])
}

// suspendsTenant suspends and resumes a tenant.
func (o *operator) suspendsTenant(t *testing.T, s *sink) {
	tenant := store.Suspension{Tenant: "other", Reason: "not paid"}
	if err := o.Suspend(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	time.Sleep(noticeTime)
	recipients := o.send(t, "other", "example.net", 100)
	neighbours := o.send(t, "acme", "example.net", 100)
	s.wantSoon(t, "the tenant beside the suspended one", neighbours)
	s.wantNone(t, "suspended tenant", recipients)
	if err := o.Resume(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	s.wantSoon(t, "resumed tenant", recipients)
}

// retries has messages tried again that wait for an hour.
func (o *operator) retries(t *testing.T, s *sink, open *atomic.Bool) {
	recipients := o.send(t, "acme", "later.example", 20)
	later := queue.Selection{Filter: store.Filter{Destination: "later.example", State: store.StateWaiting, Reason: "come back"}}
	eventually(t, "all are deferred", func() bool {
		n, err := o.Count(t.Context(), later.Filter)
		return err == nil && n == len(recipients)
	})
	open.Store(true)
	c, err := o.Retry(t.Context(), later)
	wantDone(t, "retry", len(recipients))(c, err)
	s.wantSoon(t, "retried", recipients)
}
