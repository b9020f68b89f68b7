package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// An event reaches each endpoint that wants it, once.
func TestPublish(t *testing.T) {
	shop, crm := one("shop"), one("crm")
	shop.Types = []string{"message.delivered", "login.*"}
	crm.Types = []string{"message.*"}
	bubble(t, []webhook.Endpoint{shop, crm}, func(h *hooks) {
		h.start()
		h.publish(event(1, store.EventDelivered), event(2, store.EventHardBounced), event(3, store.EventLoginRefused), event(4, 99))
		wait(time.Second)
		want := map[string]int{
			"https://shop.example/hook 06ekx_1_0": 1, "https://shop.example/hook 06ekx_3_0": 1,
			"https://crm.example/hook 06ekx_1_0": 1, "https://crm.example/hook 06ekx_2_0": 1,
		}
		for _, g := range h.web.got() {
			want[g.url+" "+g.id()]--
		}
		for key, n := range want {
			if n != 0 {
				t.Errorf("%s: %d requests too few", key, n)
			}
		}
		if got := h.events.String(); !strings.Contains(got, "delivered shop@acme: shop.example 204 No Content\n") {
			t.Errorf("events:\n%s", got)
		}
	})
}

// To repeat events that wait or that this process has published changes nothing. If another
// process repeats one that was delivered, it is sent again under the same webhook-id.
func TestRepetition(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		list := []store.Event{event(1, store.EventAccepted), event(2, store.EventAccepted)}
		h.publish(list...)
		wait(time.Minute)
		list[0].Reason = "said in other words"
		h.publish(list...)
		h.start()
		wait(time.Minute)
		if got := h.web.got(); len(got) != 2 || got[0].id() == got[1].id() {
			t.Fatalf("%d requests, want one for each event", len(got))
		}
		h.publish(list...)
		wait(time.Minute)
		if got := h.web.got(); len(got) != 2 {
			t.Errorf("%d requests after a repetition, want 2", len(got))
		}
		other := &webhook.Sender{Queue: queue.Queue{Spool: h.Queue.Spool, Logger: quiet}, Endpoints: h.Endpoints}
		if err := other.Publish(h.t.Context(), list[:1]); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		if got := h.web.got(); len(got) != 3 || got[2].id() != list[0].ID {
			t.Errorf("%d requests, want another one for event %s", len(got), list[0].ID)
		}
	})
}

// Events arrive in order if an endpoint gets one at a time.
func TestOrder(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.Queue.PerDestination = 1
		h.start()
		var list []store.Event
		for i := range 100 {
			e := event(i/10, store.EventDeferred)
			e.ID = fmt.Sprintf("e_%03d", i)
			list = append(list, e)
		}
		h.publish(list...)
		wait(time.Minute)
		last := make(map[string]string)
		for _, g := range h.web.got() {
			var p struct{ Data struct{ ID string } }
			if err := json.Unmarshal([]byte(g.body), &p); err != nil {
				t.Fatal(err)
			}
			if g.id() <= last[p.Data.ID] {
				t.Errorf("event %s of message %s came after %s", g.id(), p.Data.ID, last[p.Data.ID])
			}
			last[p.Data.ID] = g.id()
		}
		if n := len(h.web.got()); n != 100 {
			t.Errorf("%d requests, want 100", n)
		}
	})
}

// An event goes to the endpoint as it is when the event is sent, and never to one that was
// removed.
func TestEndpointChanges(t *testing.T) {
	bubble(t, nil, func(h *hooks) {
		list := []webhook.Endpoint{one("shop"), one("crm")}
		h.Endpoints = func(context.Context, store.TenantID) ([]webhook.Endpoint, error) { return list, nil }
		h.publish(event(1, store.EventDelivered))
		changed := one("shop")
		changed.URL = "https://new.example"
		list = []webhook.Endpoint{changed}
		h.start()
		wait(time.Minute)
		if got := h.web.got(); len(got) != 1 || got[0].url != "https://new.example" {
			t.Errorf("requests %+v, want one to new.example", got)
		}
		if got := h.events.String(); !strings.Contains(got, "given up crm@acme: webhook: the tenant has no endpoint crm any more\n") {
			t.Errorf("events:\n%s", got)
		}
	})
}

