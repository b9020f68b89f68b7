package console_test

import (
	"net/http"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Domains and users of other tenants get the same response as ones that do not
// exist, byte for byte.
func TestOtherTenantsAre404(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	other, _ := f.user(f.rival, "rival.example", "theirs")
	for _, test := range []struct{ name, theirs, missing string }{
		{"domain", "domains/rival.example", "domains/nothing.example"},
		{"no domain name", "domains/rival.example", "domains/x"},
		{"user", "domains/rival.example/users/" + other.Username, "domains/nothing.example/users/smtpaaaaaaaaaaaaaaaa"},
		{"user under one's own domain", "domains/acme.example/users/" + other.Username, "domains/acme.example/users/smtpaaaaaaaaaaaaaaaa"},
		{"one's own user under another domain", "domains/rival.example/users/" + u.Username, "domains/nothing.example/users/" + u.Username},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, action := range []string{"", "/add", "/delete", "/rename", "/reset"} {
				for name, do := range sorted(map[string]func(path string) response{
					"GET":      func(path string) response { return f.get(path) },
					"GET JSON": func(path string) response { return f.get(path, program) },
					"POST": func(path string) response {
						return f.post(path, []string{"name", "x", "key", "k", "generation", "1", "confirm", "theirs"})
					},
					"POST JSON": func(path string) response { r, _ := f.call(path, `{"name":"x"}`); return r },
				}) {
					theirs, missing := do(test.theirs+action), do(test.missing+action)
					if theirs.Code != missing.Code || withoutNonce(theirs.body) != withoutNonce(missing.body) || len(theirs.Header()) != len(missing.Header()) {
						t.Errorf("%s %s: got status %d for another tenant's, want the response with status %d for one that does not exist", name, action, theirs.Code, missing.Code)
					}
					if theirs.Code < 400 {
						t.Errorf("%s %s: got status %d, want an error", name, action, theirs.Code)
					}
				}
			}
		})
	}
	if got, err := f.rival.User(t.Context(), other.Username); err != nil || !reflect.DeepEqual(got, other) {
		t.Errorf("got %+v (%v), want the other tenant's user as it was", got, err)
	}
}

func withoutNonce(body string) string {
	return regexp.MustCompile(`nonce="[^"]*"`).ReplaceAllString(body, "")
}

func TestOtherSitesAreRefused(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	for name, change := range sorted(map[string]as{
		"cross-site":     header("Sec-Fetch-Site", "cross-site"),
		"same-site":      header("Sec-Fetch-Site", "same-site"),
		"another origin": header("Origin", "https://evil.example"),
		"no origin":      header("Origin", "null"),
	}) {
		r := f.post(userPath(u)+"/delete", []string{"confirm", "shop"}, change)
		f.want(r, http.StatusForbidden, "another site")
		r, problem := f.call("", `{"name":"new.example"}`, change)
		f.want(r, http.StatusForbidden)
		if problem["code"] != "cross-origin" {
			t.Errorf("%s: got %v, want cross-origin", name, problem)
		}
	}
	if len(f.users()) != 1 {
		t.Error("got no user, want the user that a request from another site tried to delete")
	}
	for _, change := range []as{header("Sec-Fetch-Site", "same-origin"), header("Origin", "https://product.example")} {
		f.want(f.post(userPath(u)+"/rename", []string{"name", "x"}, change), http.StatusSeeOther)
	}
}

func TestVisitorWithoutTenant(t *testing.T) {
	f := newFixture(t)
	for _, who := range []string{"nobody", "empty"} {
		for _, path := range []string{"", "domains/acme.example", "nothing"} {
			f.want(f.get(path, header("Test-Tenant", who)), http.StatusForbidden, "Sign in")
			r := f.get(path, header("Test-Tenant", who), program)
			f.want(r, http.StatusForbidden, `"code":"forbidden"`)
		}
	}
	if strings.Contains(f.get("", header("Test-Tenant", "nobody")).body, "session expired") {
		t.Error("got the error of Tenant on the page, want it only in the log")
	}
}

// GET changes nothing, with any query.
func TestGetChangesNothing(t *testing.T) {
	f := newFixture(t)
	u, p := f.user(f.acme, "acme.example", "shop")
	for _, path := range []string{"", "domains/acme.example", addPath, "domains/acme.example/delete",
		userPath(u), userPath(u) + "/rename", userPath(u) + "/reset", userPath(u) + "/delete"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodPut} {
			f.send(method, path+"?name=x&key=k&generation=1&confirm=shop&confirm=acme.example", "", nil)
		}
	}
	users := f.users()
	if len(users) != 1 || users[0].Name != "shop" || !f.worksFor(u, p.Reveal()) {
		t.Errorf("got %+v, want the user as it was", users)
	}
}

func TestHeaders(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	for _, path := range []string{"", "domains/acme.example", addPath, userPath(u), "nothing"} {
		for _, change := range []as{program, french} {
			h := f.get(path, change).Header()
			for name, want := range sorted(map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Accept, Accept-Language, Content-Type",
				"Referrer-Policy": "same-origin",
			}) {
				if got := strings.Join(h.Values(name), ", "); got != want {
					t.Errorf("%s: got %s %q, want %q", path, name, got, want)
				}
			}
			csp := h.Get("Content-Security-Policy")
			if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s: got Content-Security-Policy %q, want one without unsafe sources and framing", path, csp)
			}
			if len(h.Values("Set-Cookie")) > 0 {
				t.Errorf("%s: got a cookie, want none", path)
			}
		}
	}
}

