package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// newHooks returns what sends events to the customers' servers, and what keeps their
// addresses. Set Secret to a secret of yours, which seals them in the database.
func newHooks(st, requests *sqlstore.Store) (*webhook.Sender, *webhook.Manager) {
	s := &webhook.Sender{Queue: queue.Queue{Spool: requests, Node: "saas"}, AllowHTTP: *localHooks}
	if *localHooks {
		s.AllowAddr = func(a netip.Addr) bool { return a.IsLoopback() || mx.IsPublic(a) }
	}
	m := &webhook.Manager{Store: st, Sender: s, Max: 1} // this page has one for each customer
	s.Endpoints, s.OnGone, s.OnAttempt = m.Endpoints, m.OnGone, m.OnAttempt
	return s, m
}

// webhook shows the customer's endpoint and the last requests to it.
func (p *product) webhook(r *http.Request, s *session) (any, error) {
	list, err := p.endpoints.List(r.Context(), s.ID)
	if err != nil || len(list) == 0 {
		return map[string]any{"List": list}, err
	}
	tried, err := p.endpoints.Attempts(r.Context(), s.ID, list[0].ID)
	return map[string]any{"List": list, "Tried": tried[:min(len(tried), 10)]}, err
}

// withEndpoint calls do with the ID of the customer's endpoint.
func (p *product) withEndpoint(r *http.Request, s *session, do func(id string) (notice, error)) (notice, error) {
	list, err := p.endpoints.List(r.Context(), s.ID)
	if err != nil || len(list) == 0 {
		return notice{Text: "There is no webhook."}, err
	}
	return do(list[0].ID)
}

func (p *product) setWebhook(r *http.Request, s *session) (notice, error) {
	url := r.PostFormValue("url")
	list, err := p.endpoints.List(r.Context(), s.ID)
	if err != nil {
		return notice{}, err
	}
	n := notice{Text: "Saved."}
	if len(list) > 0 {
		_, err = p.endpoints.Change(r.Context(), s.ID, list[0].ID, url, nil)
	} else if _, secret, addErr := p.endpoints.Add(r.Context(), s.ID, url, nil); addErr == nil {
		n = notice{Text: "Saved. Requests are signed with this secret. It is shown this once:", Secret: secret.Reveal()}
	} else {
		err = addErr
	}
	var invalid *webhook.InvalidError
	if errors.As(err, &invalid) {
		return notice{Text: "Not saved: " + invalid.Reason + "."}, nil
	}
	return n, err
}

func (p *product) rotateSecret(r *http.Request, s *session) (notice, error) {
	return p.withEndpoint(r, s, func(id string) (notice, error) {
		_, secret, err := p.endpoints.Rotate(r.Context(), s.ID, id)
		return notice{Text: "Requests are signed with this secret too, and after a day with this one only. It is shown this once:", Secret: secret.Reveal()}, err
	})
}

func (p *product) testWebhook(r *http.Request, s *session) (notice, error) {
	return p.withEndpoint(r, s, func(id string) (notice, error) {
		a, err := p.endpoints.Test(r.Context(), s.ID, id)
		if err != nil {
			return notice{}, err
		}
		if a.Reason != "" {
			return notice{Text: "The test failed: " + strings.TrimPrefix(a.Reason, "webhook: ")}, nil
		}
		return notice{Text: fmt.Sprintf("The test worked: your server answered %d after %v.", a.Status, a.Took.Round(time.Millisecond))}, nil
	})
}

func (p *product) removeWebhook(r *http.Request, s *session) (notice, error) {
	return p.withEndpoint(r, s, func(id string) (notice, error) {
		return notice{Text: "The webhook is removed."}, p.endpoints.Delete(r.Context(), s.ID, id)
	})
}
