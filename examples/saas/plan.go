package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/limits"
)

// This file is the plans of the product: yours.

// recipientsInMonth is what each customer may send in a month.
const recipientsInMonth = 10_000

// plan returns the limits of a user: those of its customer, and one an hour for itself, so
// that a stolen password does not use up the month. A month begins where the
// customer is.
func (p *product) plan(_ context.Context, id credentials.Identity) ([]limits.Limit, error) {
	month := limits.Limit{Max: recipientsInMonth}
	for _, c := range p.customers {
		if c.ID == id.Tenant {
			month.Anchor = time.Date(2026, time.January, 1, 0, 0, 0, 0, c.zone)
		}
	}
	return []limits.Limit{month, {Scope: limits.PerUser, Interval: limits.Hourly, Max: 2000}}, nil
}

// tell is for notices. A product sends an e-mail to the customer's people.
func tell(_ context.Context, n limits.Notice) error {
	slog.Info("saas: a customer has used most of its plan", "customer", n.Identity.Tenant, "percent", n.Percent, "of", n.Usage.Max)
	return nil
}

// A usage is how much of a month is used, for the bar on each page.
type usage struct {
	limits.Usage
	Class string // of the bar
}

// usage returns what the customer of a session has used; nil if that is not known.
func (p *product) usage(ctx context.Context, s *session) *usage {
	if s == nil || p.limits == nil {
		return nil
	}
	list, err := p.limits.Usage(ctx, credentials.Identity{Tenant: s.ID})
	if err != nil || len(list) == 0 {
		slog.Error("saas: the usage is not known", "error", err)
		return nil
	}
	u := &usage{list[0], "some"} // the first limit is that of the month
	switch percent := u.Percent(); {
	case percent >= 100:
		u.Class = "all"
	case percent >= 80:
		u.Class = "most"
	}
	return u
}
