package consoletest_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// A host is a page that a product puts the console into.
type host struct {
	name  string
	style func(t *testing.T) string // the style sheet

	// html has the attributes of the html element, with which a page chooses
	// light or dark.
	html func(dark bool) string

	// classes are the classes of the element around the console.
	classes string
}

func theme(attribute string) func(bool) string {
	return func(dark bool) string {
		if dark {
			return attribute + `="dark"`
		}
		return attribute + `="light"`
	}
}

func noTheme(bool) string { return "" }

func npm(path string) func(*testing.T) string {
	return func(t *testing.T) string { return npmFile(t, path) }
}

func css(text string) func(*testing.T) string { return func(*testing.T) string { return text } }

// worst combines rules that real pages have: a reset, a small root font, styles of
// elements below an ID, and classes and data attributes with common names.
const worst = `
html { font-size: 62.5% } body { font-size: 1.6rem }
* { margin: 0; padding: 0; border: 0; outline: 0; list-style: none }
a { color: inherit; text-decoration: none }
#content h1, #content h2 { font: italic 900 40px/1 serif; text-transform: uppercase; letter-spacing: 4px; border-bottom: 3px double red }
#content a, main#content p a { color: yellow; font-weight: 900; border-bottom: 1px dotted }
#content button, main#content form button { all: unset; float: right; background: yellow; color: white; width: 100%; box-shadow: 0 0 9px red }
#content input, main#content form input { appearance: none; width: 3em; height: 90px; border: 5px solid red; background: pink; opacity: .3 }
#content table, #content td, #content th { display: block; border: 4px solid; padding: 30px; background: pink }
#content ul li, #content ol li { list-style: square; margin-left: 60px; float: left }
#content dl dt, #content dl dd { float: left; width: 40%; clear: left }
#content pre, #content code { background: black; color: black; font-size: 40px; white-space: normal }
#content details summary { list-style: none; font-weight: 900 }
#content details summary::after { content: "+"; float: right }
#content summary::before, #content button::before, #content li::before, #content td::before { content: "x"; display: block }
#content svg { width: 100%; height: auto; fill: red }
#content dialog { position: static; width: 100%; opacity: .2 }
#content label, #content p, #content div, #content span, #content section, #content nav { display: flex; transform: rotate(1deg); font-weight: 100 }
#content [hidden] { display: block }
#content input::placeholder { color: white; font-size: 4px }
.toast, .menu, .list, .notice, .button, .field, .search, .value, .copy, .hint, .once, .done, .name, .users, .lead { display: none; color: white }
[data-copy], [data-label], [data-status], [data-secret] { display: none }
`

var hosts = []host{
	{"bootstrap", npm("bootstrap/dist/css/bootstrap.min.css"), theme("data-bs-theme"), "container py-4"},
	{"tailwind", tailwind, noTheme, "mx-auto p-6"},
	{"pico", npm("@picocss/pico/css/pico.min.css"), theme("data-theme"), "container"},
	{"bulma", npm("bulma/css/bulma.min.css"), theme("data-theme"), "container content section"},
	{"reset", css("* { margin: 0; padding: 0; box-sizing: border-box }\nbody { font: 16px/1.4 sans-serif; color: #333; background: #fff }\nmain { padding: 24px; max-width: 960px }\na { color: inherit; text-decoration: none }\nul, ol { list-style: none }\nbutton, input { font: inherit; border: 0; background: none }\n"), noTheme, ""},
	{"light only", css(":root { color-scheme: light }\nbody { margin: 2em; color: #222; background: #fff }"), noTheme, ""},
	{"dark only", css("body { margin: 2em; color: #ddd; background: #111 }"), noTheme, ""}, // without color-scheme
	{"worst", css(worst), noTheme, ""},
}

// tailwind returns Tailwind's theme and preflight, in their layers, and the page
// of a product that has a dark mode.
func tailwind(t *testing.T) string {
	return "@layer theme, base;\n@layer theme {\n" + strings.ReplaceAll(npmFile(t, "tailwindcss/theme.css"), "@theme default", ":root") +
		"}\n@layer base {\n" + strings.ReplaceAll(npmFile(t, "tailwindcss/preflight.css"), "--theme(", "var(") + `}
		main { max-width: 60rem; margin: 0 auto; padding: 1.5rem }
		@media (prefers-color-scheme: dark) { :root { color-scheme: dark } body { background: #0f172a; color: #e2e8f0 } }`
}

