package hook_test

import (
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/store"
)

// A request is known by its ID, its tenant and its event; mail is not.
func TestIsRequest(t *testing.T) {
	at := time.Date(2026, 11, 29, 2, 3, 4, 0, time.UTC)
	id := hook.ID("acme", "06ekx_1_0", at)
	if later := hook.ID("acme", "06ekx_1_0", at.Add(time.Second)); id >= later {
		t.Errorf("ID = %s, and %s a second later: they do not sort by time", id, later)
	}
	for _, c := range []struct {
		id, tenant, event string
		want              bool
	}{
		{id, "acme", "06ekx_1_0", true},
		{hook.ID("acme", "06ekx_1_0", time.Time{}), "acme", "06ekx_1_0", true},
		{id, "shop", "06ekx_1_0", false},
		{id, "acme", "", false},
		{id[:35] + "_", "acme", "06ekx_1_0", false},
		{relay.NewID(), "acme", "06ekx_1_0", false},
		{"", "", "", false},
	} {
		if got := hook.IsRequest(c.id, store.TenantID(c.tenant), c.event); got != c.want {
			t.Errorf("IsRequest(%q, %q, %q) = %v, want %v", c.id, c.tenant, c.event, got, c.want)
		}
	}
}
