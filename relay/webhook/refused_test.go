package webhook_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

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
		for _, kind := range []string{"*", "a b", "message.", "message.deliverd", "login.ok", "", strings.Repeat("a", 1001)} {
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
			if !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), `no endpoint "a"`) {
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
