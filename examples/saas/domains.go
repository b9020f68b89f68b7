package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// newDomains returns what proves the customers' domains. Each domain has a key of its
// own. With a Zone of yours, keys can be replaced without the customers: see
// docs/domains.md. Set Secret to a secret of yours, which seals the keys in the database.
func newDomains(st *sqlstore.Store) *domains.Manager {
	return &domains.Manager{
		Store: st, Domains: st, AllowUnverified: *unproved,
		OnChange: func(_ context.Context, d domains.Domain) { // yours: send a mail to the customer
			slog.Info("saas: tell the customer", "customer", d.Tenant, "domain", d.Name, "state", d.State)
		},
	}
}

// allowUser refuses users of a customer that is suspended, users whose domain is not
// proved, and those whose limit is reached. A product keeps with each customer why it is
// suspended.
func (p *product) allowUser(ctx context.Context, r *relay.PolicyRequest) error {
	if string(r.Identity.Tenant) == *suspended {
		return &relay.ReplyError{Code: 550, Enhanced: "5.7.13", Text: "the account is suspended, ask billing@saas.example"}
	}
	if err := p.dom.AllowUser(ctx, r); err != nil {
		return err
	}
	return p.limits.AllowUser(ctx, r)
}

// domainsPage lists the customer's domains with their states.
func (p *product) domainsPage(r *http.Request, s *session) (any, error) {
	list, found, err := p.creds.Tenant(s.ID).Domains(r.Context(), store.Query{After: r.URL.Query().Get("after"), Limit: 50})
	if err != nil {
		return nil, err
	}
	var shown []domains.Domain
	for _, d := range list {
		with, err := p.dom.Domain(r.Context(), s.ID, d.Name)
		if err != nil {
			return nil, err
		}
		shown = append(shown, with)
	}
	return map[string]any{"List": shown, "Next": found.Next}, nil
}

// domainPage shows the records of a domain.
func (p *product) domainPage(r *http.Request, s *session) (any, error) {
	d, err := p.dom.Domain(r.Context(), s.ID, r.PathValue("name"))
	return map[string]any{"Domain": d, "Sends": d.Sends(), "Anyway": p.dom.AllowUnverified}, err
}

// checkDomain looks at the DNS now.
func (p *product) checkDomain(r *http.Request, s *session) (notice, error) {
	d, err := p.dom.Check(r.Context(), s.ID, strings.TrimSpace(r.PostFormValue("name")))
	if err != nil {
		return notice{}, err
	}
	return notice{Text: d.Name + " is " + string(d.State) + ". A new record can take some hours to be seen."}, nil
}
