package consoletest_test

import (
	"net/smtp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// TestScreens uses every screen as a person does. It adds a domain and a user, sends
// mail with the password that was shown, finds the connection on the page, resets
// the password and deletes both. It checks each screen.
func TestScreens(t *testing.T) {
	services.OnlyLong(t)
	for name, l := range sorted(map[string]look{
		"wide":  {},
		"dark":  {dark: true},
		"phone": {width: 360, height: 740},
	}) {
		t.Run(name, func(t *testing.T) {
			p, b := start(t), open(t, l)
			see := func(screen string) {
				t.Helper()
				b.accessible(screen)
				b.shoot(name + "-" + screen)
			}
			b.goTo(p.url)
			b.fill("Add a domain", "info@shop.example")
			b.press("Add domain")
			b.until(`document.querySelector(".gatepost-error")?.textContent.includes("it is a mail address, not a domain")`)
			see("1-domains-refused")
			b.fill("Add a domain", "Shop.Example")
			b.follow("Add domain", "shop.example")
			b.until(`document.querySelector("[data-gatepost-notice]")?.textContent.includes("was added")`)
			b.until(`document.querySelector("[data-gatepost-status]")?.textContent.includes("was added")`) // announced
			see("2-domain-empty")

			shown := b.addUser(see)
			b.sendAndSee(p, shown, see)
			b.details(shown, see)
			b.resetUser(p, shown, see)
			b.deleteBoth(see)
		})
	}
}

// account has the settings that the page shows.
type account struct{ server, port, username, password string }

func (b *tab) account() account {
	b.Helper()
	return account{
		server:   b.text("#gatepost-server"),
		port:     eval[string](b, `[...document.querySelectorAll("[id^=gatepost-port-]")].at(-1).textContent`), // the one with STARTTLS
		username: b.text("#gatepost-username"),
		password: b.text("#gatepost-password"),
	}
}

func (b *tab) addUser(see func(string)) account {
	b.Helper()
	b.follow("Add a user", "Add a user")
	if focus := eval[string](b, `document.activeElement.id`); focus != "gatepost-name" {
		b.Errorf("got the focus on %q, want gatepost-name", focus)
	}
	see("3-add")
	b.fill("Name", "WordPress")
	b.follow("Save", "Set up WordPress")
	b.until(`document.activeElement.tagName === "H1"`)
	see("3-credentials")
	shown := b.account()
	b.press("shop.example")
	b.until(`document.querySelector("dialog").open`)
	see("3-leave")
	b.press("Stay here")
	for _, summary := range []string{"smtps:// URL", "Postfix (relayhost)", "WordPress (WP Mail SMTP, FluentSMTP, Post SMTP)"} {
		b.press(summary)
	}
	see("3-credentials-open")
	b.click(".gatepost-check input")
	b.follow("Done", "shop.example")
	return shown
}

func (b *tab) sendAndSee(p product, shown account, see func(string)) {
	b.Helper()
	if got := b.text(".gatepost-users tbody"); !strings.Contains(got, "Never") {
		b.Errorf("before the first login: got %q, want Never", got)
	}
	if err := send(shown, "wordpress@shop.example"); err != nil {
		b.Fatalf("with the settings of the page: got %v, want no error", err)
	}
	if got := p.Messages(); len(got) != 1 || got[0].Identity.Username != shown.username {
		b.Fatalf("got %d messages, want 1 of the new user", len(got))
	}
	b.do(chromedp.Reload())
	b.until(`document.querySelector(".gatepost-users time")?.textContent.startsWith("just now")`)
	b.accessible("2-domain, menu closed")
	b.click(".gatepost-menu summary")
	if eval[int](b, `innerWidth`) > 700 {
		see("2-domain")
	} else { // a menu may cover what is below it
		b.shoot("phone-2-domain")
	}
}

func (b *tab) details(shown account, see func(string)) {
	b.Helper()
	b.follow("View details", "WordPress")
	b.press("Other port")
	body := b.text("main")
	for _, part := range []string{shown.username, shown.server, shown.port, "STARTTLS", "SSL/TLS", "Created", "Password set", "127.0.0.1"} {
		if !strings.Contains(body, part) {
			b.Errorf("got no %q in the details, want it:\n%s", part, body)
		}
	}
	if strings.Contains(body, shown.password) {
		b.Error("got the password in the details, want none")
	}
	see("4-details")
	b.follow("Rename", "Rename WordPress")
	see("4-rename")
	b.fill("Name", "Old blog")
	b.follow("Save", "shop.example")
}

// resetUser resets the password while a session is logged in with the old one.
func (b *tab) resetUser(p product, old account, see func(string)) {
	b.Helper()
	session := login(b.T, old)
	b.click(".gatepost-menu summary")
	b.follow("Reset password", "Reset the password of Old blog")
	if got := b.text(".gatepost-facts"); !strings.Contains(got, "just now") || !strings.Contains(got, "127.0.0.1") {
		b.Errorf("before a reset: got %q, want the last connection", got)
	}
	see("5-reset")
	b.follow("Reset password", "Set up Old blog")
	see("5-credentials")
	shown := b.account()
	if err := session.Mail("wordpress@shop.example"); err == nil {
		b.Error("in the session with the old password: got no error, want one")
	}
	if err := send(old, "wordpress@shop.example"); err == nil {
		b.Error("with the old password: got no error, want one")
	}
	if err := send(shown, "wordpress@shop.example"); err != nil {
		b.Errorf("with the new password: got %v, want no error", err)
	}
	b.click(".gatepost-check input")
	b.follow("Done", "shop.example")
}

func login(t *testing.T, a account) *smtp.Client {
	t.Helper()
	c, err := smtp.Dial(a.server + ":" + a.port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.StartTLS(relaytest.ClientTLS()); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", a.username, a.password, a.server)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *tab) deleteBoth(see func(string)) {
	b.Helper()
	b.click(".gatepost-menu summary")
	b.follow("Delete", "Delete Old blog")
	see("6-delete-user")
	b.fill("Type “Old blog” to confirm", "old blog")
	b.press("Delete")
	b.until(`document.querySelector(".gatepost-error")?.textContent.includes("Nothing was deleted")`)
	see("6-delete-user-refused")
	b.fill("Type “Old blog” to confirm", "Old blog")
	b.follow("Delete", "shop.example")
	b.follow("Delete domain", "Delete shop.example")
	see("6-delete-domain")
	b.fill("Type “shop.example” to confirm", "shop.example")
	b.follow("Delete domain", "Domains")
	see("1-domains")
	b.history(-1)
	b.heading("Not found")
	see("7-not-found")
}
