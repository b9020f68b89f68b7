package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A tenant adds an endpoint, gets events that are signed with its secret, and sees the
// last requests. Two secrets sign while they overlap.
func TestManager(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		h.start()
		e, first := add(t, m, " https://shop.example/hook ", "message.delivered", "message.delivered")
		if e.URL != "https://shop.example/hook" || !slices.Equal(e.Types, []string{"message.delivered"}) || !e.OldSecretUntil.IsZero() {
			t.Errorf("added %+v", e)
		}
		h.publish(event(1, store.EventDelivered), event(2, store.EventAccepted))
		wait(time.Second)
		rotated, second, err := m.Rotate(t.Context(), "acme", e.ID)
		if err != nil || !rotated.OldSecretUntil.Equal(time.Now().Add(24*time.Hour).Truncate(time.Second)) {
			t.Errorf("Rotate = %+v, %v", rotated, err)
		}
		if _, _, err := m.RotateOnce(t.Context(), "acme", e.ID, e.SecretSet); !errors.Is(err, store.ErrConflict) || rotated.SecretSet.Equal(e.SecretSet) {
			t.Errorf("RotateOnce of a secret that is not the newest: %v", err)
		}
		h.publish(event(3, store.EventDelivered))
		wait(25 * time.Hour)
		h.publish(event(4, store.EventDelivered))
		wait(time.Second)
		_, third, err := m.Rotate(t.Context(), "acme", e.ID)
		if _, end := m.EndOverlap(t.Context(), "acme", e.ID); err != nil || end != nil {
			t.Errorf("Rotate and EndOverlap: %v, %v", err, end)
		}
		h.publish(event(5, store.EventDelivered))
		wait(2 * time.Second)
		list := h.web.got()
		if len(list) != 4 {
			t.Fatalf("%d requests, want 4", len(list))
		}
		for i, want := range [][]string{{first}, {first, second.Reveal()}, {second.Reveal()}, {third.Reveal()}} {
			if n := signed(list[i], first, second.Reveal(), third.Reveal()); n != len(want) || signed(list[i], want...) != n {
				t.Errorf("request %d is signed with %d secrets, want %d", i, n, len(want))
			}
		}
		tried, err := m.Attempts(t.Context(), "acme", e.ID)
		if err != nil || len(tried) != 4 {
			t.Fatalf("Attempts = %+v, %v, want 4", tried, err)
		}
		if a := tried[0]; a.Event != list[3].id() || a.Type != "message.delivered" || a.Status != 204 || a.Attempt != 1 || a.Reason != "" || !a.At.Equal(list[3].at.Truncate(time.Microsecond)) {
			t.Errorf("the last request is %+v", a)
		}
	})
}

// A second Run at the same time is an error, also that of the Sender. One after the other
// is fine.
func TestRunTwice(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		h.start()
		for name, run := range map[string]func(context.Context) error{
			"webhook: Run is being called already":        m.Run,
			"webhook: queue: Run is being called already": h.Run,
		} {
			if err := run(t.Context()); err == nil || err.Error() != name {
				t.Errorf("got %v, want %s", err, name)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := &webhook.Manager{Store: new(memory.Store), Sender: new(webhook.Sender)}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
	})
}

// The secret is in no list, no log and no text of the Store, the URL neither.
func TestManagerSecrets(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, st *counted) {
		t := h.t
		log := new(log)
		m.Logger, h.Queue.Logger = log.logger(), log.logger()
		h.web.answer = func(*http.Request) *http.Response { return answer(410) }
		h.start()
		e, secret := add(t, m, "https://user:hunter2@shop.example/hook")
		h.publish(event(1, store.EventDelivered))
		wait(2 * time.Second)
		list, _ := m.List(t.Context(), "acme")
		kept, _ := st.Store.ListEndpoints(t.Context(), []store.TenantID{"acme"})
		tried, _ := m.Attempts(t.Context(), "acme", e.ID)
		all := fmt.Sprintf("%+v %#v", list, list)
		hidden := fmt.Sprintf("%+v %+v %s", kept, tried, log)
		if strings.Contains(all+hidden, strings.TrimPrefix(secret, "whsec_")) || strings.Contains(hidden, "hunter2") {
			t.Errorf("a secret is in:\n%s\n%s", all, hidden)
		}
		if len(kept) != 1 || len(tried) != 1 || !strings.Contains(log.String(), "an endpoint is switched off") {
			t.Errorf("%d endpoints, %d requests, log:\n%s", len(kept), len(tried), log)
		}
		other := &webhook.Manager{Store: st, Sender: h.Sender, Secret: credentials.NewPassword(strings.Repeat("x", 32)), Logger: quiet}
		if list, err := other.List(t.Context(), "acme"); err != nil || len(list) != 1 || list[0].URL != "" {
			t.Errorf("List with another Secret = %+v, %v", list, err)
		}
		if _, err := other.Change(t.Context(), "acme", e.ID, "https://shop.example", nil); err == nil {
			t.Error("Change with another Secret worked")
		}
		moved := kept[0]
		moved.Tenant, moved.Version = "rival", 0
		if err := st.SetEndpoint(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		if list, err := m.List(t.Context(), "rival"); err != nil || len(list) != 1 || list[0].URL != "" {
			t.Errorf("List of a tenant with the sealed text of another = %+v, %v", list, err)
		}
	})
}