// An outage of Endpoints loses nothing and suspends nothing.
func TestEndpointsFails(t *testing.T) {
	bubble(t, nil, func(h *hooks) {
		var fails atomic.Bool
		h.Endpoints = func(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
			if fails.Load() {
				return nil, context.DeadlineExceeded
			}
			return []webhook.Endpoint{one("shop")}, nil
		}
		h.publish(event(1, store.EventDelivered))
		fails.Store(true)
		if err := h.Publish(h.t.Context(), []store.Event{event(2, store.EventDelivered)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish = %v, want the error of Endpoints", err)
		}
		h.start()
		wait(3 * time.Second)
		fails.Store(false)
		wait(10 * time.Second)
		if n := len(h.web.got()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		if got := h.events.String(); strings.Contains(got, "suspended") {
			t.Errorf("events:\n%s", got)
		}
	})
}

// A Publish that the spool interrupts goes on where it failed when it is repeated:
// nothing is sent twice, and nothing is left out.
func TestInterrupted(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		spool := &failing{Store: new(memory.Store)}
		h.Queue.Spool = spool
		h.start()
		var list []store.Event
		for i := range 200 {
			list = append(list, event(i, store.EventDelivered))
		}
		calls := 1
		for ; ; calls++ {
			spool.left.Store(50) // Puts, and then an error
			err := h.Publish(h.t.Context(), list)
			wait(time.Minute)
			if err == nil {
				break
			}
			if calls == 20 {
				t.Fatalf("Publish still fails: %v", err)
			}
		}
		if n := len(h.web.got()); n != 200 || calls < 4 {
			t.Errorf("%d requests after %d calls, want 200 after at least 4", n, calls)
		}
	})
}

// An event that cannot be sent does not keep others from being sent.
func TestUnusableEvents(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		var l log
		h.Queue.Logger = l.logger()
		h.start()
		none, dot, long := event(1, store.EventDelivered), event(2, store.EventDelivered), event(3, store.EventDelivered)
		none.ID, dot.ID = "", "a.b"
		long.Reason, long.Reply.Code, long.Reply.Text = strings.Repeat("\xff", 16384), 250, strings.Repeat("\x01", 1024)
		h.publish(none, dot, long)
		wait(time.Minute)
		if got := h.web.got(); len(got) != 1 || got[0].id() != long.ID || !json.Valid([]byte(got[0].body)) {
			t.Errorf("%d requests, want one for the long event", len(got))
		}
		if n := strings.Count(l.String(), "level=ERROR"); n != 2 {
			t.Errorf("the log has %d errors, want 2:\n%s", n, &l)
		}
	})
}

// A spool that fails makes Publish fail, and a repetition gets the rest through.
func TestSpoolFails(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		spool := &failing{Store: new(memory.Store), err: errors.New("the disk is away")}
		h.Queue.Spool = spool
		list := []store.Event{event(1, store.EventDelivered), event(2, store.EventDelivered)}
		if err := h.Publish(h.t.Context(), list); !errors.Is(err, spool.err) {
			t.Errorf("Publish = %v, want %v", err, spool.err)
		}
		spool.err = nil
		h.publish(list...)
		h.start()
		wait(time.Minute)
		if n := len(h.web.got()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// A full spool does not stop Publish. What there is no room for is left out and counted, and
// the log says so once a minute. Send returns the error.
func TestSpoolFull(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		var l log
		spool := &failing{Store: new(memory.Store), err: store.ErrFull}
		h.Queue.Spool, h.Queue.Logger = spool, l.logger()
		first := []store.Event{event(1, store.EventDelivered), event(2, store.EventDelivered)}
		h.publish(first...)
		h.publish(first...) // what follows in the history has failed
		if n := h.Stats().Dropped; n != 2 {
			t.Errorf("dropped %d, want 2", n)
		}
		if err := h.Send(h.t.Context(), "acme", "domain.verified", "one", time.Now(), nil); !errors.Is(err, store.ErrFull) {
			t.Errorf("Send = %v, want %v", err, store.ErrFull)
		}
		wait(time.Minute)
		h.publish(event(3, store.EventDelivered), event(4, store.EventDelivered))
		if n := strings.Count(l.String(), "the Spool is full"); n != 2 || h.Stats().Dropped != 4 {
			t.Errorf("dropped %d, want 4, and %d lines of the log, want 2:\n%s", h.Stats().Dropped, n, &l)
		}
		spool.err = nil
		h.publish(first[0], event(5, store.EventDelivered))
		h.start()
		wait(time.Minute)
		if n := len(h.web.got()); n != 2 || h.Stats().Dropped != 4 {
			t.Errorf("%d requests, want 2; dropped %d, want 4", n, h.Stats().Dropped)
		}
	})
}

