package console_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/console"
)

// fromHere is set by browsers if a page of this site led to the request.
var fromHere = header("Sec-Fetch-Site", "same-origin")

// A handler around the console may have set headers.
func TestHeadersOfTheHost(t *testing.T) {
	f := newFixture(t)
	inside := f.handler
	f.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'nonce-R4nd0m+/=' 'strict-dynamic'")
		w.Header().Set("Vary", "Cookie, Accept")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "public, max-age=60")
		inside.ServeHTTP(w, r)
	})
	page := f.get("")
	f.want(page, 200, `<script nonce="R4nd0m&#43;/="`)
	for name, want := range sorted(map[string]string{
		"Content-Security-Policy": "script-src 'nonce-R4nd0m+/=' 'strict-dynamic'",
		"Vary":                    "Cookie, Accept, Accept-Language, Content-Type",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store", // there may be a password
	}) {
		if got := strings.Join(page.Header().Values(name), ", "); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
}

// Each page has a nonce of its own, which the Layout gets.
func TestNonce(t *testing.T) {
	f := newFixture(t)
	f.console.Design.Layout = func(w io.Writer, r *http.Request, p console.Page) error {
		_, err := fmt.Fprintf(w, "%s<style nonce=%q></style>", p.Head, p.Nonce)
		return err
	}
	seen := make(map[string]bool)
	for range 3 {
		page := f.get("")
		nonce := regexp.MustCompile(`<style nonce="([A-Z0-9]{26})"`).FindStringSubmatch(page.body)
		if nonce == nil || seen[nonce[1]] {
			t.Fatalf("got nonce %q, want a new one:\n%s", nonce, page.body)
		}
		seen[nonce[1]] = true
		policy := page.Header().Get("Content-Security-Policy")
		for _, want := range []string{"style-src 'self' 'nonce-" + nonce[1] + "'", "script-src 'self' 'nonce-" + nonce[1] + "'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("got policy %q, want %q in it", policy, want)
			}
		}
	}
	f = newFixture(t)
	f.console.Design.ContentSecurityPolicy = func(r *http.Request, nonce string) string { return "script-src 'nonce-" + nonce + "'" }
	page := f.get("")
	if got := page.Header().Get("Content-Security-Policy"); !strings.Contains(page.body, `nonce="`+strings.Trim(got[len("script-src 'nonce-"):], "'")) {
		t.Errorf("got policy %q, want the nonce of the page:\n%s", got, page.body)
	}
	if got := f.get("", program).Header().Get("Content-Security-Policy"); got != "default-src 'none'; frame-ancestors 'none'" {
		t.Errorf("got policy %q for JSON, want one that allows nothing", got)
	}
}

func TestTitleIsSafeToPrint(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "<script>alert(1)</script>")
	f.console.Design.Layout = func(w io.Writer, r *http.Request, p console.Page) error {
		_, err := fmt.Fprintf(w, "<title>%s</title>", p.Title)
		return err
	}
	f.want(f.get(userPath(u)), 200, "<title>&lt;script&gt;alert(1)&lt;/script&gt; – SMTP users</title>")
}

func TestTrustedOrigins(t *testing.T) {
	f := newFixture(t)
	f.console.TrustedOrigins = []string{"https://app.example"}
	trusted, _ := f.call("", `{"name":"new.example"}`, header("Origin", "https://app.example"), header("Sec-Fetch-Site", "cross-site"))
	f.want(trusted, http.StatusCreated)
	other, _ := f.call("", `{"name":"newer.example"}`, header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site"))
	f.want(other, http.StatusForbidden)
	f = newFixture(t)
	f.console.TrustedOrigins = []string{"app.example"}
	f.want(f.get(""), http.StatusInternalServerError)
	if !strings.Contains(f.log.String(), "TrustedOrigins") {
		t.Errorf("got log %q, want the field that is wrong", f.log)
	}
}

// A client whose Accept header does not name HTML gets JSON.
func TestClientsWithoutAccept(t *testing.T) {
	f := newFixture(t)
	for _, accept := range []string{"", "*/*", "application/*"} {
		r := f.get("", header("Accept", accept))
		f.want(r, 200, `{"domains":[{"name":"acme.example"`)
		r = f.send(http.MethodPost, "domains/acme.example/add", "application/json", strings.NewReader(`{"name":"shop"}`), header("Accept", accept))
		f.want(r, 201, `"password":"`)
	}
	u := f.users()[0]
	f.want(f.send(http.MethodPost, userPath(u)+"/reset", "", nil, program), 200, `"password":"`)
	f.want(f.send(http.MethodPost, userPath(u)+"/delete", "", nil, program), 204)
	f.want(f.send(http.MethodPost, "domains/acme.example/delete", "", nil, program), 204)
}

func TestLimit(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"", "domains/acme.example"} {
		for limit, status := range sorted(map[string]int{"1": 200, "1000": 200, "1001": 422, "0": 422, "-1": 422, "x": 422, "": 422}) {
			r := f.get(path+"?limit="+limit, program)
			if r.Code != status {
				t.Errorf("limit=%s: got status %d, want %d", limit, r.Code, status)
			}
			if status == 422 {
				f.want(r, 422, `"field":"limit"`, "a number from 1 to 1000")
			}
		}
	}
}

