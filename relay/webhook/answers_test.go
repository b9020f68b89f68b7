package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// An endpoint that hangs delays no other, also one of another tenant with the same ID.
func TestHangingEndpoint(t *testing.T) {
	bubble(t, nil, func(h *hooks) {
		h.Endpoints = func(_ context.Context, tenant store.TenantID) ([]webhook.Endpoint, error) {
			e := one("shop")
			e.URL = "https://" + string(tenant) + ".example"
			return []webhook.Endpoint{e, one("crm")}, nil
		}
		h.web.answer = func(r *http.Request) *http.Response {
			if r.URL.Host == "acme.example" {
				return nil // hangs
			}
			return answer(200)
		}
		h.start()
		begins := make(map[string]time.Time)
		for i := range 300 {
			list := []store.Event{event(i, store.EventDelivered), event(1000+i, store.EventDelivered)}
			list[1].Tenant = "other"
			for _, e := range list {
				begins[e.ID] = time.Now()
			}
			h.publish(list...)
			wait(100 * time.Millisecond)
		}
		wait(time.Second)
		n := 0
		for _, g := range h.web.got() {
			if !strings.HasPrefix(g.url, "https://acme.example") {
				n++
				if late := g.at.Sub(begins[g.id()]); late > time.Second {
					t.Errorf("an event for %s was delayed for %v", g.url, late)
				}
			}
		}
		if n != 900 {
			t.Errorf("%d requests to endpoints that answer, want 900", n)
		}
		if got := h.events.String(); !strings.Contains(got, "suspended shop@acme\n") || strings.Contains(got, "suspended shop@other") {
			t.Errorf("want shop@acme alone suspended")
		}
	})
}

// An endpoint that comes back soon gets all that waited within three minutes, and
// after a long outage within five hours.
func TestEndpointComesBack(t *testing.T) {
	for _, test := range []struct{ outage, back time.Duration }{{10 * time.Minute, 3 * time.Minute}, {12 * time.Hour, 5 * time.Hour}} {
		bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
			var up atomic.Bool
			h.web.answer = func(*http.Request) *http.Response {
				if up.Load() {
					return answer(200)
				}
				return answer(502)
			}
			h.start()
			for i := range 200 {
				h.publish(event(i, store.EventDelivered))
			}
			wait(test.outage)
			up.Store(true)
			wait(test.back)
			// A few were tried just before and wait a little longer.
			if n := strings.Count(h.events.String(), "\ndelivered "); n < 180 {
				t.Errorf("%d of 200 events delivered %v after an outage of %v", n, test.back, test.outage)
			}
			wait(time.Hour)
			if n := strings.Count(h.events.String(), "\ndelivered "); n != 200 {
				t.Errorf("%d events delivered after an outage of %v, want 200", n, test.outage)
			}
		})
	}
}

// Events that an endpoint refuses are sent again for three days.
func TestSchedule(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.web.answer = func(*http.Request) *http.Response { return answer(500) }
		h.start()
		h.publish(event(1, store.EventDelivered))
		wait(74 * time.Hour)
		list := h.web.got()
		if n := len(list); n < 18 || n > 24 {
			t.Fatalf("%d requests, want 18 to 24", n)
		}
		if d := list[1].at.Sub(list[0].at); d < 5*time.Second || d > 11*time.Second {
			t.Errorf("the second came after %v, want about 5 s", d)
		}
		if d := list[len(list)-1].at.Sub(list[0].at); d < 72*time.Hour || d > 73*time.Hour {
			t.Errorf("the last came after %v, want 72 h", d)
		}
		for _, g := range list {
			if g.id() != list[0].id() || g.body != list[0].body {
				t.Errorf("request %+v, want the same event as in %+v", g, list[0])
			}
		}
		if got := h.events.String(); !strings.HasSuffix(got, "expired shop@acme: webhook: the endpoint answered 500 Internal Server Error\n") {
			t.Errorf("events:\n%s", got)
		}
	})
}

// 410 ends an event, and the product is told.
func TestGone(t *testing.T) {
	bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
		h.web.answer = func(*http.Request) *http.Response { return answer(410) }
		var gone []string
		h.OnGone = func(tenant store.TenantID, e webhook.Endpoint) {
			gone = append(gone, string(tenant)+" "+e.ID+" "+e.URL)
		}
		h.start()
		h.publish(event(1, store.EventDelivered))
		wait(time.Minute)
		if fmt.Sprint(gone) != "[acme shop https://shop.example/hook]" {
			t.Errorf("OnGone was told %q", gone)
		}
		if got := h.events.String(); got != "given up shop@acme: webhook: the endpoint answered 410 Gone\n" {
			t.Errorf("events:\n%s", got)
		}
	})
}

// An endpoint that asks for a pause gets no requests until its end, but at most for an
// hour.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		status int
		header string
		least  time.Duration
		most   time.Duration
	}{
		{429, "30", 30 * time.Second, 32 * time.Second},
		{503, "30", 30 * time.Second, 32 * time.Second},
		{503, "600", 10 * time.Minute, 11 * time.Minute},
		{429, "Sat, 01 Jan 2000 00:05:00 GMT", 5 * time.Minute, 6 * time.Minute}, // bubbles begin at midnight
		{429, "86400", time.Hour, 61 * time.Minute},
		{429, "99999999999999999999", 10 * time.Second, 12 * time.Second}, // is malformed
		{429, "-5", time.Second, 2 * time.Second},
		{429, "", 10 * time.Second, 12 * time.Second},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.header), func(t *testing.T) {
			bubble(t, []webhook.Endpoint{one("shop")}, func(h *hooks) {
				var asked atomic.Bool
				h.web.answer = func(*http.Request) *http.Response {
					if asked.Swap(true) {
						return answer(200)
					}
					return answer(test.status, "Retry-After", test.header)
				}
				h.start()
				h.publish(event(1, store.EventDelivered))
				wait(100 * time.Millisecond)
				h.publish(event(2, store.EventDelivered), event(3, store.EventDelivered))
				wait(2 * time.Hour)
				list := h.web.got()
				if len(list) != 4 {
					t.Fatalf("%d requests, want 4", len(list))
				}
				for _, g := range list[1:] {
					if d := g.at.Sub(list[0].at); d < test.least || d > test.most {
						t.Errorf("the next request came after %v, want %v to %v", d, test.least, test.most)
					}
				}
			})
		})
	}
}
