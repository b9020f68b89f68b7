package consoletest_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// startHooks starts a product with webhooks and a suppression list, and an upstream
// that does not know recipients called unknown.
func startHooks(t *testing.T) product {
	t.Helper()
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if strings.HasPrefix(c.Line, "RCPT TO:<unknown@") {
			return relaytest.Answer{Text: "550 5.1.1 No such user here"}
		}
		return relaytest.Answer{}
	}}
	up.Start()
	t.Cleanup(up.Close)
	r := relaytest.NewUnstartedRelay(t)
	st := r.Credentials.Store.(*memory.Store)
	sender := &webhook.Sender{
		Queue: queue.Queue{Spool: new(memory.Store)}, TLSConfig: relaytest.ClientTLS(), AllowAddr: func(a netip.Addr) bool { return a.IsLoopback() },
	}
	manager := &webhook.Manager{Store: st, Sender: sender}
	sender.Endpoints, sender.OnGone, sender.OnAttempt = manager.Endpoints, manager.OnGone, manager.OnAttempt
	list := &suppress.List{Store: st}
	hist := &history.History{Store: st, Publish: func(ctx context.Context, events []store.Event) error {
		if err := list.Learn(ctx, events); err != nil {
			return err
		}
		return sender.Publish(ctx, events)
	}}
	q := &queue.Queue{Spool: st, Record: true, Next: &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS()}}
	r.Server.Forwarder, r.Server.OnEvent, r.Server.AllowRecipient = q, hist.OnRelayEvent, list.AllowRecipient
	r.Start()
	ctx, cancel := context.WithCancel(context.Background())
	work := []func(context.Context) error{q.Run, hist.Run, sender.Run, manager.Run}
	done := make(chan struct{}, len(work))
	for _, run := range work {
		go func() { run(ctx); done <- struct{}{} }()
	}
	t.Cleanup(func() {
		cancel()
		for range work {
			<-done
		}
	})
	h := &console.Handler{
		Credentials: r.Credentials, SMTPHost: "localhost", Suppressions: list, Webhooks: manager,
		Tenant: func(*http.Request) (store.TenantID, error) { return r.Tenant, nil },
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/smtp/", http.StripPrefix("/admin/smtp", h))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return product{r, server.URL + "/admin/smtp/"}
}

// A customer adds a webhook, tests it, gets the events of real mail, changes the secret
// and deletes it; and learns why an address is refused, and removes it.
func TestWebhooksAndSuppressions(t *testing.T) {
	services.OnlyLong(t)
	for name, l := range sorted(map[string]look{
		"wide":      {},
		"dark":      {dark: true},
		"small":     {width: 320, height: 640},
		"no-script": {noScript: true},
	}) {
		t.Run(name, func(t *testing.T) {
			p, b, to := startHooks(t), open(t, l), newReceiver(t)
			see := func(screen string) {
				t.Helper()
				if !l.noScript {
					b.accessible(screen)
				}
				b.shoot("hooks-" + name + "-" + screen)
			}
			b.addWebhook(p, to, see)
			b.getEvents(p, to, see)
			b.suppressed(p, see)
			b.changeWebhook(p, to, see)
		})
	}
}

// addWebhook adds an endpoint and sends it a test.
func (b *tab) addWebhook(p product, to *receiver, see func(string)) {
	b.Helper()
	b.goTo(p.url + "webhooks")
	b.heading("Webhooks")
	see("1-none")
	b.press("Add webhook")
	b.heading("Add a webhook")
	see("2-form")
	b.fill("Address of your program", "crm.example")
	b.press("Add webhook")
	b.until(`document.querySelector(".gatepost-error")?.textContent.includes("must begin with https://")`)
	see("3-refused")
	b.fill("Address of your program", to.URL+"/mail")
	b.clickOn(`[...document.querySelectorAll("label")].find(e => e.textContent.includes("Only these:"))`)
	b.press("Add webhook")
	b.until(`document.querySelector("#gatepost-kinds-error")`)
	see("4-no-kind")
	b.clickOn(`[...document.querySelectorAll("label")].find(e => e.textContent.includes("All events"))`)
	b.follow("Add webhook", "The webhook’s secret")
	see("5-secret")
	to.setSecret(b.storeSecret())
	b.follow("Done", b.host(to)+" On")
	b.press("Send a test event")
	b.until(`document.querySelector(".gatepost-tested")?.textContent.includes("The test worked")`)
	if got := b.text(".gatepost-tested"); !strings.Contains(got, "Answered 200 after ") {
		b.Errorf("got the result %q", got)
	}
	see("6-tested")
	if eval[bool](b, `document.body.textContent.includes("whsec_")`) {
		b.Error("the secret is shown a second time")
	}
}

func (b *tab) host(to *receiver) string { return strings.TrimPrefix(to.URL, "https://") }

