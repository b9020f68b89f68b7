package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// The actions on webhooks.
const (
	ViewWebhooks  Action = "view-webhooks" // endpoints and the last requests, without secrets
	AddWebhook    Action = "add-webhook"
	ChangeWebhook Action = "change-webhook" // the address, the kinds of events, on and off
	RotateWebhook Action = "rotate-webhook" // a new secret
	TestWebhook   Action = "test-webhook"
	DeleteWebhook Action = "delete-webhook"
)

func webhookRoutes() []route {
	const one = "/webhooks/{webhook}"
	settings := []input{{name: "url"}, {"types", texts}}
	return []route{
		{path: "/webhooks", part: Webhooks, action: ViewWebhooks, first: true, get: (*request).webhooks},
		{path: "/webhooks/add", part: Webhooks, action: AddWebhook, get: (*request).addWebhookForm, post: (*request).addWebhook, form: true, inputs: settings},
		{path: one, part: Webhooks, action: ViewWebhooks, get: (*request).webhook},
		{path: one + "/change", part: Webhooks, action: ChangeWebhook, get: (*request).changeWebhookForm, post: (*request).changeWebhook, form: true, inputs: settings},
		{path: one + "/off", part: Webhooks, action: ChangeWebhook, post: (*request).switchWebhookOff, inputs: []input{{name: "reason"}}},
		{path: one + "/on", part: Webhooks, action: ChangeWebhook, post: (*request).switchWebhookOn},
		{path: one + "/test", part: Webhooks, action: TestWebhook, post: (*request).testWebhook},
		{path: one + "/rotate", part: Webhooks, action: RotateWebhook, get: (*request).rotateWebhookForm, post: (*request).rotateWebhook, form: true, inputs: []input{{name: "secret_set"}}},
		{path: one + "/end-old-secret", part: Webhooks, action: RotateWebhook, post: (*request).endOldSecret},
		{path: one + "/delete", part: Webhooks, action: DeleteWebhook, get: (*request).deleteWebhookForm, post: (*request).deleteWebhook, form: true},
	}
}

// A hook is an endpoint as pages show it.
type hook struct {
	webhook.Entry
	Last *store.EndpointAttempt // the last request; nil if there was none
}

// Shown returns the address without a password.
func (h hook) Shown() string { return shownURL(h.URL) }

// Host returns the name of the server.
func (h hook) Host() string {
	if u, err := url.Parse(h.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return h.ID
}

// mask is what [url.URL.Redacted] shows instead of a password.
const mask = "xxxxx"

// shownURL returns a URL with the mask instead of its password.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	return u.Redacted()
}

// withPassword returns a URL that was typed, with the present password if it has the
// mask that pages show instead. ok is false if the mask is for another user or another
// server, which must not get the password.
func withPassword(typed, present string) (address string, ok bool) {
	u, err := url.Parse(typed)
	now, unread := url.Parse(present)
	if err != nil || unread != nil {
		return typed, true
	}
	sent, _ := u.User.Password()
	if _, has := now.User.Password(); !has || sent != mask {
		return typed, true
	}
	if u.User.Username() != now.User.Username() || u.Scheme != now.Scheme || u.Host != now.Host {
		return "", false
	}
	u.User = now.User
	return u.String(), true
}

type webhooksData struct {
	List  []hook
	Limit int
	Full  bool // the tenant may add no other
}

func (req *request) webhooks() (response, error) {
	entries, err := req.h.Webhooks.List(req.ctx(), req.tenantID)
	if err != nil {
		return response{}, err
	}
	data := webhooksData{Limit: req.h.Webhooks.Limit(), Full: len(entries) >= req.h.Webhooks.Limit()}
	for _, e := range entries {
		one := hook{Entry: e}
		if !req.asJSON {
			tried, err := req.h.Webhooks.Attempts(req.ctx(), req.tenantID, e.ID)
			if err != nil {
				return response{}, err
			}
			if len(tried) > 0 {
				one.Last = &tried[0]
			}
		}
		data.List = append(data.List, one)
	}
	return response{
		template: "webhooks", title: req.T("webhooks"), data: data,
		document: webhooksDocument{documentsOf(entries, documentOfWebhook), data.Limit},
	}, nil
}

