package consoletest_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A wholeConsole is a console with every part set, and mail of two months.
type wholeConsole struct {
	*past
	set func(*relaytest.Relay, *console.Handler) // for start and startIn
}

// newWhole makes what the parts show.
func newWhole(t *testing.T) *wholeConsole {
	t.Helper()
	p := newPast(t, nil)
	st := p.Credentials.Store.(*memory.Store)
	quiet := slog.New(slog.DiscardHandler)
	next := relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })
	limiter := &limits.Limiter{Store: st, Next: next, Logger: quiet, Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) {
		return []limits.Limit{{Scope: limits.PerTenant, Interval: limits.Monthly, Max: 10_000}, {Scope: limits.PerUser, Interval: limits.Daily, Max: 10}}, nil
	}}
	list := &suppress.List{Store: st}
	since := time.Now().AddDate(0, 0, -3).UTC().Truncate(time.Second)
	if _, err := st.Suppress(t.Context(), []store.Suppression{{
		Tenant: "acme", Address: "old@example.org", Source: store.SuppressedByPerson, Reason: "asked us to stop", Since: since, Changed: since,
	}}); err != nil {
		t.Fatal(err)
	}
	hooks := &webhook.Manager{
		Store: st, Secret: credentials.NewPassword(strings.Repeat("s", 32)), Logger: quiet,
		Sender: &webhook.Sender{AllowHTTP: true, AllowAddr: func(netip.Addr) bool { return true }},
	}
	if _, _, err := hooks.AddOnce(t.Context(), "acme", "hook1", "https://crm.example/mail", nil); err != nil {
		t.Fatal(err)
	}
	server := &relay.Server{Hostname: "localhost", Credentials: p.Credentials, Forwarder: next, Logger: quiet}
	t.Cleanup(func() { server.Close() })
	_, dns := withDNS(t)
	f := &wholeConsole{past: p}
	f.set = func(r *relaytest.Relay, h *console.Handler) {
		dns(r, h)
		h.Domains.Domains = p.Credentials.Store
		h.Credentials, h.Tenant, h.History, h.Queue, h.Server = p.Credentials, p.Tenant, p.History, p.Queue, server
		h.Limits, h.Suppressions, h.Webhooks, h.Overlap = limiter, list, hooks, 48*time.Hour
		h.Design.Location = p.Design.Location
	}
	return f
}

// screens are the pages of the parts that the first edition did not have, by their paths.
func (f *wholeConsole) screens() map[string]string {
	user := "domains/" + f.user.Domain + "/users/" + f.user.Username
	return map[string]string{
		"whole-01-dns":          "domains/" + f.user.Domain,
		"whole-02-user":         user,
		"whole-03-connection":   user + "/connection",
		"whole-04-test":         user + "/test",
		"whole-05-sent":         user + "/test/p7",
		"whole-06-pause":        user + "/pause",
		"whole-07-activity":     "activity?search=your&username=" + f.user.Username + "&from=2020-01-01&until=2100-01-01",
		"whole-08-message":      "activity/" + f.waits + "?n=1",
		"whole-09-refusal":      "activity/" + f.refusal,
		"whole-10-statistics":   "statistics?period=30&username=" + f.user.Username,
		"whole-11-quota":        "quota",
		"whole-12-suppressions": "suppressions",
		"whole-13-webhooks":     "webhooks",
		"whole-14-webhook":      "webhooks/hook1",
		"whole-15-webhook-form": "webhooks/add",
	}
}

// walk shows the screens.
func (f *wholeConsole) walk(b *tab, p product, see func(screen string)) {
	b.Helper()
	for screen, path := range sorted(f.screens()) {
		b.goTo(p.url + path)
		b.until(`document.readyState === "complete" && document.querySelector(".gatepost h1")`)
		if b.text("h1") == "Not found" {
			b.Errorf("%s: got the page that there is no such page, want %s", screen, path)
		}
		see(screen)
	}
}

// The screens of a console with every part set are accessible in each language and look,
// and so is the page that shows a password, with the state of the connection.
func TestWholeScreens(t *testing.T) {
	services.OnlyLong(t)
	all, browser := newWhole(t), open(t, look{})
	for name, l := range sorted(map[string]look{
		"wide": {width: 1280, height: 900}, "dark": {width: 1280, height: 900, dark: true}, "french": {width: 1280, height: 900, language: "fr"},
		"narrow": {width: 320, height: 640, language: "fr", dark: true},
	}) {
		t.Run(name, func(t *testing.T) {
			b := browser.in(t, l)
			p := start(t, all.set)
			see := func(screen string) {
				t.Helper()
				b.accessible(screen)
				b.shoot("whole-" + name + "-" + screen[len("whole-"):])
			}
			all.walk(b, p, see)
			b.goTo(p.url + "domains/" + all.user.Domain + "/add")
			b.click("#gatepost-name")
			b.do(chromedp.KeyEvent("Shop"), chromedp.KeyEvent(kb.Enter))
			b.until(`document.querySelector("#gatepost-connection [role=status]")`)
			see("whole-16-credentials")
		})
	}
}

// tabTo presses the Tab key until an element with the text has the focus.
func (b *tab) tabTo(text string) {
	b.Helper()
	for range 60 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if eval[string](b, `document.activeElement.textContent.trim()`) == text {
			if eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
				b.Errorf("%s: got no outline on what has the focus, want one", text)
			}
			return
		}
	}
	b.Fatalf("got no element %q after 60 times Tab, want one", text)
}

// A person with a keyboard alone adds a user, and looks at what a user has sent, at a
// message, and comes back.
func TestKeyboardThroughTheParts(t *testing.T) {
	all, b := newWhole(t), open(t, look{})
	p := start(t, all.set)
	enter := func(text, heading string) {
		t.Helper()
		b.tabTo(text)
		b.do(chromedp.KeyEvent(kb.Enter))
		b.heading(heading)
	}
	b.goTo(p.url)
	enter(all.user.Domain, all.user.Domain)
	enter("Add a user", "Add a user")
	b.do(chromedp.KeyEvent("Shop"), chromedp.KeyEvent(kb.Enter)) // the field has the focus
	b.heading("Set up Shop")
	for eval[string](b, `document.activeElement.type ?? ""`) != "checkbox" {
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.do(chromedp.KeyEvent(" "))
	enter("Done", all.user.Domain)
	enter("WordPress", "WordPress")
	enter("All messages", "Activity")
	enter("ida@example.com", "Minutes of the meeting")
	enter("WordPress", "WordPress")
	enter("All refusals", "Activity")
	b.history(-1)
	b.heading("WordPress")
}