// storeSecret copies the secret that the page shows and says so.
func (b *tab) storeSecret() string {
	b.Helper()
	secret := b.text("#gatepost-password")
	if eval[bool](b, `document.querySelector(".gatepost-copies button").hidden`) { // without the script
		b.click(".gatepost-check input")
		return secret
	}
	b.press("Copy secret")
	b.until(`document.querySelector(".gatepost-check input").checked`)
	if got := eval[string](b, `navigator.clipboard.readText()`); got != secret {
		b.Errorf("copied %q, want %q", got, secret)
	}
	return secret
}

// getEvents sends mail, and the page shows the requests about it.
func (b *tab) getEvents(p product, to *receiver, see func(string)) {
	b.Helper()
	tool := p.tool(b.T)
	for _, recipient := range []string{"bob@example.net", "unknown@example.net"} {
		if err := tool.submit("shop@"+p.Domain, recipient, "Order"); err != nil {
			b.Fatal(err)
		}
	}
	want := []string{"webhook.test", "message.accepted bob@example.net", "message.delivered bob@example.net", "message.hard_bounced unknown@example.net"}
	if got, ok := to.wait(want...); !ok {
		b.Fatalf("the customer's server got %q, want at least %q", got, want)
	}
	b.follow("Webhooks", "Webhooks")
	b.press(to.URL + "/mail")
	b.eventually(eval[string](b, `location.href`), `document.querySelector(".gatepost-requests")?.textContent.includes("Bounced")`)
	see("7-requests")
}

// tool returns the settings of the user that the product has.
func (p product) tool(t *testing.T) account {
	t.Helper()
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return account{"127.0.0.1", port, p.Username, p.Password}
}

// suppressed shows why an address is refused, and removes it.
func (b *tab) suppressed(p product, see func(string)) {
	b.Helper()
	tool := p.tool(b.T)
	b.goTo(p.url + "suppressions")
	b.heading("Suppression list")
	b.eventually(p.url+"suppressions", `document.body.textContent.includes("unknown@example.net")`)
	see("8-suppressions")
	if err := tool.submit("shop@"+p.Domain, "unknown@example.net", "Again"); err == nil || !strings.Contains(err.Error(), "suppression list") {
		b.Errorf("mail to an address on the list: got %v, want a refusal", err)
	}
	b.follow("unknown@example.net", "unknown@example.net")
	if got := b.text(".gatepost-facts"); !strings.Contains(got, "550 5.1.1 No such user here") || !strings.Contains(got, "refused the address for good") {
		b.Errorf("the page shows %q", got)
	}
	see("9-suppression")
	b.follow("Remove from the list", "Suppression list")
	b.until(`document.querySelector("[data-gatepost-notice]")?.textContent.includes("was removed")`)
	b.press("Add an address")
	b.fill("Address", "carol")
	b.fill("Reason", "asked us to")
	b.press("Add to the list")
	b.until(`document.querySelector(".gatepost-error")`)
	see("10-suppression-refused")
	b.fill("Address", "Carol@example.net")
	b.follow("Add to the list", "carol@example.net")
	see("11-suppression-added")
	if err := tool.submit("shop@"+p.Domain, "carol@example.net", "Hello"); err == nil || !strings.Contains(err.Error(), "asked us to") {
		b.Errorf("mail to an address that was added: got %v, want a refusal with the reason", err)
	}
	if err := tool.submit("shop@"+p.Domain, "unknown@example.net", "Again"); err != nil {
		b.Errorf("mail to an address that was removed: %v", err)
	}
}

// changeWebhook makes a new secret, switches the endpoint off and on, and deletes it.
func (b *tab) changeWebhook(p product, to *receiver, see func(string)) {
	b.Helper()
	// An event of the mail before that comes while the secret is wrong would fail.
	want := []string{
		"message.hard_bounced unknown@example.net", "message.hard_bounced unknown@example.net",
		"message.rejected unknown@example.net", "message.rejected carol@example.net",
	}
	if got, ok := to.wait(want...); !ok {
		b.Fatalf("the customer's server got %q, want at least %q", got, want)
	}
	on, off := b.host(to)+" On", b.host(to)+" Switched off"
	b.goTo(p.url + "webhooks")
	b.follow(to.URL+"/mail", on)
	b.follow("New secret", "Make a new secret")
	see("12-rotate")
	b.follow("New secret", "The webhook’s secret")
	to.setSecret(b.storeSecret())
	b.follow("Done", on)
	see("13-two-secrets")
	b.press("End the old secret now")
	b.until(`document.querySelector("[data-gatepost-notice]")?.textContent.includes("new secret only")`)
	b.press("Send a test event")
	b.until(`document.querySelector(".gatepost-tested")?.textContent.includes("The test worked")`)
	to.setSecret("whsec_bG9zdA==")
	b.press("Send a test event")
	b.until(`document.querySelector(".gatepost-tested")?.textContent.includes("did not accept the event")`)
	b.heading(on) // a test alone does not make it fail
	see("14-test-failed")
	b.follow("Switch off", off)
	see("15-off")
	b.follow("Switch on again", on)
	b.follow("Delete webhook", "Delete the webhook to "+b.host(to)+"?")
	see("16-delete")
	b.follow("Delete webhook", "Webhooks")
	b.until(`document.body.textContent.includes("There are no webhooks yet.")`)
}
