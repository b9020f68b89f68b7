package consoletest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A mailer is a product whose relay sends through a queue to a server, with the console.
type mailer struct {
	*relaytest.Relay
	url string // of the console, with the slash
	up  *relaytest.Upstream
}

// startMailer starts a relay with a queue and a history. The server behind it refuses
// unknown@, and puts off later@.
func startMailer(t *testing.T) *mailer {
	t.Helper()
	m := &mailer{up: &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case strings.Contains(c.Line, "RCPT TO:<unknown@"):
			return relaytest.Answer{Text: "550 5.1.1 No such user"}
		case strings.Contains(c.Line, "RCPT TO:<later@"):
			return relaytest.Answer{Text: "451 4.7.1 Greylisted, come back later"}
		}
		return relaytest.Answer{}
	}}}
	m.up.Start()
	t.Cleanup(m.up.Close)
	st := new(memory.Store)
	next := &smarthost.Forwarder{Addr: m.up.Addr(), TLSConfig: relaytest.ClientTLS()}
	t.Cleanup(func() { next.Close() })
	q := &queue.Queue{Spool: st, Record: true, Next: next, Hostname: "localhost", Node: "test"}
	hist := &history.History{Store: st}
	m.Relay = relaytest.NewUnstartedRelay(t)
	m.Server.Forwarder, m.Server.OnEvent = q, hist.OnRelayEvent
	m.Start()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- q.Run(ctx) }()
	go func() { ended <- hist.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; <-ended })
	server := httptest.NewServer(&console.Handler{
		Credentials: m.Credentials, Tenant: func(*http.Request) (store.TenantID, error) { return m.Tenant, nil },
		SMTPHost: "localhost", PortSTARTTLS: portOf(t, m.Addr), PortTLS: portOf(t, m.AddrTLS), History: hist, Queue: q,
	})
	t.Cleanup(server.Close)
	m.url = server.URL + "/"
	return m
}