// A repeated request to add a user is told which one it added.
func TestConflictNamesTheUser(t *testing.T) {
	f := newFixture(t)
	key := header("Idempotency-Key", "7f0c")
	_, first := f.call(addPath, `{"name":"shop"}`, key)
	_, again := f.call(addPath, `{"name":"shop"}`, key)
	want := first["user"].(map[string]any)["username"]
	user, ok := again["user"].(map[string]any)
	if !ok || user["username"] != want {
		t.Errorf("got %v, want the user %v", again, want)
	}
	if _, leaked := again["password"]; leaked {
		t.Error("got a password, want none")
	}
}

// The type of a problem is the address of its description.
func TestProblemTypes(t *testing.T) {
	page := string(must(os.ReadFile("../../docs/problems.md")))
	for _, code := range loadAPI(t, newFixture(t).console).Components.Schemas["Problem"].Properties["code"].Enum {
		if !strings.Contains(page, fmt.Sprintf("\n### %s\n", code)) {
			t.Errorf("got no section %s in docs/problems.md, want one", code)
		}
	}
	_, problem := newFixture(t).call("", `{"name":"x"}`)
	if got, want := problem["type"], "https://github.com/gatepost-mail/gatepost/blob/main/docs/problems.md#invalid"; got != want {
		t.Errorf("got type %v, want %v", got, want)
	}
}

func TestTrailingSlash(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	for path, want := range sorted(map[string]string{
		"domains/acme.example/":          "../acme.example",
		"domains/acme.example/?search=x": "../acme.example?search=x",
		addPath + "/":                    "../add",
		userPath(u) + "/":                "../" + u.Username,
		"domains/caf%C3%A9.example/":     "../caf%C3%A9.example",
	}) {
		for _, change := range []as{browser, program} {
			r := f.get(path, change)
			if got := r.Header().Get("Location"); r.Code != http.StatusPermanentRedirect || got != want {
				t.Errorf("%s: got status %d and Location %q, want 308 and %q", path, r.Code, got, want)
			}
		}
	}
	for _, path := range []string{"nothing/", "domains/"} {
		f.want(f.get(path), http.StatusNotFound)
	}
}

// The hint about StripPrefix is logged if the handler is mounted in a way that
// cannot work, but not for a mistyped address.
func TestMisplacedHandler(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		pattern string
		handler http.Handler
		path    string
		hint    bool
	}{
		{"/smtp/", f.console, "/smtp/", true},
		{"GET /smtp/", f.console, "/smtp/domains/acme.example", true},
		{"/smtp/", http.StripPrefix("/smtp/", f.console), "/smtp/", true},
		{"/smtp/", http.StripPrefix("/smtp/", f.console), "/smtp/domains/acme.example", true},
		{"/smtp/", http.StripPrefix("/smtp", f.console), "/smtp/nothing", false},
		{"/smtp/", http.StripPrefix("/smtp", f.console), "/smtp/smtp/", false},
		{"/", f.console, "/nothing", false},
		{"/", f.console, "/nothing/", false},
	} {
		f.log.Reset()
		mux := http.NewServeMux()
		mux.Handle(test.pattern, test.handler)
		r := serve(mux, http.MethodGet, "https://product.example"+test.path, nil)
		if hint := strings.Contains(f.log.String(), "use http.StripPrefix"); r.Code != http.StatusNotFound || hint != test.hint {
			t.Errorf("%s at %q: got status %d and hint %v, want 404 and %v: %s", test.path, test.pattern, r.Code, hint, test.hint, f.log)
		}
	}
}