// HookState returns the state of an endpoint, for the template "pill".
func (req *request) HookState(e webhook.Entry) pill {
	switch {
	case e.Off != "":
		return pill{Kind: "bad", Word: req.T("webhook.state.off")}
	case !e.Failing.IsZero():
		return pill{Kind: "bad", Word: req.T("webhook.state.failing")}
	}
	return pill{Kind: "good", Word: req.T("webhook.state.on")}
}

// Kinds returns which events an endpoint gets, in a few words.
func (req *request) Kinds(e webhook.Entry) string {
	switch len(e.Types) {
	case 0:
		return req.T("webhook.kinds.all")
	case 1:
		return req.EventKind(e.Types[0])
	}
	return req.T("webhook.kinds.some", strconv.Itoa(len(e.Types)))
}

// EventKind returns the name of a type of events. One of the product's own stays as it
// is.
func (req *request) EventKind(kind string) string {
	if kind == "webhook.test" || slices.Contains(eventKinds, kind) {
		return req.T("event.kind." + strings.ReplaceAll(kind, ".", "-"))
	}
	return kind
}

// eventKinds are the types of events that the form offers.
var eventKinds = []string{
	"message.accepted", "message.delivered", "message.deferred", "message.pending", "message.soft_bounced", "message.hard_bounced",
	"message.canceled", "message.rejected", "login.refused",
}

// A kindBox is a check box for a type of events.
type kindBox struct {
	Type, Name, Hint string
	Chosen           bool
}

// A hookForm is the form for a new endpoint or for a change of one.
type hookForm struct {
	Entry     webhook.Entry // the zero Entry for a new one
	Key       string        // identifies the form; see webhook.Manager.AddOnce
	URL       string
	Some      bool // only some types
	Types     []string
	Error     string // about URL
	KindError string
}

// Boxes returns the check boxes of the form. A type of the product's own that the
// endpoint has is one of them.
func (f hookForm) Boxes(req view) (boxes []kindBox) {
	for _, kind := range eventKinds {
		boxes = append(boxes, kindBox{kind, req.EventKind(kind), req.T("event.hint." + strings.ReplaceAll(kind, ".", "-")), slices.Contains(f.Types, kind)})
	}
	for _, kind := range f.Types {
		if !slices.Contains(eventKinds, kind) {
			boxes = append(boxes, kindBox{Type: kind, Name: kind, Chosen: true})
		}
	}
	return boxes
}

func (req *request) addWebhookForm() (response, error) {
	return req.hookFormPage(http.StatusOK, hookForm{Key: rand.Text()}), nil
}

func (req *request) hookFormPage(status int, f hookForm) response {
	title := req.T("webhook.add.title")
	if f.Entry.ID != "" {
		title = req.T("webhook.change.title")
	}
	return response{status: status, template: "webhook-form", title: title, data: f}
}

// typed returns what a form or a JSON object has for the settings of an endpoint.
// ok is false if a form says "only these events" and names none.
func (req *request) typed(f hookForm) (hookForm, bool) {
	f.URL, f.Types = strings.TrimSpace(req.inputs.Get("url")), req.inputs["types"]
	if f.Key = req.inputs.Get("key"); req.asJSON {
		f.Key = req.r.Header.Get("Idempotency-Key")
		return f, true
	}
	if f.Some = req.inputs.Get("which") == "some"; !f.Some {
		f.Types = nil
	}
	return f, !f.Some || len(f.Types) > 0
}

// refused returns the form again with why it was refused, or the problem for JSON.
func (req *request) refused(f hookForm, err error) (response, error) {
	var invalid *webhook.InvalidError
	if !errors.As(err, &invalid) {
		return response{}, err
	}
	return req.refusedFor(f, invalid.Field, req.hookReason(invalid))
}

// hookReason returns why the Manager refused a value. Of the reasons that have no text
// other languages show what the field needs, and the reason in English.
func (req *request) hookReason(err *webhook.InvalidError) string {
	switch {
	case strings.HasPrefix(err.Reason, "the endpoint's URL "): // is none, or not one of HTTPS
		return req.T("reason.url")
	case req.lang.Code == defaultLanguage:
		return err.Reason
	}
	return req.T("reason."+err.Field) + " (" + err.Reason + ")"
}

