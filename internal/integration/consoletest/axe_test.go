package consoletest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// axe returns the source of axe-core, as npm brings it.
func axe(t *testing.T) string {
	t.Helper()
	services.Program(t, "npm")
	source, err := axeSource()
	if err != nil {
		t.Fatal(err)
	}
	return source
}

var axeSource = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "axe")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return "", err
		}
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	return string(source), err
})

// accessible checks the page as it is now: no violation that axe-core knows of,
// and nothing to scroll sideways for.
func (b *tab) accessible(screen string) {
	b.Helper()
	b.do(page.BringToFront(), chromedp.Evaluate(axe(b.T), nil))
	violations := eval[[]string](b, `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(r => r.violations.map(v => v.id + ": " + v.help + "\n  " + v.nodes.map(n => n.html + "\n    " + n.failureSummary).join("\n  ")))`)
	if len(violations) > 0 {
		b.Errorf("%s:\n%s", screen, strings.Join(violations, "\n"))
	}
	if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		b.Errorf("%s: the page is %d pixels wider than the window", screen, wide)
	}
}
