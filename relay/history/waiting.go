package history

import (
	"context"

	"github.com/gatepost-mail/gatepost/store"
)

// explain says why recipients wait, if no event has said so: mail stays in the Spool
// while its tenant or its destination is suspended, and nothing is recorded of it. So
// the suspensions are asked for when activities are read.
func (h *History) explain(ctx context.Context, list []store.Activity) error {
	spool, ok := h.Store.(store.Spool)
	if !ok {
		return nil
	}
	var unexplained []*store.Activity
	for i := range list {
		if a := &list[i]; a.State == store.ActivityPending && a.Reason == "" && !a.Erased {
			unexplained = append(unexplained, a)
		}
	}
	if len(unexplained) == 0 {
		return nil
	}
	suspensions, err := spool.Suspensions(ctx)
	if err != nil {
		return err
	}
	tenants, destinations := make(map[store.TenantID]*store.Suspension), make(map[string]*store.Suspension)
	for i := range suspensions {
		if s := &suspensions[i]; s.Tenant != "" {
			tenants[s.Tenant] = s
		} else {
			destinations[s.Destination] = s
		}
	}
	for _, a := range unexplained {
		s := tenants[a.Tenant]
		if s == nil {
			s = destinations[h.destination(a.Recipient)]
		}
		if s != nil {
			a.Reason, a.NextAttempt = store.PublicReason(s.Reason), s.Until
		}
	}
	return nil
}

func (h *History) destination(recipient string) string {
	if h.Destination == nil {
		return ""
	}
	return h.Destination(recipient)
}