// A link on another site cannot make a page say that something was done.
func TestDoneIsTrue(t *testing.T) {
	f := newFixture(t)
	const notice = "data-gatepost-notice"
	for name, test := range sorted(map[string]struct {
		change as
		want   bool
	}{
		"typed":                       {header("Sec-Fetch-Site", "none"), false},
		"a link on another site":      {header("Sec-Fetch-Site", "cross-site"), false},
		"a form of the site":          {fromHere, true},
		"without https":               {header("Referer", "https://product.example/admin/smtp/domains/gone.example/delete"), true},
		"another site, without https": {header("Referer", "http://evil.example/"), false},
		"nothing known":               {browser, false},
	}) {
		if got := strings.Contains(f.get("?done=domain-deleted", test.change).body, notice); got != test.want {
			t.Errorf("%s: got a notice %v, want %v", name, got, test.want)
		}
	}
}

// A name from right to left does not move the text around it. A name with
// bidirectional controls is refused.
func TestDirectionOfNames(t *testing.T) {
	f := newFixture(t)
	for _, control := range "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" {
		r := f.post(addPath, []string{"name", "shop" + string(control) + "x", "key", "k"})
		f.want(r, http.StatusUnprocessableEntity, "changes the direction of text")
	}
	u, _ := f.user(f.acme, "acme.example", "متجر")
	f.want(f.get("domains/acme.example"), 200, "<bdi>متجر</bdi>", "Actions for \u2068متجر\u2069")
	f.want(f.get(userPath(u)+"/reset"), 200, "Reset the password of \u2068متجر\u2069", "<bdi>متجر</bdi>")
	f.want(f.get(userPath(u)), 200, "<h1><bdi>متجر</bdi></h1>", "<title>\u2068متجر\u2069 – ")
	f.want(f.post(userPath(u)+"/delete", []string{"confirm", "\u2068متجر\u2069"}), http.StatusSeeOther)
}

// The page around the console may be in another language and direction.
func TestLanguageInsideAPage(t *testing.T) {
	f := newFixture(t)
	f.want(f.get("", french), 200, `<div class="gatepost" lang="fr" dir="ltr"`)
}

func TestInternationalDomains(t *testing.T) {
	f := newFixture(t)
	f.domain(f.acme, "café.example")
	f.want(f.get(""), 200, "<bdi>café.example</bdi>")
	f.want(f.get("?search=CAFÉ"), 200, "<bdi>café.example</bdi>", `value="CAFÉ"`)
	page := f.get("domains/xn--caf-dma.example")
	f.want(page, 200, "<h1>café.example</h1>", "addresses at café.example (xn--caf-dma.example)")
	f.want(f.get("domains/caf%C3%A9.example"), 200, "<h1>café.example</h1>")
	credentials := f.post("domains/xn--caf-dma.example/add", []string{"name", "shop", "key", "k"})
	f.want(credentials, 201, "from an address at café.example (xn--caf-dma.example)", "From Email: wordpress@xn--caf-dma.example", "<bdi>café.example</bdi>")
	f.want(f.post("domains/xn--caf-dma.example/delete", []string{"confirm", "Café.example"}), http.StatusSeeOther)
	document := f.get("", program)
	if strings.Contains(document.body, "café") {
		t.Errorf("got %s, want A-labels in JSON", document.body)
	}
}

func TestCopyButtonsNameWhatTheyCopy(t *testing.T) {
	f := newFixture(t)
	page := f.post(addPath, []string{"name", "shop", "key", "k"})
	f.want(page, 201, `aria-label="Copy port 465"`, `aria-label="Copy port 587"`, `aria-label="Copy username"`)
	page = f.post(addPath, []string{"name", "shop", "key", "other"}, french)
	f.want(page, 201, "aria-label=\"Copier\u00a0: le port 465\"")
}