// startIn starts a product that shows the console inside the page of a host.
func startIn(t *testing.T, h host, dark bool, extra string, set ...func(*relaytest.Relay, *console.Handler)) product {
	t.Helper()
	r := relaytest.NewRelay(t)
	handler := &console.Handler{
		Credentials:  r.Credentials,
		Tenant:       func(*http.Request) (store.TenantID, error) { return r.Tenant, nil },
		SMTPHost:     "localhost",
		PortSTARTTLS: portOf(t, r.Addr),
		PortTLS:      portOf(t, r.AddrTLS),
		Design:       console.Design{Layout: h.layout(t, dark, extra)},
	}
	for _, f := range set {
		f(r, handler)
	}
	server := httptest.NewServer(http.StripPrefix("/admin/smtp", handler))
	t.Cleanup(server.Close)
	return product{r, server.URL + "/admin/smtp/"}
}

// layout returns the page of a host, with extra rules.
func (h host) layout(t *testing.T, dark bool, extra string) func(io.Writer, *http.Request, console.Page) error {
	t.Helper()
	style := h.style(t) + extra
	return func(w io.Writer, _ *http.Request, p console.Page) error {
		_, err := fmt.Fprintf(w, `<!doctype html><html lang="%s" %s><head><meta charset="utf-8"><title>%s</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="%s">%s</style>%s</head>
<body><nav><a href="/">Home</a> <a href="#menu">Menu</a> <a href="mailto:help@product.example">Help</a>
<a href="/manual" target="_blank">Manual</a></nav><div id="menu" class="toast">The page's own</div>
<main id="content" class="%s">%s</main></body></html>`, p.Language, h.html(dark), p.Title, p.Nonce, style, p.Head, h.classes, p.Body)
		return err
	}
}

// TestHosts shows the console inside pages with common style sheets, in light and in
// dark. axe-core must find no violation.
func TestHosts(t *testing.T) {
	services.OnlyLong(t)
	browser, all := open(t, look{}), newWhole(t)
	for _, h := range hosts {
		for _, dark := range []bool{false, true} {
			name := h.name + " light"
			if dark {
				name = h.name + " dark"
			}
			t.Run(name, func(t *testing.T) {
				if h.name == "worst" {
					t.Skip("its own text cannot be read; see TestHostsDoNotChangeTheConsole")
				}
				b := browser.in(t, look{dark: dark, width: 1000, height: 800})
				p := startIn(t, h, dark, "")
				see := func(screen string) {
					t.Helper()
					b.axe(screen, `document.querySelector(".gatepost")`)
					b.shoot("host-" + strings.ReplaceAll(name, " ", "-") + "-" + screen)
				}
				b.walk(p, see)
				if h.name == "bootstrap" || h.name == "tailwind" {
					all.walk(b, startIn(t, h, dark, "", all.set), see)
					o := operate(t, func(o *console.Operator) { o.Design.Layout = h.layout(t, dark, "") })
					o.looksRight(b, see)
				}
			})
		}
	}
}

// walk shows the main screens: a list with an open menu, a form with an error,
// a password with texts open, a status line, and the question before leaving.
func (b *tab) walk(p product, see func(screen string)) {
	b.Helper()
	b.goTo(p.url)
	b.fill("Add a domain", "info@shop.example")
	b.press("Add domain")
	b.until(`document.querySelector(".gatepost-error")`)
	see("1-domains")
	b.goTo(p.url + "domains/" + p.Domain)
	b.heading(p.Domain)
	b.click(".gatepost-menu summary")
	see("2-domain")
	b.goTo(p.url + "domains/" + p.Domain + "/users/" + p.Username + "/delete")
	see("3-delete")
	b.showPassword(p)
	b.press("Symfony (.env)")
	b.do(chromedp.Evaluate(`document.querySelector(".gatepost-toast").textContent = "Copied: username"`, nil))
	see("4-credentials")
	b.click(".gatepost-crumbs a")
	b.until(`document.querySelector(".gatepost-ask").open`)
	see("5-leave")
}

