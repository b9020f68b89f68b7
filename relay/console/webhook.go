package console

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// offByPerson is the reason of an endpoint that was switched off without one.
const offByPerson = "a person switched it off"

type webhookData struct {
	hook
	Requests []store.EndpointAttempt
	Tested   *store.EndpointAttempt // the test that the page is about; usually nil
}

// webhookOfPath returns the endpoint that the path names.
func (req *request) webhookOfPath() (webhook.Entry, error) {
	e, err := req.h.Webhooks.Get(req.ctx(), req.tenantID, req.pathValues["webhook"])
	return e, req.noWebhook(err)
}

// noWebhook replaces the error of an endpoint that does not exist.
func (req *request) noWebhook(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &problem{code: "no-webhook", status: http.StatusNotFound, actions: []link{{req.T("webhooks"), "webhooks"}}}
	}
	return err
}

func (req *request) webhook() (response, error) {
	e, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	data := webhookData{hook: hook{Entry: e}}
	if data.Requests, err = req.h.Webhooks.Attempts(req.ctx(), req.tenantID, e.ID); err != nil {
		return response{}, err
	}
	tested := req.r.URL.Query().Get("tested")
	for i, a := range data.Requests {
		if a.ID == tested {
			data.Tested = &data.Requests[i]
		}
	}
	return response{
		template: "webhook", title: data.Host(), data: data,
		document: webhookAndRequestsDocument{documentOfWebhook(e), documentsOf(data.Requests, documentOfAttempt)},
	}, nil
}

func (req *request) changeWebhookForm() (response, error) {
	e, err := req.webhookOfPath()
	return req.hookFormPage(http.StatusOK, hookForm{Entry: e, URL: shownURL(e.URL), Some: len(e.Types) > 0, Types: e.Types}), err
}

func (req *request) changeWebhook() (response, error) {
	e, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	f, ok := req.typed(hookForm{Entry: e})
	if !ok {
		return req.noKinds(f), nil
	}
	address, types := e.URL, f.Types
	if !req.asJSON || req.inputs.Has("url") {
		if address, ok = withPassword(f.URL, e.URL); !ok {
			return req.refusedFor(f, "url", req.T("reason.masked"))
		}
	}
	if req.asJSON && !req.inputs.Has("types") {
		types = e.Types
	}
	before := e
	e, err = req.h.Webhooks.Change(req.ctx(), req.tenantID, e.ID, address, types)
	if err != nil {
		return req.refused(f, req.noWebhook(err))
	}
	if e.URL != before.URL || !slices.Equal(e.Types, before.Types) {
		req.changed(Change{Action: ChangeWebhook, Object: e.ID, Detail: "change"})
	}
	return response{location: webhookPath(e.ID) + query("done", "webhook-changed"), document: documentOfWebhook(e)}, nil
}

func (req *request) switchWebhookOff() (response, error) {
	before, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	e, err := req.h.Webhooks.SwitchOff(req.ctx(), req.tenantID, before.ID, cmp.Or(req.inputs.Get("reason"), offByPerson))
	return req.switched(e, err, "webhook-off", Change{Action: ChangeWebhook, Detail: "off"}, e.Off != before.Off)
}

func (req *request) switchWebhookOn() (response, error) {
	before, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	e, err := req.h.Webhooks.SwitchOn(req.ctx(), req.tenantID, before.ID)
	return req.switched(e, err, "webhook-on", Change{Action: ChangeWebhook, Detail: "on"}, before.Off != "")
}

// switched returns the response after a request about an endpoint without a form. It
// tells c if something was changed.
func (req *request) switched(e webhook.Entry, err error, done string, c Change, changed bool) (response, error) {
	var invalid *webhook.InvalidError
	if errors.As(err, &invalid) {
		err = &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: invalid.Field, args: []string{invalid.Reason}}
	}
	if err != nil {
		return response{}, req.noWebhook(err)
	}
	if changed {
		c.Object = e.ID
		req.changed(c)
	}
	return response{location: webhookPath(e.ID) + query("done", done), document: documentOfWebhook(e)}, nil
}

// testWebhook leads to the page of the endpoint, which shows the result.
func (req *request) testWebhook() (response, error) {
	id := req.pathValues["webhook"]
	a, err := req.h.Webhooks.Test(req.ctx(), req.tenantID, id)
	if err == nil {
		req.changed(Change{Action: TestWebhook, Object: id})
	}
	return response{location: webhookPath(id) + query("tested", a.ID), document: documentOfAttempt(a)}, req.noWebhook(err)
}

func (req *request) rotateWebhookForm() (response, error) {
	e, err := req.webhookOfPath()
	return response{template: "webhook-rotate", title: req.T("webhook.rotate.title"), data: hook{Entry: e}}, err
}

