package consoletest_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

var (
	screenshots = flag.String("screenshots", "screens", "write a picture of each screen to this `directory`; empty: to none")
	readme      = flag.String("readme", "", "write the pictures of the README to this `directory`")
)

// A look is how a visitor has set up the browser.
type look struct {
	width, height int64
	dark          bool
	language      string
	noScript      bool
	scale         float64
}

// A tab is a tab of a browser, for one test.
type tab struct {
	*testing.T
	ctx     context.Context
	dialogs chan string // the types of the dialogs that the browser opened; they are accepted
	console chan string // exceptions in the page
}

// open starts a browser, with one tab.
func open(t *testing.T, l look) *tab {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(services.Program(t, "chromium")), chromedp.UserDataDir(profile(t))}
	for _, f := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-default-apps", "disable-dev-shm-usage", "hide-scrollbars",
	} {
		options = append(options, chromedp.Flag(f, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // events of newer browsers
	t.Cleanup(func() {
		chromedp.Cancel(ctx) // waits until the browser has left its directory
		cancel()
	})
	return newTab(t, ctx, l)
}

// profile returns a new directory. With t.TempDir the test would fail, because the
// last process of the browser may write to it after the test.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "consoletest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 20 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return dir
}

// another opens a second tab beside the first.
func (b *tab) another(l look) *tab { return b.in(b.T, l) }

// in opens another tab of the browser, until a test ends.
func (b *tab) in(t *testing.T, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	return newTab(t, ctx, l)
}

func newTab(t *testing.T, ctx context.Context, l look) *tab {
	t.Helper()
	b := &tab{T: t, ctx: ctx, dialogs: make(chan string, 10), console: make(chan string, 100)}
	chromedp.ListenTarget(ctx, func(event any) {
		switch event := event.(type) {
		case *page.EventJavascriptDialogOpening:
			b.dialogs <- string(event.Type)
			go chromedp.Run(ctx, page.HandleJavaScriptDialog(true))
		case *runtime.EventExceptionThrown:
			b.console <- event.ExceptionDetails.Error()
		}
	})
	width, height, scale := l.width, l.height, l.scale
	if width == 0 {
		width, height = 1180, 800
	}
	if scale == 0 {
		scale = 1
	}
	scheme, language := "light", "en"
	if l.dark {
		scheme = "dark"
	}
	if l.language != "" {
		language = l.language
	}
	b.do(
		emulation.SetDeviceMetricsOverride(width, height, scale, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		emulation.SetFocusEmulationEnabled(true),
		emulation.SetScriptExecutionDisabled(l.noScript),
		network.Enable(),
		network.SetExtraHTTPHeaders(network.Headers{"Accept-Language": language}),
		chromedp.ActionFunc(func(ctx context.Context) error {
			ctx = withBrowser(ctx, chromedp.FromContext(ctx))
			for _, name := range []string{"clipboard-read", "clipboard-write"} {
				p := &browser.PermissionDescriptor{Name: name}
				if err := browser.SetPermission(p, browser.PermissionSettingGranted).Do(ctx); err != nil {
					return err
				}
			}
			return nil
		}),
	)
	t.Cleanup(func() {
		for {
			select {
			case text := <-b.console:
				t.Errorf("got an exception in the page, want none: %s", text)
			default:
				return
			}
		}
	})
	return b
}

// do runs actions, for at most 30 seconds.
func (b *tab) do(actions ...chromedp.Action) {
	b.Helper()
	// The deadline is not on the context that may have to start the browser.
	if err := chromedp.Run(b.ctx); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		where, text := "", ""
		look, cancel := context.WithTimeout(b.ctx, 2*time.Second)
		defer cancel()
		chromedp.Run(look, chromedp.Location(&where), chromedp.Text("body", &text, chromedp.ByQuery))
		b.Fatalf("got %v, want no error; the page is %s:\n%s", err, where, text)
	}
}

// history goes back (-1) or forward (1). The caller waits for the page.
func (b *tab) history(steps int) {
	b.Helper()
	b.do(chromedp.Evaluate(fmt.Sprintf("history.go(%d)", steps), nil), chromedp.Sleep(300*time.Millisecond))
}

// goTo opens an address.
func (b *tab) goTo(url string) {
	b.Helper()
	b.do(chromedp.Navigate(url))
}

// click clicks on what the CSS selector finds.
func (b *tab) click(selector string) {
	b.Helper()
	b.clickOn(`document.querySelector(` + quote(selector) + `)`)
}

// clickOn waits until an element is visible, and clicks on it with the mouse.
func (b *tab) clickOn(element string) {
	b.Helper()
	const at = `(e => { e.scrollIntoView({block: "center", behavior: "instant"}); const r = e.getClientRects()[0]; return [r.x + r.width / 2, r.y + r.height / 2] })`
	b.until(element + `?.checkVisibility()`)
	xy := eval[[2]float64](b, at+"("+element+")")
	b.do(chromedp.MouseClickXY(xy[0], xy[1]))
}

// follow clicks on the link or button with the text, and waits until the
// heading is as given.
func (b *tab) follow(text, heading string) {
	b.Helper()
	b.press(text)
	b.heading(heading)
}

// press clicks on the link or button with the text.
func (b *tab) press(text string) {
	b.Helper()
	b.clickOn(`[...document.querySelectorAll("a, button, summary")].find(e => e.checkVisibility() && e.textContent.trim() === ` + quote(text) + `)`)
}

// heading waits for a page.
func (b *tab) heading(text string) {
	b.Helper()
	b.until(`document.readyState === "complete" && document.querySelector("h1")?.textContent === ` + quote(text))
}

// until waits until a JavaScript expression is true, on this page or on the next one.
func (b *tab) until(expression string) {
	b.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		var is bool
		ctx, cancel := context.WithTimeout(b.ctx, 2*time.Second)
		err := chromedp.Run(ctx, chromedp.Evaluate("!!("+expression+")", &is))
		cancel()
		if is {
			return
		}
		if time.Now().After(deadline) {
			b.do(chromedp.ActionFunc(func(context.Context) error {
				return fmt.Errorf("expression is not true after 20 s (%v): %s", err, expression)
			}))
		}
		time.Sleep(30 * time.Millisecond) // the browser does not notify the test
	}
}

// fill types into the field with the label.
func (b *tab) fill(label, text string) {
	b.Helper()
	field := `[...document.querySelectorAll("label")].find(e => e.textContent === ` + quote(label) + `)?.control`
	b.until(field)
	b.do(chromedp.Evaluate(field+`.select()`, nil), chromedp.KeyEvent(kb.Delete), input.InsertText(text))
}

// text returns the visible text of an element.
func (b *tab) text(selector string) string {
	b.Helper()
	var text string
	b.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	return strings.TrimSpace(text)
}

// eval returns the value of a JavaScript expression.
func eval[V any](b *tab, expression string) V {
	b.Helper()
	var value V
	b.do(chromedp.Evaluate(expression, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}))
	return value
}

// shoot writes a picture of the whole page, if pictures are wanted.
func (b *tab) shoot(name string) {
	b.Helper()
	if *screenshots != "" {
		b.picture(filepath.Join(*screenshots, name+".png"), 100)
	}
}

func (b *tab) picture(path string, quality int) {
	b.Helper()
	var png []byte
	b.do(page.BringToFront(), chromedp.Sleep(200*time.Millisecond), chromedp.FullScreenshot(&png, quality))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o666); err != nil {
		b.Fatal(err)
	}
}
