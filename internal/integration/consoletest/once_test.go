package consoletest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepost-mail/gatepost/store"
)

// users returns how many users there are of the product's domain.
func (p product) users(t *testing.T) int {
	t.Helper()
	list, _, err := p.Credentials.Tenant(p.Tenant).Users(t.Context(), p.Domain, store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// showPassword adds a user, up to the page with its password.
func (b *tab) showPassword(p product) account {
	b.Helper()
	b.goTo(p.url + "domains/" + p.Domain)
	b.follow("Add a user", "Add a user")
	b.fill("Name", "WordPress")
	b.follow("Save", "Set up WordPress")
	return b.account()
}

func TestCopyButtons(t *testing.T) {
	p, b := start(t), open(t, look{})
	shown := b.showPassword(p)
	ids := eval[[]string](b, `[...document.querySelectorAll("[data-gatepost-copy]")].map(b => b.dataset.gatepostCopy)`)
	if len(ids) != 5+1+3+10 { // username, password, server, two ports; everything; all in three ways; tools
		t.Errorf("got %d buttons, want 19: %q", len(ids), ids)
	}
	b.press("Other port")
	copied := false // something with the password in it
	for _, id := range ids {
		b.do(chromedp.Evaluate(`navigator.clipboard.writeText("nothing")`, nil))
		b.click(`[data-gatepost-copy="` + id + `"]`)
		b.until(`document.querySelector("[data-gatepost-status]").textContent.startsWith("Copied: ")`)
		want := eval[string](b, `document.getElementById(`+quote(id)+`).textContent`)
		if got := eval[string](b, `navigator.clipboard.readText()`); got != want || want == "" {
			t.Errorf("%s: got %q on the clipboard, want %q", id, got, want)
		}
		// The first copy that has the password in it ticks the box.
		copied = copied || eval[bool](b, `document.getElementById(`+quote(id)+`).hasAttribute("data-gatepost-secret")`)
		if ticked := eval[bool](b, `document.querySelector(".gatepost-check input").checked`); ticked != copied {
			t.Errorf("after copying %s: got the box ticked %v, want %v", id, ticked, copied)
		}
	}
	b.follow("Done", p.Domain)
	b.click(`[data-gatepost-copy="gatepost-` + shown.username + `"]`)
	b.until(`document.querySelector("[data-gatepost-status]")?.textContent === "Copied: username of WordPress"`)
	if got := eval[string](b, `navigator.clipboard.readText()`); got != shown.username {
		t.Errorf("in the list: got %q on the clipboard, want %q", got, shown.username)
	}
}

// Without the clipboard API, which browsers offer over https only, folded texts can
// still be copied.
func TestCopyWithoutClipboardAPI(t *testing.T) {
	p, b := start(t), open(t, look{})
	b.showPassword(p)
	b.do(chromedp.Evaluate(`navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed")); 0`, nil))
	for _, id := range eval[[]string](b, `[...document.querySelectorAll("[data-gatepost-secret]")].map(e => e.id)`) {
		b.do(chromedp.Evaluate(`Clipboard.prototype.writeText.call(navigator.clipboard, "nothing")`, nil))
		b.click(`[data-gatepost-copy="` + id + `"]`)
		b.until(`document.querySelector("[data-gatepost-status]")?.textContent === "Copied: " + document.querySelector('[data-gatepost-copy="` + id + `"]').dataset.gatepostLabel`)
		want := eval[string](b, `document.getElementById(`+quote(id)+`).textContent`)
		if got := eval[string](b, `navigator.clipboard.readText()`); got != want {
			t.Errorf("%s: got %q on the clipboard, want %q", id, got, want)
		}
	}
	if !eval[bool](b, `document.querySelector(".gatepost-check input").checked`) {
		t.Error("got an unticked box, want a ticked one")
	}
}

// A link asks before it leaves a password that was not copied, and the browser asks
// before the page is closed. The focus moves to the question and back.
func TestLeavingAnUncopiedPassword(t *testing.T) {
	p, b := start(t), open(t, look{})
	b.showPassword(p)
	const link = `.gatepost-crumbs a`
	b.click(link)
	b.until(`document.activeElement.value === "stay"`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("dialog").open && document.activeElement === document.querySelector(".gatepost-crumbs a")`)
	b.click(link)
	b.press("Stay here")
	b.heading("Set up WordPress")

	b.press("Done") // the browser says that the box must be ticked
	b.heading("Set up WordPress")

	b.do(chromedp.Evaluate(`location.href = "about:blank"`, nil))
	select {
	case kind := <-b.dialogs:
		if kind != "beforeunload" {
			t.Errorf("got the dialog %q, want beforeunload", kind)
		}
	case <-time.After(5 * time.Second):
		t.Error("got no dialog, want beforeunload")
	}
	b.until(`location.href === "about:blank"`)
	b.showPassword(p)
	b.click(link)
	b.follow("Leave", "Domains")

	b.showPassword(p)
	b.click(`[data-gatepost-copy=gatepost-password]`)
	b.until(`document.querySelector(".gatepost-check input").checked`)
	b.click(link)
	b.heading("Domains")
	if len(b.dialogs) > 0 {
		t.Errorf("after copying: got the dialog %q, want none", <-b.dialogs)
	}
}

func TestReloadAndBack(t *testing.T) {
	for name, l := range sorted(map[string]look{"script": {}, "no script": {noScript: true}}) {
		t.Run(name, func(t *testing.T) {
			p, b := start(t), open(t, l)
			shown := b.showPassword(p)
			users := 2 // one was there
			gone := func(when string) {
				t.Helper()
				b.until(`document.readyState === "complete"`)
				if strings.Contains(eval[string](b, `document.documentElement.outerHTML`), shown.password) {
					t.Errorf("%s: got the password again, want none", when)
				}
				if got := p.users(t); got != users {
					t.Errorf("%s: got %d users, want %d", when, got, users)
				}
			}
			b.click(".gatepost-crumbs a")
			if !l.noScript {
				b.press("Leave")
			}
			b.heading("Domains")
			b.history(-1)
			gone("after leaving and going back")
			shown = b.showPassword(p)
			users++
			b.do(chromedp.Reload())
			if l.noScript {
				b.heading("This user was already added")
				b.shoot("7-added-before")
			} else {
				b.heading("Add a user")
			}
			gone("after a reload")
			b.history(-1)
			gone("after going back")
			b.history(1)
			gone("after going forward")
			if err := send(shown, "wordpress@"+p.Domain); err != nil {
				t.Errorf("with the password that was shown: got %v, want no error", err)
			}
		})
	}
}

func TestTwoTabsResetOneUser(t *testing.T) {
	p, one := start(t), open(t, look{})
	two := one.another(look{})
	for _, b := range []*tab{one, two} {
		b.goTo(p.url + "domains/" + p.Domain + "/users/" + p.Username + "/reset")
	}
	one.follow("Reset password", "Set up test")
	two.follow("Reset password", "The password was already reset")
	two.accessible("conflict")
	two.shoot("7-reset-before")
	if err := send(one.account(), "x@"+p.Domain); err != nil {
		t.Errorf("with the password of the first tab: got %v, want no error", err)
	}
	two.follow("Reset it again", "Reset the password of test")
	two.follow("Reset password", "Set up test")
	if err := send(two.account(), "x@"+p.Domain); err != nil {
		t.Errorf("with the password of the second tab: got %v, want no error", err)
	}
	if err := send(one.account(), "x@"+p.Domain); err == nil {
		t.Error("with the old password of the first tab: got no error, want one")
	}
}

// Without JavaScript everything works except copying.
func TestNoScript(t *testing.T) {
	p, b := start(t), open(t, look{noScript: true})
	shown := b.showPassword(p)
	if err := send(shown, "x@"+p.Domain); err != nil {
		t.Errorf("with the password that was shown: got %v, want no error", err)
	}
	if n := eval[int](b, `[...document.querySelectorAll("[data-gatepost-copy]")].filter(b => b.checkVisibility()).length`); n > 0 {
		t.Errorf("got %d visible buttons that need a script, want none", n)
	}
	b.press("Done")
	b.heading("Set up WordPress")
	b.click(".gatepost-check input")
	b.follow("Done", p.Domain)
	b.clickOn(`[...document.querySelectorAll("tr")].find(e => e.textContent.includes("WordPress"))?.querySelector("summary")`)
	b.follow("Rename", "Rename WordPress")
	b.fill("Name", "Blog")
	b.follow("Save", p.Domain)
	b.follow("Blog", "Blog")
	b.follow("Reset password", "Reset the password of Blog")
	b.follow("Reset password", "Set up Blog")
	if err := send(b.account(), "x@"+p.Domain); err != nil {
		t.Errorf("with the new password: got %v, want no error", err)
	}
	b.click(".gatepost-check input")
	b.follow("Done", p.Domain)
	b.follow("Blog", "Blog")
	b.follow("Delete", "Delete Blog")
	b.fill("Type “Blog” to confirm", "Blog")
	b.follow("Delete", p.Domain)
	b.follow("Delete domain", "Delete "+p.Domain)
	b.fill("Type “"+p.Domain+"” to confirm", p.Domain)
	b.follow("Delete domain", "Domains")
}

// The menu of a row works with the keyboard.
func TestKeyboard(t *testing.T) {
	p, b := start(t), open(t, look{})
	b.goTo(p.url + "domains/" + p.Domain)
	focus := `document.activeElement.textContent.trim()`
	for range 20 {
		if eval[string](b, `document.activeElement.tagName`) == "SUMMARY" {
			break
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector(".gatepost-menu").open`)
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab))
	if got := eval[string](b, focus); got != "Rename" {
		t.Errorf("got %q as the second entry, want Rename", got)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector(".gatepost-menu").open && document.activeElement.tagName === "SUMMARY"`)
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.heading("Reset the password of test")
	b.goTo(p.url + "domains/" + p.Domain + "/add")
	b.until(`document.activeElement.id === "gatepost-name"`)
	b.do(input.InsertText("Printer"), chromedp.KeyEvent(kb.Enter))
	b.heading("Set up Printer")
}
