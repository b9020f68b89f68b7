package consoletest_test

import (
	"strings"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// accessible checks the page as it is now: axe-core finds no violation, and the
// page is not wider than the window.
func (b *tab) accessible(screen string) {
	b.Helper()
	b.axe(screen, "document")
	if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		b.Errorf("%s: got a page %d pixels wider than the window, want none", screen, wide)
	}
}

// axe checks a part of the page, which is a JavaScript expression.
func (b *tab) axe(screen, part string) {
	b.Helper()
	b.do(page.BringToFront(), chromedp.Evaluate(npmFile(b.T, "axe-core/axe.min.js"), nil))
	violations := eval[[]string](b, `axe.run(`+part+`, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(r => r.violations.map(v => v.id + ": " + v.help + "\n  " + v.nodes.map(n => n.html + "\n    " + n.failureSummary).join("\n  ")))`)
	if len(violations) > 0 {
		b.Errorf("%s:\n%s", screen, strings.Join(violations, "\n"))
	}
}
