package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/limits"
)

// This file is what customers may do and are told: yours.

// recipientsInMonth is what each customer may send in a month.
const recipientsInMonth = 10_000

// plan returns the limits of a user: those of its customer, and one an hour for itself, so
// that a stolen password does not use up the month. A month begins where the
// customer is.
func (p *product) plan(_ context.Context, id credentials.Identity) ([]limits.Limit, error) {
	month := limits.Limit{Max: recipientsInMonth}
	for _, a := range p.accounts {
		if a.Tenant == id.Tenant {
			month.Anchor = time.Date(2026, time.January, 1, 0, 0, 0, 0, a.zone)
		}
	}
	return []limits.Limit{month, {Scope: limits.PerUser, Interval: limits.Hourly, Max: 2000}}, nil
}

// allowUser refuses users of a customer that is suspended, users whose domain is not
// proved, and users whose limit is reached. A product keeps with each customer why it is
// suspended.
func (p *product) allowUser(ctx context.Context, r *relay.PolicyRequest) error {
	if string(r.Identity.Tenant) == *suspended {
		return &relay.ReplyError{Code: 550, Enhanced: "5.7.13", Text: "the account is suspended, ask billing@saas.example"}
	}
	if err := p.domains.AllowUser(ctx, r); err != nil {
		return err
	}
	return p.limits.AllowUser(ctx, r)
}

// tellUsed is called when most of a limit is used. A product sends an e-mail to the
// customer's people.
func tellUsed(_ context.Context, n limits.Notice) error {
	slog.Info("saas: a customer has used most of its plan", "customer", n.Identity.Tenant, "percent", n.Percent, "of", n.Usage.Max)
	return nil
}

// tellDomain is called when a domain is proved, or is not any more.
func tellDomain(_ context.Context, d domains.Domain) {
	slog.Info("saas: tell the customer", "customer", d.Tenant, "domain", d.Name, "state", d.State)
}