// refusedFor is refused for a field with a reason in the visitor's language.
func (req *request) refusedFor(f hookForm, field, reason string) (response, error) {
	p := &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: field, args: []string{reason}}
	text := req.T("problem.invalid.detail", p.args...)
	switch {
	case req.asJSON:
		return response{}, p
	case field == "types":
		f.KindError = text
	default:
		f.Error = text
	}
	return req.hookFormPage(p.status, f), nil
}

func (req *request) addWebhook() (response, error) {
	f, ok := req.typed(hookForm{})
	if !ok {
		return req.noKinds(f), nil
	}
	id := ""
	if f.Key != "" {
		id = webhookID(req.tenantID, f.Key)
	}
	e, secret, err := req.h.Webhooks.AddOnce(req.ctx(), req.tenantID, id, f.URL, f.Types)
	switch {
	case errors.Is(err, store.ErrTaken):
		return response{}, &problem{code: "webhook-added-before", status: http.StatusConflict, actions: []link{
			{req.T("webhook.to"), webhookPath(id)},
			{req.T("webhook.rotate"), webhookPath(id, "rotate")},
		}}
	case errors.Is(err, webhook.ErrLimit):
		return response{}, &problem{code: "webhook-limit", status: http.StatusConflict, args: []string{strconv.Itoa(req.h.Webhooks.Limit())},
			actions: []link{{req.T("webhooks"), "webhooks"}}}
	case err != nil:
		return req.refused(f, err)
	}
	req.changed(Change{Action: AddWebhook, Object: e.ID})
	return req.webhookSecret(http.StatusCreated, "webhook.added", e, secret), nil
}

// noKinds returns the form again, which says "only these events" and names none.
func (req *request) noKinds(f hookForm) response {
	f.KindError = req.T("webhook.kinds.none")
	return req.hookFormPage(http.StatusUnprocessableEntity, f)
}

// webhookID returns the ID of the endpoint that a request with a key adds.
func webhookID(tenant store.TenantID, key string) string {
	sum := sha256.Sum256([]byte(string(tenant) + "\x00" + key))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:16]
}

type secretData struct {
	hook
	Lead   string
	Secret string
}

// webhookSecret returns the page that shows a secret, once.
func (req *request) webhookSecret(status int, lead string, e webhook.Entry, secret credentials.Password) response {
	data := secretData{hook: hook{Entry: e}, Secret: secret.Reveal()}
	data.Lead = req.T(lead, data.Host())
	return response{
		status: status, template: "webhook-secret", title: req.T("webhook.secret.title"), data: data,
		document: webhookAndSecretDocument{documentOfWebhook(e), secret.Reveal()},
	}
}

// Webhook returns the address of an endpoint's page or of one below it.
func (req *request) Webhook(id string, more ...string) string {
	return req.Root() + webhookPath(id, more...)
}

func webhookPath(id string, more ...string) string {
	return strings.Join(append([]string{"webhooks", url.PathEscape(id)}, more...), "/")
}

type webhookDocument struct {
	ID             string     `json:"id"`
	URL            string     `json:"url"`
	Types          []string   `json:"types"`
	Created        time.Time  `json:"created"`
	State          string     `json:"state"` // "on", "failing" or "off"
	FailingSince   *time.Time `json:"failing_since"`
	OffReason      *string    `json:"off_reason"`
	OffSince       *time.Time `json:"off_since"`
	SecretSet      time.Time  `json:"secret_set"`
	OldSecretUntil *time.Time `json:"old_secret_until"`
}

type webhooksDocument struct {
	Webhooks []webhookDocument `json:"webhooks"`
	Limit    int               `json:"limit"`
}

// Only webhookAndSecretDocument has a secret.
type webhookAndSecretDocument struct {
	Webhook webhookDocument `json:"webhook"`
	Secret  string          `json:"secret"`
}

func documentOfWebhook(e webhook.Entry) webhookDocument {
	state := "on"
	if e.Off != "" {
		state = "off"
	} else if !e.Failing.IsZero() {
		state = "failing"
	}
	return webhookDocument{
		e.ID, shownURL(e.URL), append([]string{}, e.Types...), e.Created, state,
		nullable(e.Failing), nullable(e.Off), nullable(e.OffSince), e.SecretSet, nullable(e.OldSecretUntil),
	}
}