// fixed sets the width and the inherited text styles of the element around the
// console, which the console takes from the page on purpose. Any other difference
// between two hosts is an error.
const fixed = `
html, body { font-size: 16px !important; color-scheme: light !important }
#content { display: block !important; box-sizing: border-box !important; width: 900px !important; max-width: none !important; margin: 0 !important; padding: 20px !important;
	border: 0 !important; color: #222 !important; background: #fff !important; font: 16px/1.5 "Noto Sans" !important; position: static !important; text-underline-offset: auto !important; list-style: disc !important; -webkit-font-smoothing: auto !important }
* { font-feature-settings: normal !important; font-variation-settings: normal !important; tab-size: 8 !important;
	text-rendering: auto !important; text-size-adjust: none !important; transition: none !important; cursor: auto !important }
*::before { animation: none !important }
`

// computed is a script that returns the computed style of each element of the
// console and of its pseudo-elements, one line for each.
const computed = `document.activeElement.blur(), [...document.querySelectorAll(".gatepost, .gatepost *")].filter(e => !(e instanceof SVGElement && !(e instanceof SVGSVGElement))).flatMap((e, i) =>
	["", "::before", "::after", "::placeholder", "::marker"].map(pseudo => {
		const style = getComputedStyle(e, pseudo || null);
		if (pseudo && pseudo !== "::placeholder" && pseudo !== "::marker" && style.content === "none") return "";
		const all = [...style].filter(name => !name.startsWith("--") && !/^(perspective|transform)-origin$|^(inset-.*|top|bottom|left|right)$|-webkit-tap/.test(name))
			.map(name => name + ": " + style.getPropertyValue(name).replace(/-?\d+\.\d+/g, n => (+n).toFixed(1)));
		return i + " " + e.localName + "." + e.className + pseudo + " {" + all.join("; ") + "}";
	})).filter(Boolean)`

// TestHostsDoNotChangeTheConsole compares the computed style of every element of
// the console inside each host with that inside a page without a style sheet.
func TestHostsDoNotChangeTheConsole(t *testing.T) {
	b := open(t, look{width: 1000, height: 800})
	all := newWhole(t)
	wants := styles(t, b, all, host{"bare", css(""), noTheme, ""})
	for _, h := range hosts {
		if h.name == "reset" || strings.HasSuffix(h.name, "only") {
			continue // no rule that another host lacks
		}
		t.Run(h.name, func(t *testing.T) {
			gots := styles(t, b, all, h)
			for _, screen := range slices.Sorted(maps.Keys(wants)) {
				got, want := gots[screen], wants[screen]
				if len(got) != len(want) {
					t.Fatalf("%s: got %d elements and pseudo-elements, want %d", screen, len(got), len(want))
				}
				seen := make(map[string]bool) // the same difference is reported once
				for i := range want {
					if d := difference(got[i], want[i]); d != "" && !seen[d] {
						seen[d] = true
						name, _, _ := strings.Cut(want[i], "{")
						t.Errorf("%s: element %s: got %s, want the style inside a page without a style sheet", screen, name, d)
					}
				}
			}
		})
	}
}

// styles returns the computed styles on each screen.
func styles(t *testing.T, b *tab, whole *wholeConsole, h host) map[string][]string {
	t.Helper()
	b = b.in(t, look{width: 1000, height: 800})
	all := make(map[string][]string)
	see := func(screen string) {
		b.do(chromedp.Evaluate(`scrollTo(0, 0)`, nil), chromedp.MouseEvent(input.MouseMoved, 1, 1))
		all[screen] = eval[[]string](b, computed)
	}
	b.walk(startIn(t, h, false, fixed), see)
	if services.Long() {
		whole.walk(b, startIn(t, h, false, fixed, whole.set), see)
	}
	return all
}

// difference returns the properties that differ, or "".
func difference(got, want string) string {
	if got == want {
		return ""
	}
	wants := strings.Split(want, "; ")
	return strings.Join(slices.DeleteFunc(strings.Split(got, "; "), func(property string) bool {
		return slices.Contains(wants, property)
	}), "; ")
}
