package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// shows checks since when an endpoint fails, and why it is off.
func shows(t *testing.T, m *webhook.Manager, id string, failing bool, off string) {
	t.Helper()
	if e, err := m.Get(t.Context(), "acme", id); err != nil || e.Failing.IsZero() == failing || e.Off != off {
		t.Errorf("got failing since %v, off %q, %v, want failing %v, off %q", e.Failing, e.Off, err, failing, off)
	}
}

// 410 switches an endpoint off, once, and the others get their events.
func TestManagerGone(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		var told []string
		m.OnSwitchedOff = func(_ context.Context, tenant store.TenantID, e webhook.Entry) {
			told = append(told, fmt.Sprint(tenant, " ", e.URL, " ", e.Off))
		}
		h.web.answer = func(r *http.Request) *http.Response {
			if r.URL.Host == "gone.example" {
				return answer(410)
			}
			return answer(200)
		}
		h.start()
		gone, _ := add(t, m, "https://gone.example")
		add(t, m, "https://shop.example")
		for i := range 3 {
			h.publish(event(i, store.EventDelivered))
			wait(time.Second)
		}
		if want := []string{"acme https://gone.example " + webhook.OffGone}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := len(h.web.got()); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
		if e, err := m.SwitchOn(t.Context(), "acme", gone.ID); err != nil || e.Off != "" || !e.OffSince.IsZero() {
			t.Errorf("SwitchOn = %+v, %v", e, err)
		}
		h.publish(event(9, store.EventDelivered))
		wait(time.Second)
		if n := len(h.web.got()); n != 6 {
			t.Errorf("%d requests after SwitchOn, want 6", n)
		}
	})
}

// An endpoint shows since when it fails, and is switched off after days.
func TestManagerFailing(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		status := new(atomic.Int64)
		h.web.answer = func(*http.Request) *http.Response { return answer(int(status.Load())) }
		h.start()
		e, _ := add(t, m, "https://shop.example")
		failing := func() time.Time {
			e, err := m.Get(t.Context(), "acme", e.ID)
			if err != nil {
				t.Fatal(err)
			}
			return e.Failing
		}
		status.Store(500)
		began := time.Now()
		h.publish(event(1, store.EventDelivered))
		wait(time.Hour)
		if got := failing(); !got.Equal(began.Truncate(time.Microsecond)) {
			t.Errorf("failing since %v, want %v", got, began)
		}
		status.Store(200)
		wait(3 * time.Hour)
		if got := failing(); !got.IsZero() {
			t.Errorf("failing since %v after a success", got)
		}
		status.Store(500)
		h.publish(event(2, store.EventDelivered))
		wait(4 * 24 * time.Hour)
		h.publish(event(3, store.EventDelivered))
		wait(23 * time.Hour)
		if is, _ := m.Get(t.Context(), "acme", e.ID); is.Off != "" {
			t.Errorf("switched off too early: %+v", is)
		}
		wait(6 * time.Hour)
		if is, _ := m.Get(t.Context(), "acme", e.ID); is.Off != webhook.OffFailing {
			t.Errorf("not switched off: %+v", is)
		}
		sent := len(h.web.got())
		wait(24 * time.Hour)
		if n := len(h.web.got()); n != sent {
			t.Errorf("%d requests after it was switched off", n-sent)
		}
		tried, _ := m.Attempts(t.Context(), "acme", e.ID)
		if a := tried[0]; a.Status != 500 || a.Reason != "the endpoint answered 500 Internal Server Error" || a.Attempt < 5 {
			t.Errorf("the last request is %+v", a)
		}
	})
}

// Tests that fail do not make an endpoint fail, nor switch it off; one that works ends it.
func TestTestsDoNotCount(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		status := new(atomic.Int64)
		h.web.answer = func(*http.Request) *http.Response { return answer(int(status.Load())) }
		h.start()
		e, _ := add(t, m, "https://shop.example")
		tests := func() {
			if _, err := m.Test(t.Context(), "acme", e.ID); err != nil {
				t.Fatal(err)
			}
		}
		status.Store(500)
		for range 6 {
			tests()
			wait(24 * time.Hour)
		}
		shows(t, m, e.ID, false, "")
		h.publish(event(1, store.EventDelivered))
		wait(2 * time.Second)
		shows(t, m, e.ID, true, "")
		status.Store(200)
		tests()
		shows(t, m, e.ID, false, "")
	})
}

// Two requests that fail within six days are too few to switch an endpoint off.
func TestFewFailures(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		e, _ := add(t, m, "https://shop.example")
		for i, wantOff := range []string{"", "", webhook.OffFailing} {
			a := store.EndpointAttempt{Tenant: "acme", Endpoint: e.ID, ID: string(rune('a' + i)), At: time.Now().UTC(), Attempt: 1, Reason: "it failed"}
			m.OnAttempt(a)
			wait(6 * 24 * time.Hour)
			shows(t, m, e.ID, true, wantOff)
		}
	})
}

