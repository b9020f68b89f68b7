package console_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A receiver is a server that gets webhooks, and answers with a status.
type receiver struct {
	*httptest.Server
	status atomic.Int64
}

// withWebhooks gives the console webhooks: acme has one, with the ID "w".
func (f *fixture) withWebhooks() *receiver {
	f.Helper()
	to := new(receiver)
	to.status.Store(204)
	to.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(to.status.Load())) }))
	f.Cleanup(to.Close)
	f.console.Webhooks = &webhook.Manager{
		Store: f.store.(*memory.Store), Secret: credentials.NewPassword(strings.Repeat("s", 32)), Max: 3, Logger: f.console.Logger,
		Sender: &webhook.Sender{AllowHTTP: true, AllowAddr: func(netip.Addr) bool { return true }},
	}
	if _, _, err := f.console.Webhooks.AddOnce(f.Context(), "acme", "w", to.URL+"/mail", nil); err != nil {
		f.Fatal(err)
	}
	return to
}

var webhookCalls = []apiCall{
	{"GET", "/webhooks", "", 200, nil},
	{"POST", "/webhooks/add", `{"url":"https://crm.example/","types":["message.*"]}`, 201, []as{header("Idempotency-Key", "k")}},
	{"POST", "/webhooks/add", `{"url":"https://crm.example/","types":["message.*"]}`, 409, []as{header("Idempotency-Key", "k")}},
	{"POST", "/webhooks/add", `{"url":"crm.example"}`, 422, []as{french}},
	{"POST", "/webhooks/add", `{"url":"https://crm.example/","types":["a b"]}`, 422, nil},
	{"POST", "/webhooks/add", `{"url":"https://crm.example/","types":"a"}`, 400, nil},
	{"POST", "/webhooks/add", `{"url":"https://third.example/"}`, 201, nil},
	{"POST", "/webhooks/add", `{"url":"https://fourth.example/"}`, 409, nil},
	{"POST", "/webhooks/{webhook}/test", `{}`, 200, nil},
	{"GET", "/webhooks/{webhook}", "", 200, nil},
	{"GET", "/webhooks/{webhook}", "", 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/test", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/change", `{"types":["login.refused"]}`, 200, nil},
	{"POST", "/webhooks/{webhook}/change", `{"url":"ftp://x.example"}`, 422, nil},
	{"POST", "/webhooks/{webhook}/change", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/rotate", `{"secret_set":"2026-01-01T00:00:00Z"}`, 409, nil},
	{"POST", "/webhooks/{webhook}/rotate", `{"secret_set":"yesterday"}`, 400, nil},
	{"POST", "/webhooks/{webhook}/rotate", `{}`, 200, nil},
	{"POST", "/webhooks/{webhook}/rotate", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/end-old-secret", `{}`, 200, nil},
	{"POST", "/webhooks/{webhook}/end-old-secret", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/off", `{"reason":"we move"}`, 200, nil},
	{"POST", "/webhooks/{webhook}/off", `{"reason":"` + strings.Repeat("x", 2000) + `"}`, 422, nil},
	{"POST", "/webhooks/{webhook}/off", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"GET", "/webhooks/{webhook}", "", 200, nil},
	{"POST", "/webhooks/{webhook}/on", `{}`, 200, nil},
	{"POST", "/webhooks/{webhook}/on", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/delete", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/webhooks/{webhook}/delete", `{}`, 204, nil},
	{"POST", "/webhooks/{webhook}/delete", `{}`, 404, nil},
}

// postKinds sends a form with several values of one name.
func (f *fixture) postKinds(path, url, which string, types ...string) response {
	f.Helper()
	body := "url=" + url + "&which=" + which + "&key=" + url
	for _, kind := range types {
		body += "&types=" + kind
	}
	return f.send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(body))
}

// A person adds a webhook, sees its secret once, tests it and sees the result, changes it,
// and deletes it.
func TestWebhooks(t *testing.T) {
	f := newFixture(t)
	to := f.withWebhooks()
	var changes []console.Change
	f.console.OnChange = func(_ *http.Request, c console.Change) { changes = append(changes, c) }
	same := header("Sec-Fetch-Site", "same-origin")
	f.want(f.get("webhooks/add"), 200, `data-gatepost-once`, `name="which" value="all" checked`, `value="message.hard_bounced"> <span>Bounced`)
	f.want(f.postKinds("webhooks/add", "crm.example", "all"), 422, "the address must begin with https://", `value="crm.example"`)
	f.want(f.postKinds("webhooks/add", "https://crm.example/", "some"), 422, "Choose at least one kind of event.", `value="some" checked`)
	page := f.postKinds("webhooks/add", "https://u:hunter2@crm.example/", "some", "message.delivered", "shop.sold")
	f.want(page, http.StatusCreated, "Events are sent to crm.example", "The secret is shown only once.", "data-gatepost-unsaved")
	secret := passwordIn(page)
	if !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("got the secret %q", secret)
	}
	f.want(f.postKinds("webhooks/add", "https://u:hunter2@crm.example/", "all"), http.StatusConflict, "already added")
	list, err := f.console.Webhooks.List(t.Context(), "acme")
	if err != nil || len(list) != 2 {
		t.Fatalf("got %+v, %v, want 2 endpoints", list, err)
	}
	crm := list[slices.IndexFunc(list, func(e webhook.Entry) bool { return e.ID != "w" })]
	f.want(f.get("webhooks"), 200, "https://u:xxxxx@crm.example/", "2 kinds", to.URL+"/mail", "All events", "None yet")
	change := f.get("webhooks/" + crm.ID + "/change")
	f.want(change, 200, `value="https://u:xxxxx@crm.example/"`, `value="message.delivered" checked`, `value="shop.sold" checked`)
	r := f.postKinds("webhooks/"+crm.ID+"/change", "https://u:xxxxx@crm.example/", "all")
	f.want(r, http.StatusSeeOther)
	if e, _ := f.console.Webhooks.Get(t.Context(), "acme", crm.ID); e.URL != "https://u:hunter2@crm.example/" || len(e.Types) != 0 {
		t.Errorf("after the change: %+v", e)
	}
	for _, path := range []string{"webhooks", "webhooks/" + crm.ID, "webhooks/" + crm.ID + "/change", "webhooks/" + crm.ID + "/rotate", "webhooks/" + crm.ID + "/delete"} {
		if p := f.get(path); p.Code != 200 || strings.Contains(p.body, secret[6:]) || strings.Contains(p.body, "hunter2") {
			t.Errorf("%s: got status %d, or a secret:\n%s", path, p.Code, p.body)
		}
	}
	form := f.get("webhooks/w/rotate")
	f.want(form, 200, "signed with both secrets")
	set := strings.ReplaceAll(f.hidden(form, "secret_set"), "&#43;", "+")
	rotated := f.post("webhooks/w/rotate", []string{"secret_set", set})
	f.want(rotated, 200, "The secret is shown only once.")
	f.want(f.post("webhooks/w/rotate", []string{"secret_set", set}), http.StatusConflict, "already made")
	f.want(f.get("webhooks/w"), 200, "The old secret signs too until", "End the old secret now")
	f.want(f.post("webhooks/w/end-old-secret", nil), http.StatusSeeOther)
	f.want(f.post("webhooks/w/off", nil), http.StatusSeeOther)
	f.want(f.get("webhooks/w?done=webhook-off", same), 200, "This webhook is switched off by hand.", "Switch on again", "Switched off")
	f.want(f.get("webhooks/w", french), 200, "Ce webhook a été désactivé à la main.")
	f.want(f.post("webhooks/w/on", nil), http.StatusSeeOther)
	f.want(f.get("webhooks/w/delete"), 200, "Delete the webhook to ")
	f.want(f.post("webhooks/w/delete", nil), http.StatusSeeOther)
	f.want(f.get("webhooks/w"), http.StatusNotFound, "There is no such webhook")
	var done []console.Action
	for _, c := range changes {
		if done = append(done, c.Action); c.Tenant != "acme" || c.Object != "w" && c.Object != crm.ID {
			t.Errorf("got the change %+v", c)
		}
	}
	want := []console.Action{console.AddWebhook, console.ChangeWebhook, console.RotateWebhook, console.RotateWebhook, console.ChangeWebhook, console.ChangeWebhook, console.DeleteWebhook}
	if !slices.Equal(done, want) {
		t.Errorf("got the changes %v, want %v", done, want)
	}
}

// A test shows its result on the page, with advice if it failed.
func TestWebhookTest(t *testing.T) {
	f := newFixture(t)
	to := f.withWebhooks()
	f.want(f.get("webhooks/w"), 200, "There was no request yet.", ">On<")
	for status, want := range sorted(map[string]string{
		"204": "Answered 204 after", "404": "does not know this path", "302": "Redirects are not followed", "403": "check the secret", "500": "Its own log says which",
		"410": "wants no more events", "429": "asks to be sent less", "422": "Its own log says why",
	}) {
		to.status.Store(int64(status[0]-'0')*100 + int64(status[1]-'0')*10 + int64(status[2]-'0'))
		r := f.post("webhooks/w/test", nil)
		f.want(r, http.StatusSeeOther)
		page := f.get("webhooks/" + strings.TrimPrefix(r.Header().Get("Location"), "./../../webhooks/"))
		f.want(page, 200, want, "Last requests", "Test <code")
		if worked := strings.Contains(page.body, "The test worked"); worked != (status == "204") {
			t.Errorf("%s: got worked %v", status, worked)
		}
	}
	f.want(f.get("webhooks/w"), 200, ">On<") // tests alone do not count
	f.console.Webhooks.OnAttempt(store.EndpointAttempt{Tenant: "acme", Endpoint: "w", ID: "~", At: time.Now().UTC().Truncate(time.Microsecond), Attempt: 1, Reason: "it failed"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.console.Webhooks.Run(ended); err != nil { // it writes what waits
		t.Fatal(err)
	}
	f.want(f.get("webhooks/w"), 200, "Requests have failed since", ">Failing<")
	to.Close()
	r := f.post("webhooks/w/test", nil)
	f.want(f.get("webhooks/"+strings.TrimPrefix(r.Header().Get("Location"), "./../../webhooks/"), french), 200, "Le test a échoué", "Pas de réponse", "connection refused")
}

// A reader sees webhooks and can do nothing, and a tenant sees none of another one.
func TestWebhooksMay(t *testing.T) {
	f := newFixture(t)
	f.withWebhooks()
	f.console.May = func(_ *http.Request, a console.Action) error {
		if a == console.ViewWebhooks {
			return nil
		}
		return errors.New("reader")
	}
	for _, path := range []string{"webhooks", "webhooks/w"} {
		page := f.get(path)
		f.want(page, 200)
		for _, button := range []string{`method="post"`, "/add", "/change", "/rotate", "/delete"} {
			if strings.Contains(page.body, button) {
				t.Errorf("got %s on the page of a reader:\n%s", button, page.body)
			}
		}
	}
	for _, path := range []string{"/add", "/w/change", "/w/test", "/w/rotate", "/w/off", "/w/on", "/w/end-old-secret", "/w/delete"} {
		f.want(f.post("webhooks"+path, []string{"url", "https://x.example"}), http.StatusForbidden)
	}
	f.want(f.get("webhooks", header("Test-Tenant", "rival")), 200, "There are no webhooks yet.")
	f.want(f.get("webhooks/w", header("Test-Tenant", "rival")), http.StatusNotFound)
}

// The page of an endpoint says why the Manager has switched it off.
func TestWebhookGone(t *testing.T) {
	f := newFixture(t)
	to := f.withWebhooks()
	f.console.Webhooks.OnGone("acme", webhook.Endpoint{ID: "w", URL: to.URL + "/mail"})
	f.want(f.get("webhooks/w"), 200, "your server answered “410 Gone”")
	e := must(f.store.(store.Endpoints).ListEndpoints(t.Context(), []store.TenantID{"acme"}))[0]
	e.Off, e.OffSince = webhook.OffFailing, time.Now().UTC()
	if err := f.store.(store.Endpoints).SetEndpoint(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	f.want(f.get("webhooks/w"), 200, "all requests failed for days")
	if _, err := f.console.Webhooks.SwitchOff(t.Context(), "acme", "w", "<b>moving</b>"); err != nil {
		t.Fatal(err)
	}
	f.want(f.get("webhooks/w"), 200, "switched off: &lt;b&gt;moving&lt;/b&gt;.")
}