// TestActivity sends real mail and finds on the pages what became of it. It has mail that
// waits tried at once, and cancels it.
func TestActivity(t *testing.T) {
	m, b := startMailer(t), open(t, look{})
	a := account{server: "localhost", port: strconv.Itoa(portOf(t, m.Addr)), username: m.Username, password: m.Password}
	b.goTo(m.url + "activity")
	b.until(`document.querySelector(".gatepost-empty")?.textContent.includes("No mail yet")`)
	for _, to := range []string{"bob@example.com", "unknown@example.com", "later@example.com"} {
		if err := a.submit("shop@"+m.Domain, to, "Hello "+to); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.submit("shop@other.example", "bob@example.com", "Not mine"); err == nil {
		t.Error("from another domain: got no error, want one")
	}
	state := func(to, state string) string {
		return `[...document.querySelectorAll(".gatepost-activities tbody tr")].some(r => r.textContent.includes(` + quote(to) + `) && r.querySelector(".gatepost-pill").textContent === ` + quote(state) + `)`
	}
	b.eventually(m.url+"activity", state("bob@example.com", "Delivered")+" && "+state("unknown@example.com", "Hard bounced")+" && "+
		state("later@example.com", "Deferred")+" && "+state("another domain", "Refused"))
	b.follow("unknown@example.com", "Hello unknown@example.com")
	b.until(`document.querySelector(".gatepost-trail")?.textContent.includes("The address does not exist")`)
	b.follow("Activity", "Activity")

	b.follow("later@example.com", "Hello later@example.com")
	before := len(m.up.Received())
	b.press("Try now")
	b.until(`document.querySelector("[data-gatepost-notice]")?.textContent.includes("It is being tried now")`)
	path := eval[string](b, `location.pathname`)
	b.eventually(strings.TrimSuffix(m.url, "/")+path, `document.querySelector(".gatepost-trail")?.textContent.includes("attempt 2")`)
	b.follow("Cancel", "Cancel sending?")
	b.do(chromedp.Focus("button.gatepost-danger", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector("[data-gatepost-notice]")?.textContent.includes("Sending was canceled")`)
	b.eventually(strings.TrimSuffix(m.url, "/")+path, `document.querySelector(".gatepost-pill")?.textContent === "Canceled"`)
	if got := len(m.up.Received()); got != before {
		t.Errorf("got %d messages at the server after canceling, want %d", got, before)
	}

	b.goTo(m.url + "statistics?period=today")
	b.until(`document.querySelector(".gatepost-indicators")?.textContent.includes("33.3%")`) // one of three
	b.clickOn(`document.querySelectorAll(".gatepost-indicators a")[3]`)
	b.until(`document.querySelectorAll(".gatepost-activities tbody tr").length === 1 && ` + state("unknown@example.com", "Hard bounced"))
	b.goTo(m.url + "domains/" + m.Domain + "/users/" + m.Username)
	b.press("All refusals")
	b.until(`document.querySelectorAll(".gatepost-activities tbody tr").length === 1 && ` + state("another domain", "Refused"))
}

// The list can be used with the keyboard alone.
func TestActivityKeyboard(t *testing.T) {
	services.OnlyLong(t)
	p, b := newPast(t, nil), open(t, look{})
	b.goTo(p.url + "activity")
	b.do(chromedp.Focus("#gatepost-search", chromedp.ByQuery), chromedp.KeyEvent("minutes"), chromedp.KeyEvent(kb.Enter))
	b.until(`location.search.includes("minutes") && document.querySelectorAll(".gatepost-activities tbody tr").length === 5`)
	b.do(chromedp.Focus(".gatepost-what a", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	b.heading("Minutes of the meeting")
	b.do(chromedp.Focus(".gatepost-recipient summary", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector(".gatepost-recipient details").open && document.querySelector(".gatepost-trail").checkVisibility()`)
}

// On paper there are the facts and the chart, without anything to click. With forced
// colours the parts of the chart differ.
func TestActivityOnPaper(t *testing.T) {
	services.OnlyLong(t)
	p, b := newPast(t, nil), open(t, look{width: 800, height: 1000, dark: true})
	for screen, path := range sorted(p.screens()) {
		b.goTo(p.url + path)
		b.do(emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "forced-colors", Value: "none"}}))
		if seen := eval[string](b, `[...document.querySelectorAll(".gatepost button, .gatepost form, .gatepost nav.gatepost-tabs, .gatepost-indicators a, .gatepost-as-table:not([open])")].filter(e => e.checkVisibility()).map(e => e.outerHTML).join()`); seen != "" {
			t.Errorf("%s: got %s on paper, want nothing to click", screen, seen)
		}
		b.shoot("activity-print-" + screen)
		b.do(emulation.SetEmulatedMedia().WithMedia("screen").WithFeatures([]*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}))
		if strings.Contains(screen, "statistics") {
			b.axe(screen+" with forced colours", "document")
			b.shoot("activity-forced-" + screen)
		}
	}
}

// Inside a page with another style sheet, each screen is accessible.
func TestActivityInHosts(t *testing.T) {
	services.OnlyLong(t)
	browser := open(t, look{})
	for _, h := range hosts {
		if h.name != "bootstrap" && h.name != "tailwind" && h.name != "pico" {
			continue
		}
		for _, dark := range []bool{false, true} {
			style := h.style(t)
			p := newPast(t, func(w io.Writer, r *http.Request, c console.Page) error {
				_, err := fmt.Fprintf(w, `<!doctype html><html lang="%s" %s><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title><style nonce="%s">%s</style>%s</head><body><main id="content" class="%s">%s</main></body></html>`,
					c.Language, h.html(dark), c.Title, c.Nonce, style, c.Head, h.classes, c.Body)
				return err
			})
			b := browser.in(t, look{dark: dark, width: 1000, height: 800})
			for screen, path := range sorted(p.screens()) {
				b.goTo(p.url + path)
				b.until(`document.readyState === "complete" && document.querySelector(".gatepost h1")`)
				b.axe(h.name+" "+screen, `document.querySelector(".gatepost")`)
				b.shoot(fmt.Sprintf("activity-host-%s-%v-%s", h.name, dark, screen))
			}
		}
	}
}

// As TestGeneratedClient, for activity and statistics.
func TestGeneratedClientOfActivity(t *testing.T) {
	useClient(t, product{url: newPast(t, nil).url}, "activity.mjs")
}
