package queue_test

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// What docs/operations.md says to do when a password was stolen, over real sockets: the
// user is suspended, what waits is looked at, what was queued since the theft is
// cancelled, the rest and other users' mail is delivered, and the user goes on with a
// new password.
func TestStolenPassword(t *testing.T) {
	up := make(chan bool)
	w := newUnstartedWire(t, func(c relaytest.Command) relaytest.Answer {
		select {
		case <-up:
		default:
			if c.Verb == "RCPT" {
				return relaytest.Answer{Text: "451 4.7.1 not now"}
			}
		}
		return relaytest.Answer{}
	})
	w.queue.Retry = func(int) time.Duration { return time.Hour }
	w.start()
	tenant, ctx := w.relay.Credentials.Tenant(w.relay.Tenant), t.Context()
	other, password, err := tenant.AddUser(ctx, w.relay.Domain, "shop")
	if err != nil {
		t.Fatal(err)
	}
	honest := w.as(other.Username, password.Reveal())
	for _, err := range []error{w.send("before@example.com"), honest.send("honest@example.com")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.waiting(2)
	since := time.Now()
	for i := range 3 {
		if err := w.send(fmt.Sprintf("spam%d@example.com", i)); err != nil {
			t.Fatal(err)
		}
	}

	// 1. Nothing more comes in, and the thief is told no more than a tool is.
	if err := tenant.SuspendUser(ctx, w.relay.Username, "a password was stolen, ask us"); err != nil {
		t.Fatal(err)
	}
	var refused *textproto.Error
	if err := w.send("spam9@example.com"); !errors.As(err, &refused) || refused.Code != 550 || !strings.Contains(refused.Msg, "5.7.13 the user is suspended: a password was stolen, ask us") {
		t.Fatalf("MAIL of a suspended user: %v", err)
	}
	// 2. What waits is held, and looked at.
	w.waiting(5)
	admin := &queue.Admin{Queue: w.queue, By: "alice"}
	ofUser := store.Filter{Tenant: w.relay.Tenant, Username: w.relay.Username}
	stolen := ofUser
	stolen.Since = since
	changes(t, "Hold", queue.Changed{Done: 4}, func() (queue.Changed, error) {
		return admin.Hold(ctx, queue.Selection{Filter: ofUser}, "a password was stolen")
	})
	if list, err := admin.List(ctx, stolen, store.Page{}); err != nil || len(list) != 3 || list[0].Delivery.State() != store.StateHeld {
		t.Fatalf("List: got %d, %v, want the three that were sent since", len(list), err)
	}
	// 3. What was sent since the theft is cancelled, the rest goes on.
	changes(t, "Cancel", queue.Changed{Done: 3}, func() (queue.Changed, error) {
		return admin.Cancel(ctx, queue.Selection{Filter: stolen}, "a password was stolen", false)
	})
	changes(t, "Release", queue.Changed{Done: 1}, func() (queue.Changed, error) {
		return admin.Release(ctx, queue.Selection{Filter: ofUser})
	})
	close(up)
	changes(t, "Retry", queue.Changed{Done: 1}, func() (queue.Changed, error) {
		return admin.Retry(ctx, queue.Selection{Filter: store.Filter{Username: other.Username}})
	})
	w.eventually()
	if got := w.recipients(); len(got) != 2 || got["before@example.com"] != 1 || got["honest@example.com"] != 1 {
		t.Errorf("delivered to %v, want what was sent before the theft and by the other user", got)
	}
	// 4. The user goes on with a new password.
	fresh, err := tenant.ResetPassword(ctx, w.relay.Username)
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.ResumeUser(ctx, w.relay.Username); err != nil {
		t.Fatal(err)
	}
	if err := w.send("spam@example.com"); !errors.As(err, &refused) || refused.Code != 535 {
		t.Errorf("a login with the stolen password: %v, want 535", err)
	}
	if err := w.as(w.relay.Username, fresh.Reveal()).send("after@example.com"); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	w.eventually()
}

// as returns the wire for clients that log in as another user.
func (w *wire) as(username, password string) *wire {
	other := *w
	other.relay = &relaytest.Relay{Addr: w.relay.Addr, Username: username, Password: password}
	return &other
}

// waiting waits until so many deliveries wait for their next attempt.
func (w *wire) waiting(n int) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		list, err := w.spool.Deliveries(w.Context(), store.Filter{State: store.StateWaiting}, store.Page{})
		if err == nil && len(list) == n {
			return
		}
	}
	w.Fatalf("no %d deliveries wait after 20 seconds", n)
}