// A page has no inline scripts or styles, and nothing of another host.
func TestPagesStandAlone(t *testing.T) {
	f := newFixture(t)
	inline := regexp.MustCompile(`(?i)\sstyle=|<style|<script[^>]*>[^<]|\son[a-z]+=|(?:src|href|action)="(?:[a-z]+:|/)`)
	for _, page := range f.pages() {
		if found := inline.FindString(page.body); found != "" {
			t.Errorf("got %q on a page, want nothing inline and no other host:\n%s", found, page.body)
		}
	}
}

// A browser that translates a page sends its text to a translation service.
// Elements with translate="no" are left out.
func TestValuesAreNotTranslated(t *testing.T) {
	literal := regexp.MustCompile(`<(?:code|pre)[^>]*>`)
	for _, page := range newFixture(t).pages() {
		for _, tag := range literal.FindAllString(page.body, -1) {
			if !strings.Contains(tag, ` translate="no"`) {
				t.Errorf("got %s, want translate=\"no\"", tag)
			}
		}
	}
}

func TestNamesAreShownAsTyped(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{`<script>alert(1)</script>`, strings.Repeat("🦄", 64), `"><img src=x>`, "{{.}}", "{0}", "日本 مرحبا"} {
		u, _ := f.user(f.acme, "acme.example", name)
		escaped := strings.NewReplacer("<", "&lt;", ">", "&gt;", `"`, "&#34;").Replace(name)
		for _, path := range []string{"domains/acme.example", userPath(u) + "/reset", userPath(u) + "/delete"} {
			page := f.get(path)
			f.want(page, http.StatusOK, ">"+escaped+"<")
			if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<img") {
				t.Errorf("%s: got markup from the name, want text", path)
			}
		}
		f.want(f.post(userPath(u)+"/delete", []string{"confirm", "other"}), http.StatusUnprocessableEntity, "Nothing was deleted")
		f.want(f.post(userPath(u)+"/delete", []string{"confirm", " " + name}), http.StatusSeeOther)
	}
}

func TestBodies(t *testing.T) {
	f := newFixture(t)
	for name, test := range sorted(map[string]struct {
		contentType, body string
		change            as
		status            int
	}{
		"a form to the programs' side": {"application/x-www-form-urlencoded", "name=x.example", program, 415},
		"JSON, HTML wanted":            {"application/json", `{"name":"html.example"}`, header("Accept", "text/html"), 201},
		"no type":                      {"", `{"name":"x.example"}`, program, 415},
		"broken":                       {"application/json", `{"name":`, program, 400},
		"two documents":                {"application/json", `{"name":"x.example"}{}`, program, 400},
		"not an object":                {"application/json", `["x.example"]`, program, 400},
		"a brace too many":             {"application/json", `{"name":"x.example"}}`, program, 400},
		"text after it":                {"application/json", `{"name":"x.example"} x`, program, 400},
		"space after it":               {"application/json", `{"name":"space.example"}` + " \r\n", program, 201},
		"null":                         {"application/json", `null`, program, 400},
		"an object inside":             {"application/json", `{"name":{}}`, program, 400},
		"a number":                     {"application/json", `{"name":17}`, program, 400},
		"no name":                      {"application/json", `{"name":null}`, program, 400},
		"unknown members":              {"application/json", `{"note":{"a":[1]},"name":"note.example","draft":true,"n":17,"nothing":null}`, program, 201},
		"too much space after it":      {"application/json", `{"name":"y.example"}` + strings.Repeat(" ", 70_000), program, 413},
		"too large":                    {"application/json", `{"name":"` + strings.Repeat("x", 70_000) + `"}`, program, 413},
		"nothing":                      {"", "", program, 422},
		"nothing, of a type":           {"application/json", "", program, 422},
		"a large form":                 {"application/x-www-form-urlencoded", "name=" + strings.Repeat("x", 70_000), browser, 413},
	}) {
		r := f.send(http.MethodPost, "", test.contentType, strings.NewReader(test.body), test.change)
		if r.Code != test.status {
			t.Errorf("%s: got status %d, want %d", name, r.Code, test.status)
		}
	}
}

func TestLastConnection(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	f.want(f.get("domains/acme.example"), 200, `<span class="gatepost-quiet">Never</span>`)
	at := time.Now().UTC().Truncate(time.Microsecond)
	for _, test := range []struct {
		ago      time.Duration
		relative string
	}{
		{400 * 24 * time.Hour, at.Add(-400 * 24 * time.Hour).Format(time.DateOnly)}, {29 * 24 * time.Hour, "29 d ago"},
		{5*time.Hour + time.Minute, "5 h ago"}, {59*time.Minute + time.Second, "59 min ago"}, {0, "just now"}, {-time.Minute, "just now"},
	} {
		when := at.Add(-test.ago)
		if err := f.store.RecordLogin(t.Context(), u.Username, 1, when, netip.MustParseAddr("2001:db8::1")); err != nil {
			t.Fatal(err)
		}
		exact := when.Format("2006-01-02 15:04:05 UTC")
		for _, path := range []string{"", "domains/acme.example", userPath(u) + "/reset", userPath(u) + "/delete", "domains/acme.example/delete"} {
			f.want(f.get(path), 200, ">"+test.relative+"</span>", `title="`+exact+`"`, `<span class="gatepost-unseen">`+exact+`</span>`)
		}
		f.want(f.get(userPath(u)), 200, ">"+exact, ">2001:db8::1</code>")
	}
}
