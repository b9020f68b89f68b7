package consoletest_test

import (
	"testing"
	"github.com/chromedp/chromedp"
)

func TestShots(t *testing.T) {
	p := start(t)
	for name, l := range map[string]look{"wide": {}, "dark": {dark: true}, "phone": {width: 360, height: 740}} {
	  t.Run(name, func(t *testing.T) {
		b := open(t, l)
		b.goTo(p.url)
		b.shoot(name+"-1-domains")
		b.follow("acme.example", "acme.example")
		b.do(chromedp.Click("summary", chromedp.ByQuery))
		b.shoot(name+"-2-domain")
		b.follow("Add a user", "Add a user")
		b.shoot(name+"-3-add")
		b.fill("Name", "WordPress")
		b.follow("Save", "Set up WordPress")
		b.shoot(name+"-3-credentials")
		b.press("acme.example")
		b.do(chromedp.WaitVisible("dialog", chromedp.ByQuery))
		b.shoot(name+"-3-leave")
		b.follow("Leave", "acme.example")
		b.follow("test", "test")
		b.shoot(name+"-4-details")
		b.follow("Rename", "Rename test")
		b.shoot(name+"-4-rename")
		b.follow("Cancel", "test")
		b.follow("Reset password", "Reset the password of test")
		b.shoot(name+"-5-reset")
		b.follow("Cancel", "test")
		b.follow("Delete", "Delete test")
		b.shoot(name+"-6-delete-user")
		b.follow("acme.example", "acme.example")
		b.follow("Delete domain", "Delete acme.example")
		b.shoot(name+"-6-delete-domain")
		b.goTo(p.url + "nothing")
		b.shoot(name+"-7-problem")
	  })
	}
}
