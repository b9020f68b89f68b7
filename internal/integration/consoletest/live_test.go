package consoletest_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
)

// startFull starts a product with a queue, a history, and an upstream that runs script.
// change, if set, changes the console.
func startFull(t *testing.T, script func(relaytest.Command) relaytest.Answer, change func(*console.Handler)) product {
	t.Helper()
	up := &relaytest.Upstream{Script: script}
	up.Start()
	t.Cleanup(up.Close)
	r := relaytest.NewUnstartedRelay(t)
	st := r.Credentials.Store.(interface {
		store.Spool
		store.History
	})
	q := &queue.Queue{Spool: st, Record: true, Next: &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS()}}
	hist := &history.History{Store: st}
	r.Server.Forwarder, r.Server.OnEvent = q, hist.OnRelayEvent
	r.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	for _, run := range []func(context.Context) error{q.Run, hist.Run} {
		go func() { run(ctx); done <- struct{}{} }()
	}
	t.Cleanup(func() { cancel(); <-done; <-done })
	h := &console.Handler{
		Credentials:  r.Credentials,
		Tenant:       func(*http.Request) (store.TenantID, error) { return r.Tenant, nil },
		SMTPHost:     "localhost",
		PortSTARTTLS: portOf(t, r.Addr),
		PortTLS:      portOf(t, r.AddrTLS),
		History:      hist,
	}
	h.Server = r.Server
	if change != nil {
		change(h)
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/smtp/", http.StripPrefix("/admin/smtp", h))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return product{r, server.URL + "/admin/smtp/"}
}

// withoutTLS logs in as a tool does that does not know TLS, with AUTH PLAIN.
func withoutTLS(t *testing.T, a account) {
	t.Helper()
	c, err := smtp.Dial(a.server + ":" + a.port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	response := base64.StdEncoding.EncodeToString([]byte("\x00" + a.username + "\x00" + a.password))
	if err := c.Hello("shop.example"); err != nil {
		t.Fatal(err)
	}
	id, err := c.Text.Cmd("AUTH PLAIN %s", response)
	if err != nil {
		t.Fatal(err)
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	if _, _, err := c.Text.ReadResponse(538); err != nil {
		t.Errorf("AUTH without TLS: got %v, want 538", err)
	}
}

// state waits until the part of the page that shows the connection has a text.
func (b *tab) state(text string) {
	b.Helper()
	b.until(`document.querySelector("#gatepost-connection [role=status]")?.textContent.includes(` + quote(text) + `)`)
}

// The page that shows a password says what the tool does, as it happens, and asks no
// visitor to reload it.
func TestConnectionIsShownLive(t *testing.T) {
	p, b := startFull(t, nil, nil), open(t, look{})
	shown := b.showPassword(p)
	b.state("Waiting for the first connection…")
	b.accessible("waiting")
	b.shoot("live-1-waiting")
	// The status element stays, so that screen readers announce its text.
	b.do(chromedp.Evaluate(`window.statusElement = document.querySelector("#gatepost-connection [role=status]"); document.querySelector("[data-gatepost-live-now]").focus()`, nil))

	wrong := shown
	wrong.password = "wrong"
	if err := send(wrong, "x@"+p.Domain); err == nil {
		t.Error("with a wrong password: got no error, want one")
	}
	b.state("Wrong password from 127.0.0.x")
	b.accessible("wrong password")
	if !eval[bool](b, `document.activeElement.hasAttribute("data-gatepost-live-now")`) {
		t.Error("got the focus lost by a refresh, want it kept")
	}
	b.shoot("live-2-wrong-password")

	withoutTLS(t, shown)
	withoutTLS(t, shown)
	b.state("Login without encryption from 127.0.0.x (2 times)")
	b.accessible("no TLS")
	b.shoot("live-3-no-tls")

	if err := send(shown, "x@other.example"); err == nil {
		t.Error("with a sender of another domain: got no error, want one")
	}
	b.state("Mail from x@other.example refused")
	b.shoot("live-4-sender")

	session := login(t, shown)
	session.Quit()
	if err := send(shown, "shop@"+p.Domain); err != nil {
		t.Fatal(err)
	}
	b.state("Connected from 127.0.0.1, and a message was accepted")
	b.accessible("sent")
	b.shoot("live-5-sent")
	if !eval[bool](b, `window.statusElement === document.querySelector("#gatepost-connection [role=status]")`) {
		t.Error("got another element with the role status, want the same")
	}
	if eval[bool](b, `document.querySelector("#gatepost-connection").hasAttribute("data-gatepost-live")`) {
		t.Error("got a page that goes on asking, want it to stop")
	}
	if got := b.text("#gatepost-password"); got != shown.password {
		t.Errorf("got the password %q, want %q", got, shown.password)
	}
}

// A test message is sent from the page that shows a password, which stays, and its
// delivery is shown as it happens. Without the script the same takes pages.
func TestTestMessage(t *testing.T) {
	refuse := func(c relaytest.Command) relaytest.Answer {
		if strings.HasPrefix(c.Line, "RCPT TO:<nobody@") {
			return relaytest.Answer{Text: "550 5.1.1 No such user here"}
		}
		return relaytest.Answer{}
	}
	me := func(h *console.Handler) {
		h.TestRecipient = func(*http.Request) string { return "me@elsewhere.example" }
	}
	p, b := startFull(t, refuse, me), open(t, look{})
	const status = `document.querySelector("#gatepost-test [role=status]")?.textContent`
	shown := b.showPassword(p)
	b.press("Send")
	b.until(status + `?.includes("Delivered. The recipient’s server has taken it.")`)
	b.accessible("delivered")
	b.shoot("test-1-delivered")
	if got := b.text("#gatepost-password"); got != shown.password {
		t.Errorf("got the password %q, want %q", got, shown.password)
	}
	if focus := eval[string](b, `document.activeElement.id`); focus != "gatepost-test-title" {
		t.Errorf("got the focus on %q, want gatepost-test-title", focus)
	}
	b.do(chromedp.Evaluate(`document.querySelector("[data-gatepost-unsaved] input").checked = true`, nil))

	user := p.url + "domains/" + p.Domain + "/users/" + shown.username
	b.goTo(user)
	b.state("Waiting for the first connection…") // a test message is no connection
	b.shoot("user-1-waiting")
	b.follow("Send a test message", "Test message of WordPress")
	b.fill("Send a test message to", "nobody@elsewhere.example")
	b.press("Send")
	b.until(status + `?.includes("Hard bounced. It cannot be delivered.") && document.querySelector("#gatepost-test")?.textContent.includes("550 5.1.1 No such user here")`)
	b.accessible("bounced")
	b.shoot("test-2-bounced")

	plain := open(t, look{noScript: true})
	plain.goTo(user + "/test")
	plain.heading("Test message of WordPress")
	plain.press("Send")
	plain.until(status + ` !== undefined`)
	for !strings.Contains(eval[string](plain, status), "Delivered") {
		plain.do(chromedp.Sleep(300*time.Millisecond), chromedp.Reload())
	}
}