// Events of an endpoint that another Secret has sealed wait; those of others go out.
func TestManagerWrongSecret(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, st *counted) {
		t := h.t
		other := &webhook.Manager{Store: st, Sender: h.Sender}
		if _, _, err := other.Add(t.Context(), "acme", "https://plain.example", nil); err != nil {
			t.Fatal(err)
		}
		wrong := &webhook.Manager{Store: st, Sender: h.Sender, Secret: credentials.NewPassword(strings.Repeat("x", 32))}
		if _, _, err := wrong.Add(t.Context(), "acme", "https://wrong.example", nil); err != nil {
			t.Fatal(err)
		}
		h.start()
		h.publish(event(1, store.EventDelivered))
		wait(time.Hour)
		if list := h.web.got(); len(list) != 1 || list[0].url != "https://plain.example" {
			t.Errorf("requests: %+v", list)
		}
		if got := h.events.String(); strings.Count(got, "delivered ") != 1 || !strings.Contains(got, "deferred ") || strings.Contains(got, "given up") {
			t.Errorf("events:\n%s", got)
		}
	})
}

// A test shows what became of it, also of an endpoint that is switched off, and is one
// of the last requests at once.
func TestManagerTest(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		h.web.answer = func(*http.Request) *http.Response { return answer(404) }
		h.start()
		e, secret := add(t, m, "https://shop.example", "message.delivered")
		if _, err := m.SwitchOff(t.Context(), "acme", e.ID, "we  move\nit"); err != nil {
			t.Fatal(err)
		}
		a, err := m.Test(t.Context(), "acme", e.ID)
		if err != nil || a.Status != 404 || a.Reason != "the endpoint answered 404 Not Found" || a.Type != "webhook.test" || a.Attempt != 0 {
			t.Errorf("Test = %+v, %v", a, err)
		}
		if list := h.web.got(); len(list) != 1 || signed(list[0], secret) != 1 || list[0].id() != a.Event {
			t.Errorf("requests: %+v", list)
		}
		if tried, err := m.Attempts(t.Context(), "acme", e.ID); err != nil || len(tried) != 1 || tried[0] != a {
			t.Errorf("Attempts = %+v, %v", tried, err)
		}
		if is, _ := m.Get(t.Context(), "acme", e.ID); is.Off != "we move it" || !is.Failing.IsZero() {
			t.Errorf("after the test: %+v", is)
		}
	})
}

// Publish of many events reads the Store seldom, and a change by another process counts
// after 5 seconds.
func TestManagerReads(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, st *counted) {
		t := h.t
		h.start()
		other := &webhook.Manager{Store: st, Sender: h.Sender, Secret: sealing}
		if _, _, err := other.Add(t.Context(), "t7", "https://shop.example", nil); err != nil {
			t.Fatal(err)
		}
		var list []store.Event
		for i := range 2000 {
			e := event(i, store.EventDelivered)
			e.Tenant = store.TenantID(fmt.Sprint("t", i%1000))
			list = append(list, e)
		}
		h.publish(list...)
		if n := st.lists.Load(); n > 1010 {
			t.Errorf("%d reads for the first events of 1,000 tenants", n)
		}
		for range 60 {
			wait(time.Second)
			h.publish(list...)
		}
		before := st.lists.Load()
		for range 60 {
			wait(time.Second)
			h.publish(list...)
		}
		if n := st.lists.Load() - before; n > 100 { // Run reads too
			t.Errorf("%d reads in a minute with events of 1,000 tenants, want about 12 and those of Run", n)
		}
		wait(time.Second)
		sent := len(h.web.got())
		if err := other.Delete(t.Context(), "t7", func() string { l, _ := m.List(t.Context(), "t7"); return l[0].ID }()); err != nil {
			t.Fatal(err)
		}
		wait(6 * time.Second)
		for i := range list {
			list[i].ID += "_late"
		}
		h.publish(list...)
		wait(time.Second)
		if n := len(h.web.got()); n != sent {
			t.Errorf("%d requests after the endpoint was deleted", n-sent)
		}
		st.fails.Store(true)
		wait(6 * time.Second)
		if err := h.Publish(t.Context(), list); err == nil {
			t.Error("Publish worked although the Store fails")
		}
	})
}
