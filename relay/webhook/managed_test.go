package webhook_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

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
