package consoletest_test

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// Only a link that replaces the page with another one in the same tab asks
// before it leaves an uncopied password, wherever the link is.
func TestLinksThatAsk(t *testing.T) {
	b := open(t, look{})
	b.showPassword(startIn(t, hosts[0], false, ""))
	for _, test := range []struct {
		link string // attributes
		asks bool
	}{
		{`href="/billing"`, true},
		{`href="/billing#july"`, true},
		{`href="?"`, true},
		{`href=""`, true},
		{`href="/billing" target="_self"`, true},
		{`href="/billing" target="_top"`, true},
		{`href="#menu"`, false},
		{`href="#"`, false},
		{`href="mailto:help@product.example"`, false},
		{`href="tel:+3612345678"`, false},
		{`href="javascript:void(0)"`, false},
		{`href="/manual" target="_blank"`, false},
		{`href="/manual" target="help"`, false},
		{`href="/export.csv" download`, false},
	} {
		// The test cancels each click, so that the browser follows no link.
		asks := eval[bool](b, `new Promise(done => {
			const place = document.createElement("p");
			place.innerHTML = `+quote("<a "+test.link+">x</a>")+`;
			document.body.append(place);
			addEventListener("click", event => { done(event.defaultPrevented); event.preventDefault(); place.remove() }, {once: true});
			place.firstChild.click();
		})`)
		if asks != test.asks {
			t.Errorf("<a %s>: got a question %v, want %v", test.link, asks, test.asks)
		}
		b.do(chromedp.Evaluate(`document.querySelector("dialog").close()`, nil))
	}
	for _, modifiers := range []string{"ctrlKey: true", "metaKey: true", "shiftKey: true", "altKey: true"} {
		asks := eval[bool](b, `new Promise(done => {
			addEventListener("click", event => { done(event.defaultPrevented); event.preventDefault() }, {once: true});
			document.querySelector(".gatepost-crumbs a").dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, `+modifiers+`}));
		})`)
		if asks {
			t.Errorf("with %s: got a question, want none", modifiers)
		}
	}
	b.do(chromedp.Evaluate(`document.querySelector("[data-gatepost-unsaved] input").checked = true`, nil))
}

// Copying with the keyboard counts as copied if the password is selected.
func TestCopyWithTheKeyboard(t *testing.T) {
	p, b := start(t), open(t, look{})
	shown := b.showPassword(p)
	const ticked = `document.querySelector(".gatepost-check input").checked`
	for _, test := range []struct {
		id   string
		want bool
	}{{"gatepost-username", false}, {"gatepost-password", true}} {
		b.do(
			chromedp.Evaluate(`getSelection().selectAllChildren(document.getElementById(`+quote(test.id)+`))`, nil),
			input.DispatchKeyEvent(input.KeyDown).WithKey("c").WithModifiers(input.ModifierCtrl).WithCommands([]string{"copy"}),
			input.DispatchKeyEvent(input.KeyUp).WithKey("c"),
		)
		b.until(`navigator.clipboard.readText().then(text => window.copied = text) && window.copied === document.getElementById(` + quote(test.id) + `).textContent`)
		if got := eval[bool](b, ticked); got != test.want {
			t.Errorf("after copying %s: got the box ticked %v, want %v", test.id, got, test.want)
		}
	}
	if got := eval[string](b, `navigator.clipboard.readText()`); got != shown.password {
		t.Errorf("got %q on the clipboard, want %q", got, shown.password)
	}
	b.press(p.Domain)
	b.heading(p.Domain)
}

// A notice shows once, and not because of a link.
func TestNoticeShowsOnce(t *testing.T) {
	p, b := start(t), open(t, look{})
	const notice = `document.querySelector("[data-gatepost-notice]")`
	b.goTo(p.url)
	b.fill("Add a domain", "shop.example")
	b.follow("Add domain", "shop.example")
	b.until(notice + ` && location.search === ""`)
	b.do(chromedp.Reload())
	b.heading("shop.example")
	if eval[bool](b, notice+` !== null`) {
		t.Error("after a reload: got a notice, want none")
	}
	b.goTo(p.url + "?done=domain-deleted")
	b.heading("Domains")
	if eval[bool](b, notice+` !== null`) {
		t.Error("from an address that was typed: got a notice, want none")
	}
}

// On paper there is the password and nothing to click.
func TestPrint(t *testing.T) {
	p, b := start(t), open(t, look{dark: true})
	shown := b.showPassword(p)
	b.do(emulation.SetEmulatedMedia().WithMedia("print"))
	if got := b.text("#gatepost-password"); got != shown.password {
		t.Errorf("got %q, want the password", got)
	}
	const visible = `[...document.querySelectorAll("button, input, dialog, summary, .gatepost-button")].filter(e => e.checkVisibility()).map(e => e.outerHTML)`
	if got := eval[[]string](b, visible); len(got) > 0 {
		t.Errorf("got %q on paper, want nothing to click", got)
	}
	if got := eval[string](b, `getComputedStyle(document.body).backgroundColor`); got != "rgb(255, 255, 255)" {
		t.Errorf("got background %s, want white", got)
	}
	b.shoot("print-3-credentials")
	b.do(chromedp.Evaluate(`document.querySelector("[data-gatepost-unsaved] input").checked = true`, nil))
	b.goTo(p.url + "domains/" + p.Domain)
	b.shoot("print-2-domain")
}
