package history

import (
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Each accepted recipient is charged once to each grant, and nothing else is.
func TestCharges(t *testing.T) {
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	month := store.Grant{ID: "g1", Scope: "month/tenant/acme", Period: begin}
	hour := store.Grant{ID: "g2", Scope: "hour/user/acme/u1", Period: begin}
	event := func(kind store.EventKind, mail string, n int, grants ...store.Grant) store.Event {
		return store.Event{Kind: kind, Tenant: "acme", Mail: mail, N: n, Time: begin, Received: begin, Grants: store.FormatGrants(grants)}
	}
	damaged := event(store.EventAccepted, "m4", 0)
	damaged.Grants = "what"
	events := []store.Event{
		event(store.EventAccepted, "m1", 0, month, hour), event(store.EventAccepted, "m1", 1, month, hour), event(store.EventDelivered, "m1", 0, month),
		event(store.EventRefused, "m2", 0, month), event(store.EventAccepted, "m3", 0, month), event(store.EventAccepted, "m5", 0), damaged,
	}
	want := []store.Charge{{Grant: hour, N: 2}, {Grant: month, N: 3}}
	if got := derive(sorted([]store.Record{{Events: events}}), nil).Charges; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