// RotateLead says how long the old secret of an endpoint signs too.
func (req *request) RotateLead() string {
	overlap := cmp.Or(req.h.Webhooks.Overlap, 24*time.Hour) // as the Manager has it
	if overlap < 0 {
		return req.T("webhook.rotate.lead.at-once")
	}
	return req.T("webhook.rotate.lead", req.Length(overlap))
}

func (req *request) rotateWebhook() (response, error) {
	e, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	set := e.SecretSet
	if text := req.inputs.Get("secret_set"); text != "" || !req.asJSON {
		if set, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return response{}, errMalformed
		}
	}
	e, secret, err := req.h.Webhooks.RotateOnce(req.ctx(), req.tenantID, e.ID, set)
	if errors.Is(err, store.ErrConflict) {
		id := req.pathValues["webhook"]
		return response{}, &problem{code: "rotated-before", status: http.StatusConflict, actions: []link{
			{req.T("webhook.to"), webhookPath(id)},
			{req.T("webhook.rotate"), webhookPath(id, "rotate")},
		}}
	}
	if err != nil {
		return response{}, req.noWebhook(err)
	}
	req.changed(Change{Action: RotateWebhook, Object: e.ID, Detail: "rotate"})
	lead := "webhook.rotated"
	if e.OldSecretUntil.IsZero() {
		lead = "webhook.rotated.at-once"
	}
	return req.webhookSecret(http.StatusOK, lead, e, secret), nil
}

func (req *request) endOldSecret() (response, error) {
	before, err := req.webhookOfPath()
	if err != nil {
		return response{}, err
	}
	e, err := req.h.Webhooks.EndOverlap(req.ctx(), req.tenantID, before.ID)
	return req.switched(e, err, "old-secret-ended", Change{Action: RotateWebhook, Detail: "end-old-secret"}, !before.OldSecretUntil.IsZero())
}

func (req *request) deleteWebhookForm() (response, error) {
	e, err := req.webhookOfPath()
	return response{template: "webhook-delete", title: req.T("webhook.delete.title", hook{Entry: e}.Host()), data: hook{Entry: e}}, err
}

func (req *request) deleteWebhook() (response, error) {
	id := req.pathValues["webhook"]
	if err := req.h.Webhooks.Delete(req.ctx(), req.tenantID, id); err != nil {
		return response{}, req.noWebhook(err)
	}
	req.changed(Change{Action: DeleteWebhook, Object: id})
	return response{location: "webhooks" + query("done", "webhook-deleted")}, nil
}

// OffReason returns why an endpoint is switched off, in the visitor's language if it is
// one of the known reasons.
func (req *request) OffReason(e webhook.Entry) string {
	switch e.Off {
	case webhook.OffGone:
		return req.T("webhook.off.gone")
	case webhook.OffFailing:
		return req.T("webhook.off.failing")
	case offByPerson:
		return req.T("webhook.off.person")
	}
	return req.T("webhook.off.because", e.Off)
}

// Result returns in a few words what became of a request.
func (req *request) Result(a store.EndpointAttempt) string {
	took := strconv.FormatInt(max(a.Took.Milliseconds(), 1), 10)
	switch {
	case a.Status == 0:
		return req.T("request.no-answer")
	case a.Reason == "":
		return req.T("request.taken", strconv.Itoa(a.Status), took)
	}
	return req.T("request.refused", strconv.Itoa(a.Status)+" "+http.StatusText(a.Status), took)
}

// WebhookAdvice returns what to do about a request that failed.
func (req *request) WebhookAdvice(a store.EndpointAttempt) string {
	kind := "other"
	switch s := a.Status; {
	case s == 0:
		kind = "unreachable"
	case s/100 == 3:
		kind = "redirect"
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		kind = "denied"
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		kind = "missing"
	case s == http.StatusGone:
		kind = "gone"
	case s == http.StatusTooManyRequests:
		kind = "busy"
	case s/100 == 5:
		kind = "broken"
	}
	return req.T("request.advice." + kind)
}

type attemptDocument struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Took    int64     `json:"took_ms"`
	Event   string    `json:"event"`
	Type    string    `json:"type"`
	Attempt *int      `json:"attempt"`
	Status  *int      `json:"status"`
	Reason  *string   `json:"reason"`
}

type webhookAndRequestsDocument struct {
	Webhook  webhookDocument   `json:"webhook"`
	Requests []attemptDocument `json:"requests"`
}

func documentOfAttempt(a store.EndpointAttempt) attemptDocument {
	return attemptDocument{a.ID, a.At, a.Took.Milliseconds(), a.Event, a.Type, nullable(a.Attempt), nullable(a.Status), nullable(a.Reason)}
}
