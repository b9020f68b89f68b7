package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var sealing = credentials.NewPassword("0123456789abcdef0123456789abcdef")

// A counted store counts the calls that list endpoints.
type counted struct {
	*memory.Store
	lists atomic.Int64
	fails atomic.Bool
}

func (c *counted) ListEndpoints(ctx context.Context, tenants []store.TenantID) ([]store.Endpoint, error) {
	c.lists.Add(1)
	if c.fails.Load() {
		return nil, errors.New("the store fails")
	}
	return c.Store.ListEndpoints(ctx, tenants)
}

// managed runs a test in a bubble with a Manager that is wired to a Sender.
func managed(t *testing.T, test func(h *hooks, m *webhook.Manager, st *counted)) {
	bubble(t, nil, func(h *hooks) {
		st := &counted{Store: new(memory.Store)}
		m := &webhook.Manager{Store: st, Sender: h.Sender, Secret: sealing, Logger: quiet}
		h.Sender.Endpoints, h.OnGone, h.OnAttempt = m.Endpoints, m.OnGone, m.OnAttempt
		ctx, cancel := context.WithCancel(h.t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		test(h, m, st)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Manager.Run = %v", err)
		}
	})
}

// add adds an endpoint, which has to work.
func add(t *testing.T, m *webhook.Manager, url string, types ...string) (webhook.Entry, string) {
	t.Helper()
	e, secret, err := m.Add(t.Context(), "acme", url, types)
	if err != nil {
		t.Fatal(err)
	}
	return e, secret.Reveal()
}

// signed returns how many of the secrets have signed a request.
func signed(g got, secrets ...string) (n int) {
	for _, secret := range secrets {
		if verify(g.header, []byte(g.body), secret, g.at) == nil {
			n++
		}
	}
	return n
}

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

// What a tenant may not do.
func TestManagerRefuses(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		var invalid *webhook.InvalidError
		for _, url := range []string{"", "shop.example", "http://shop.example", "https://127.0.0.1/", "https://" + strings.Repeat("a", 3000) + ".example"} {
			if _, _, err := m.Add(t.Context(), "acme", url, nil); !errors.As(err, &invalid) || invalid.Field != "url" {
				t.Errorf("Add(%.50q): got error %v", url, err)
			}
		}
		for _, kind := range []string{"*", "a b", "message.", "", strings.Repeat("a", 1001)} {
			if _, _, err := m.Add(t.Context(), "acme", "https://shop.example", []string{kind}); !errors.As(err, &invalid) || invalid.Field != "types" {
				t.Errorf("Add with the type %.50q: got error %v", kind, err)
			}
		}
		if _, _, err := m.AddOnce(t.Context(), "acme", "a b", "https://shop.example", nil); !errors.As(err, &invalid) || invalid.Field != "id" {
			t.Errorf("AddOnce with a bad ID: got error %v", err)
		}
		if _, _, err := m.AddOnce(t.Context(), "acme", "a", "https://shop.example", nil); err != nil {
			t.Error(err)
		}
		if _, _, err := m.AddOnce(t.Context(), "acme", "a", "https://shop.example", nil); !errors.Is(err, store.ErrTaken) {
			t.Errorf("AddOnce again: got error %v", err)
		}
		if _, err := m.SwitchOff(t.Context(), "acme", "a", " \n"); !errors.As(err, &invalid) || invalid.Field != "reason" {
			t.Errorf("SwitchOff without a reason: got error %v", err)
		}
		for name, err := range map[string]error{
			"Get":       second(m.Get(t.Context(), "rival", "a")),
			"Change":    second(m.Change(t.Context(), "rival", "a", "https://shop.example", nil)),
			"SwitchOff": second(m.SwitchOff(t.Context(), "rival", "a", "why")),
			"SwitchOn":  second(m.SwitchOn(t.Context(), "rival", "a")),
			"Delete":    m.Delete(t.Context(), "rival", "a"),
			"Test":      second(m.Test(t.Context(), "rival", "a")),
		} {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s of another tenant's endpoint: got error %v", name, err)
			}
		}
	})
}

// An empty tenant is the mistake of a caller, and is refused. It has no endpoints.
func TestManagerNoTenant(t *testing.T) {
	managed(t, func(h *hooks, m *webhook.Manager, _ *counted) {
		t := h.t
		_, _, added := m.Add(t.Context(), "", "https://shop.example", nil)
		_, _, rotated := m.Rotate(t.Context(), "", "a")
		for name, err := range map[string]error{
			"Add": added, "Rotate": rotated,
			"List":       second(m.List(t.Context(), "")),
			"Get":        second(m.Get(t.Context(), "", "a")),
			"Change":     second(m.Change(t.Context(), "", "a", "https://shop.example", nil)),
			"SwitchOff":  second(m.SwitchOff(t.Context(), "", "a", "why")),
			"SwitchOn":   second(m.SwitchOn(t.Context(), "", "a")),
			"EndOverlap": second(m.EndOverlap(t.Context(), "", "a")),
			"Delete":     m.Delete(t.Context(), "", "a"),
			"Test":       second(m.Test(t.Context(), "", "a")),
			"Attempts":   second(m.Attempts(t.Context(), "", "a")),
		} {
			if err == nil || !strings.HasSuffix(err.Error(), "no tenant: the ID is empty") {
				t.Errorf("%s: got error %v", name, err)
			}
		}
		if list, err := m.Endpoints(t.Context(), ""); err != nil || len(list) != 0 { // Publish would fail for all
			t.Errorf("Endpoints: got %v, %v, want none", list, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A tenant never has more endpoints than it may have, however many calls come at once.
func TestManagerLimit(t *testing.T) {
	st := new(memory.Store)
	var wg sync.WaitGroup
	var added, refused atomic.Int64
	for range 40 {
		m := &webhook.Manager{Store: st, Sender: new(webhook.Sender), Max: 7}
		wg.Go(func() {
			switch _, _, err := m.Add(t.Context(), "acme", "https://shop.example", nil); {
			case err == nil:
				added.Add(1)
			case errors.Is(err, webhook.ErrLimit):
				refused.Add(1)
			default:
				t.Errorf("Add: %v", err)
			}
		})
	}
	wg.Wait()
	if added.Load() != 7 || refused.Load() != 33 {
		t.Errorf("%d added and %d refused, want 7 and 33", added.Load(), refused.Load())
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

func TestManagerFields(t *testing.T) {
	for want, m := range map[string]*webhook.Manager{
		"webhook: Manager.Store is required":                        {Sender: new(webhook.Sender)},
		"webhook: Manager.Sender is required":                       {Store: new(memory.Store)},
		"webhook: Manager.Secret has 3 bytes, it needs at least 32": {Store: new(memory.Store), Sender: new(webhook.Sender), Secret: credentials.NewPassword("abc")},
	} {
		if _, err := m.Endpoints(t.Context(), "acme"); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