// Another URL of an endpoint has not failed yet.
func TestChangeOfURL(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		h.web.answer = func(*http.Request) *http.Response { return answer(500) }
		h.start()
		e, _ := add(t, m, "https://shop.example")
		h.publish(event(1, store.EventDelivered))
		wait(2 * time.Second)
		for _, url := range []string{"https://shop.example", "https://other.example"} {
			if _, err := m.Change(t.Context(), "acme", e.ID, url, nil); err != nil {
				t.Fatal(err)
			}
			shows(t, m, e.ID, url == "https://shop.example", "")
		}
	})
}

// A test is not kept if its caller gives up, and it does not count as a failure.
func TestTestGivenUp(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		h.web.answer = func(*http.Request) *http.Response { return nil } // it is slow
		h.start()
		e, _ := add(t, m, "https://shop.example")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := m.Test(ctx, "acme", e.ID); err != nil || a.Reason == "" {
			t.Errorf("Test = %+v, %v, want a request that failed", a, err)
		}
		if list, err := m.Attempts(t.Context(), "acme", e.ID); err != nil || len(list) != 0 {
			t.Errorf("Attempts = %+v, %v, want none", list, err)
		}
	})
}

// A hanging store adds no attempts.
type hanging struct{ *counted }

func (hanging) AddEndpointAttempts(ctx context.Context, _ []store.EndpointAttempt, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

// Test returns although the Store hangs.
func TestTestReturns(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, st *counted) {
		t := h.t
		h.start()
		e, _ := add(t, m, "https://shop.example")
		m = &webhook.Manager{Store: hanging{st}, Sender: h.Sender, Secret: sealing, Logger: quiet}
		began := time.Now()
		if a, err := m.Test(t.Context(), "acme", e.ID); err != nil || a.Status != 204 {
			t.Errorf("Test = %+v, %v", a, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("Test took %v", took)
		}
	})
}

// A rivalled store lets another caller change an endpoint just before the next change.
type rivalled struct {
	*counted
	before func()
}

func (r *rivalled) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.counted.SetEndpoint(ctx, e)
}

// A failure counts although another caller changes the endpoint meanwhile.
func TestFailureDuringChange(t *testing.T) {
	managed(t, func(h *hooks, other *webhook.Manager, st *counted) {
		t := h.t
		h.web.answer = func(*http.Request) *http.Response { return answer(500) }
		h.start()
		e, _ := add(t, other, "https://shop.example")
		r := &rivalled{counted: st}
		m := &webhook.Manager{Store: r, Sender: h.Sender, Secret: sealing, Logger: quiet}
		m.OnAttempt(store.EndpointAttempt{Tenant: "acme", Endpoint: e.ID, ID: "a", At: time.Now().UTC(), Attempt: 1, Reason: "it failed"})
		r.before = func() {
			if _, err := other.Change(t.Context(), "acme", e.ID, "https://shop.example", []string{"message.*"}); err != nil {
				t.Error(err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Run(ended); err != nil {
			t.Fatal(err)
		}
		shows(t, other, e.ID, true, "")
		if is, _ := other.Get(t.Context(), "acme", e.ID); len(is.Types) != 1 {
			t.Errorf("the change is lost: %+v", is)
		}
	})
}

// A 410 of the URL that an endpoint had before does not switch it off: another process
// may use that for some seconds more.
func TestManagerGoneBefore(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, st *counted) {
		t := h.t
		h.web.answer = func(r *http.Request) *http.Response {
			if r.URL.Host == "old.example" {
				return answer(410)
			}
			return answer(200)
		}
		h.start()
		e, _ := add(t, m, "https://old.example")
		if _, err := m.Endpoints(t.Context(), "acme"); err != nil { // now it is remembered
			t.Fatal(err)
		}
		other := &webhook.Manager{Store: st, Sender: h.Sender, Secret: sealing}
		if _, err := other.Change(t.Context(), "acme", e.ID, "https://new.example", nil); err != nil {
			t.Fatal(err)
		}
		h.publish(event(1, store.EventDelivered))
		wait(6 * time.Second)
		h.publish(event(2, store.EventDelivered))
		wait(time.Second)
		if list := h.web.got(); len(list) != 2 || list[0].url != "https://old.example" || list[1].url != "https://new.example" {
			t.Errorf("requests: %+v", list)
		}
		if is, err := m.Get(t.Context(), "acme", e.ID); err != nil || is.Off != "" {
			t.Errorf("after a 410 of the old URL: %+v, %v", is, err)
		}
	})
}