// No secret and no password of a URL is in the log, an error or a stored reason.
func TestSecretsStaySecret(t *testing.T) {
	old, now := webhook.NewSecret(), webhook.NewSecret()
	bad := credentials.NewPassword("whsec_not/base64!")
	bubble(t, nil, func(h *hooks) {
		var l log
		h.Queue.Logger = l.logger()
		e := one("shop")
		e.URL, e.Secrets = "https://user:hunter2@shop.example/?token=hunter2", []credentials.Password{old, now}
		wrong := one("wrong")
		wrong.Secrets = append(wrong.Secrets, bad)
		scheme := one("scheme")
		scheme.URL = "http://hunter2:x@shop.example"
		broken := one("broken")
		broken.URL = "https://hunter2\x7f"
		list := []webhook.Endpoint{e, wrong, scheme, broken}
		h.Endpoints = endpoints(list...)
		h.web.answer = func(*http.Request) *http.Response { return nil }
		h.start()
		h.publish(event(1, store.EventDelivered))
		wait(time.Hour)
		fmt.Fprintf(&l, "%v", &h.events)
		for _, e := range list {
			_, err := h.Test(h.t.Context(), e)
			if err == nil {
				t.Errorf("Test of %s succeeded", e.ID)
			}
			fmt.Fprintf(&l, "%v %+v %#v", err, e.Secrets, e.Secrets)
		}
		for _, secret := range []string{old.Reveal(), now.Reveal(), bad.Reveal(), "hunter2", old.Reveal()[6:]} {
			if i := strings.Index(l.String(), secret); i >= 0 {
				t.Errorf("%q is shown: %s", secret, l.String()[max(0, i-200):i+50])
			}
		}
		if n := strings.Count(l.String(), "queue: deferred"); n < 8 {
			t.Errorf("the log has %d deferrals, want some for each endpoint", n)
		}
	})
}

// Endpoints without a usable ID get nothing, and do not keep events from others.
func TestEndpointIDs(t *testing.T) {
	bubble(t, []webhook.Endpoint{one(""), one("a@b"), one("shop"), one("shop")}, func(h *hooks) {
		var l log
		h.Queue.Logger = l.logger()
		h.start()
		h.publish(event(1, store.EventDelivered))
		wait(time.Minute)
		if n := len(h.web.got()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		if n := strings.Count(l.String(), "level=ERROR"); n != 3 {
			t.Errorf("the log has %d errors, want 3:\n%s", n, &l)
		}
	})
}

// The product sends events of its own.
func TestSend(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for _, tenant := range []store.TenantID{"acme", "other", "acme"} { // other has the same id
			if err := h.Send(h.t.Context(), tenant, "domain.verified", "dom-1", at, map[string]string{"domain": "a<b>.example"}); err != nil {
				t.Fatal(err)
			}
		}
		h.start()
		wait(time.Minute)
		list := h.web.got()
		want := `{"type":"domain.verified","timestamp":"2026-01-02T03:04:05.000000Z","data":{"domain":"a<b>.example"}}`
		if len(list) != 2 || list[0].body != want || list[0].id() != "dom-1" {
			t.Errorf("requests %+v, want dom-1 with %s", list, want)
		}
		if n := strings.Count(h.events.String(), "delivered shop@other"); n != 1 {
			t.Errorf("the same id of another tenant was delivered %d times, want once", n)
		}
		for _, err := range []error{
			h.Send(h.t.Context(), "acme", "domain verified", "dom-2", at, nil),
			h.Send(h.t.Context(), "acme", "domain.verified", "dom.2", at, nil),
			h.Send(h.t.Context(), "acme", "domain.verified", "", at, nil),
			h.Send(h.t.Context(), "acme", "domain.verified", "dom-2", at, strings.Repeat("x", 65<<10)),
			h.Send(h.t.Context(), "acme", "domain.verified", "dom-2", at, func() {}),
		} {
			if err == nil {
				t.Error("Send of a wrong event succeeded")
			}
		}
	})
}
