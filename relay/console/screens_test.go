package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
)

func TestAddDomain(t *testing.T) {
	f := newFixture(t)
	r := f.post("", []string{"name", " MyCompany.com. "})
	f.want(r, http.StatusSeeOther)
	if got := r.Header().Get("Location"); got != "./domains/mycompany.com?done=domain-added" {
		t.Errorf("got Location %q, want that of the domain", got)
	}
	f.want(f.get("domains/mycompany.com?done=domain-added", fromHere), 200, `data-gatepost-notice>The domain was added.`)
	for name, want := range sorted(map[string]string{
		"me@mycompany.com": "it is a mail address, not a domain",
		"192.0.2.1":        "it is an IP address",
		"":                 "it is empty",
		"localhost":        "it has only one label",
	}) {
		f.want(f.post("", []string{"name", name}), http.StatusUnprocessableEntity, want, `aria-invalid="true"`, `value="`+name+`"`)
	}
	f.want(f.post("", []string{"name", "mycompany.com"}), http.StatusConflict, "You already have mycompany.com.")
	f.want(f.post("", []string{"name", "rival.example"}), http.StatusConflict, "Someone else has already added rival.example.")
}

func TestDeleteDomain(t *testing.T) {
	f := newFixture(t)
	f.user(f.acme, "acme.example", "one")
	f.user(f.acme, "acme.example", "two")
	const path = "domains/acme.example/delete"
	f.want(f.get(path), 200, "<strong>2</strong>", "cannot be undone")
	f.want(f.post(path, []string{"confirm", "other.example"}), http.StatusUnprocessableEntity, "Nothing was deleted")
	r := f.post(path, []string{"confirm", "ACME.example "})
	f.want(r, http.StatusSeeOther)
	if got := r.Header().Get("Location"); got != "./../../?done=domain-deleted" {
		t.Errorf("got Location %q, want that of the list", got)
	}
	f.want(f.get("?done=domain-deleted", fromHere), 200, "were deleted")
	f.want(f.post(path, []string{"confirm", "acme.example"}), http.StatusNotFound, "may have been deleted")
}

func TestRename(t *testing.T) {
	f := newFixture(t)
	u, p := f.user(f.acme, "acme.example", "shop")
	f.want(f.get(userPath(u)+"/rename"), 200, `value="shop"`)
	f.want(f.post(userPath(u)+"/rename", []string{"name", "a\nb"}), http.StatusUnprocessableEntity, "line break")
	f.want(f.post(userPath(u)+"/rename", []string{"name", "new shop"}), http.StatusSeeOther)
	f.want(f.get("domains/acme.example?done=renamed", fromHere), 200, "new shop", "was renamed")
	if !f.worksFor(u, p.Reveal()) {
		t.Error("got a password that does not work, want one that works")
	}
}

// A long list has a search field and several pages.
func TestLists(t *testing.T) {
	f := newFixture(t)
	for i := range 120 {
		f.user(f.acme, "acme.example", fmt.Sprintf("Shop %03d", i))
	}
	seen := make(map[string]bool)
	next := regexp.MustCompile(`href="(\?[^"]*)" rel="next"`)
	names := regexp.MustCompile(`Shop \d{3}</bdi></a>`)
	path := "domains/acme.example"
	for pages := 1; ; pages++ {
		page := f.get(path)
		f.want(page, 200, `role="search"`)
		for _, name := range names.FindAllString(page.body, -1) {
			seen[name] = true
		}
		link := next.FindStringSubmatch(page.body)
		if link == nil {
			if pages != 3 || len(seen) != 120 {
				t.Errorf("got %d users on %d pages, want 120 on 3", len(seen), pages)
			}
			break
		}
		path = "domains/acme.example" + strings.ReplaceAll(link[1], "&amp;", "&")
	}
	one := f.get("domains/acme.example?search=SHOP+077")
	f.want(one, 200, "Shop 077", `value="SHOP 077"`)
	if found := names.FindAllString(one.body, -1); len(found) != 1 {
		t.Errorf("got %q, want one user", found)
	}
	f.want(f.get("domains/acme.example?search=nothing"), 200, "No results for “nothing”.")
	f.want(f.get("?search=ACME"), 200, "acme.example")
	for _, path := range []string{"", "domains/acme.example"} {
		f.want(f.get(path+"?after=zzz"), 200, "acme.example", "First page") // no cursor
	}
	f.want(f.get("", header("Test-Tenant", "newcomer")), 200, "There are no domains yet.")
	f.want(f.get("?search=%00%ff&after=%ff"), 200)
	if strings.Contains(f.get("", header("Test-Tenant", "rival")).body, `role="search"`) {
		t.Error("got a search field for a list of one domain, want none")
	}
}

// Every link and form of every page has an address that exists, at any path that
// the console is mounted at.
func TestLinks(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	for _, prefix := range []string{"", "/smtp", "/a/b/c"} {
		h := http.StripPrefix(prefix, f.console)
		attribute := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
		for _, path := range []string{"/", "/domains/acme.example", "/" + addPath, "/domains/acme.example/delete", "/" + userPath(u),
			"/" + userPath(u) + "/connection", "/" + userPath(u) + "/pause", "/" + userPath(u) + "/rename", "/" + userPath(u) + "/reset", "/" + userPath(u) + "/delete", "/no/such/page/at/all",
			"/no%2Fsuch/page", "/domains/acme.example%2Fadd", "/domains/acme.example/users/" + u.Username + "%2Freset"} {
			base, err := url.Parse("https://product.example" + prefix + path)
			if err != nil {
				t.Fatal(err)
			}
			page := serve(h, http.MethodGet, base.String(), nil)
			if strings.Contains(path, "%2F") && page.Code != http.StatusNotFound {
				t.Errorf("%s: got status %d, want 404", base, page.Code)
			}
			links := attribute.FindAllStringSubmatch(page.body, -1)
			if len(links) < 4 {
				t.Errorf("%s: got %d links, want at least 4", base, len(links))
			}
			for _, link := range links {
				to := base.ResolveReference(must(url.Parse(strings.ReplaceAll(link[1], "&amp;", "&"))))
				if got := serve(h, http.MethodGet, to.String(), nil); got.Code != 200 {
					t.Errorf("%s: got status %d for the link %s, want 200", base, got.Code, to)
				}
			}
		}
	}
	bare := serve(http.StripPrefix("/smtp", f.console), http.MethodGet, "https://product.example/smtp?x", nil)
	if bare.Code != http.StatusPermanentRedirect || bare.Header().Get("Location") != "./smtp/?x" {
		t.Errorf("without the slash: got status %d and Location %q, want 308 and ./smtp/?x", bare.Code, bare.Header().Get("Location"))
	}
}

func TestAssets(t *testing.T) {
	f := newFixture(t)
	found := regexp.MustCompile(`assets/console\.(?:css|js)\?v=[0-9a-f]+`).FindAllString(f.get("").body, -1)
	if len(found) != 2 {
		t.Fatalf("got %q, want two files", found)
	}
	for _, path := range found {
		r := f.get(path, header("Test-Tenant", "nobody"))
		f.want(r, 200)
		if got := r.Header().Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: got Cache-Control %q, want immutable", path, got)
		}
		f.want(f.get(path, header("If-None-Match", r.Header().Get("ETag"))), http.StatusNotModified)
		f.want(f.get(strings.Split(path, "?")[0]), 200)
		f.want(f.post(path, nil), http.StatusMethodNotAllowed)
	}
}

func TestLayout(t *testing.T) {
	f := newFixture(t)
	f.console.Design.Layout = func(w io.Writer, r *http.Request, p console.Page) error {
		if r.URL.Query().Has("fail") {
			return errors.New("no such template: sidebar.html")
		}
		_, err := fmt.Fprintf(w, "<html lang=%s><title>%s</title>%s<nav>Our product</nav>%s", p.Language, p.Title, p.Head, p.Body)
		return err
	}
	f.console.Design.ContentSecurityPolicy = func(r *http.Request, nonce string) string { return "default-src 'self'" }
	page := f.get("", french)
	f.want(page, 200, "<html lang=fr><title>Domaines – Utilisateurs SMTP</title>", "console.css", "<nav>Our product</nav>", `<div class="gatepost"`)
	if got := page.Header().Get("Content-Security-Policy"); got != "default-src 'self'" {
		t.Errorf("got Content-Security-Policy %q, want that of the Handler", got)
	}
	broken := f.get("?fail")
	f.want(broken, http.StatusInternalServerError)
	if strings.Contains(broken.body, "sidebar") {
		t.Error("got the error of the Layout on the page, want it only in the log")
	}
}

// A Layout may have elements with the ids "name" and "username".
func TestIDsHaveAPrefix(t *testing.T) {
	id := regexp.MustCompile(`\sid="([^"]*)"`)
	reference := regexp.MustCompile(`\s(?:for|aria-labelledby|aria-describedby|data-copy)="([^"]*)"`)
	for _, page := range newFixture(t).pages() {
		ids := make(map[string]bool)
		for _, found := range id.FindAllStringSubmatch(page.body, -1) {
			if !strings.HasPrefix(found[1], "gatepost-") || ids[found[1]] {
				t.Errorf("got the id %q, want a unique one that begins with gatepost-", found[1])
			}
			ids[found[1]] = true
		}
		for _, found := range reference.FindAllStringSubmatch(page.body, -1) {
			for _, to := range strings.Fields(found[1]) {
				if !ids[to] {
					t.Errorf("got %s, want the id of an element:\n%s", found[0], page.body)
				}
			}
		}
	}
}

// Style sheets and scripts of the page around the console have classes and data
// attributes of their own.
func TestClassesHaveAPrefix(t *testing.T) {
	class := regexp.MustCompile(`\sclass="([^"]*)"`)
	data := regexp.MustCompile(`\s(data-[a-z-]+)`)
	for _, page := range newFixture(t).pages() {
		for _, found := range class.FindAllStringSubmatch(page.body, -1) {
			for _, name := range strings.Fields(found[1]) {
				if name != "gatepost" && !strings.HasPrefix(name, "gatepost-") {
					t.Errorf("got the class %q, want one that begins with gatepost", name)
				}
			}
		}
		for _, found := range data.FindAllStringSubmatch(page.body, -1) {
			if !strings.HasPrefix(found[1], "data-gatepost-") {
				t.Errorf("got the attribute %q, want one that begins with data-gatepost", found[1])
			}
		}
	}
}

func TestBranding(t *testing.T) {
	f := newFixture(t)
	f.console.Design.Title, f.console.Design.Logo, f.console.Design.Accent = "Acme <Mail>", "/logo.svg", "#ffcc00"
	f.console.PortSTARTTLS, f.console.PortTLS = -1, 2465
	f.want(f.get(""), 200, "<title>Domains – Acme &lt;Mail&gt;</title>", `<img src="/logo.svg"`)
	f.console.Design.Logo = "data:image/svg+xml;base64,PHN2Zy8+"
	f.want(f.get(""), 200, `<img src="data:image/svg&#43;xml;base64,PHN2Zy8&#43;"`)
	page := f.post(addPath, []string{"name", "x", "key", "k"})
	f.want(page, 201, "smtps://", "2465", "smtp_tls_wrappermode = yes", "secure: true", "EMAIL_USE_SSL = True")
	if strings.Contains(page.body, "587") {
		t.Error("got port 587 on the page, want only ports that are offered")
	}
}

// If only STARTTLS is offered, each text has the option that requires it.
func TestSettingsRequireSTARTTLS(t *testing.T) {
	f := newFixture(t)
	f.console.PortTLS = -1
	page := f.post(addPath, []string{"name", "x", "key", "k"})
	f.want(page, 201, "?require_tls=true", "requireTLS: true", "EMAIL_USE_TLS = True", "tls_starttls on", "smtp.starttls(context=tls)",
		"ENCRYPTION_STARTTLS", "smtp_tls_security_level = secure", "--tls --tls-verify", "Encryption: TLS")
	if strings.Contains(page.body, `id="gatepost-url"`) {
		t.Error("got a URL to copy, want none: no URL makes every tool require STARTTLS")
	}
}

func TestWrongFields(t *testing.T) {
	good := newFixture(t).console
	for name, h := range sorted(map[string]*console.Handler{
		"nothing":     {},
		"no store":    {Credentials: new(credentials.Manager), Tenant: good.Tenant, SMTPHost: "x"},
		"no server":   {Credentials: good.Credentials, Tenant: good.Tenant},
		"no tenant":   {Credentials: good.Credentials, SMTPHost: "x"},
		"no port":     {Credentials: good.Credentials, Tenant: good.Tenant, SMTPHost: "x", PortSTARTTLS: -1, PortTLS: -1},
		"bad colour":  {Credentials: good.Credentials, Tenant: good.Tenant, SMTPHost: "x", Design: console.Design{Accent: "red;}"}},
		"long colour": {Credentials: good.Credentials, Tenant: good.Tenant, SMTPHost: "x", Design: console.Design{Accent: "#12345678"}},
	}) {
		h.Logger = good.Logger
		if got := serve(h, http.MethodGet, "/", nil); got.Code != http.StatusInternalServerError {
			t.Errorf("%s: got status %d, want 500", name, got.Code)
		}
	}
}

// The error of a store is logged and not shown.
func TestStoreError(t *testing.T) {
	f := newFixture(t)
	f.credentials.Store = broken{f.store}
	page := f.get("")
	f.want(page, http.StatusInternalServerError, "Something went wrong")
	if strings.Contains(page.body, "10.0.0.7") || !strings.Contains(f.log.String(), "10.0.0.7") {
		t.Error("got the error on the page or not in the log, want it only in the log")
	}
}

type broken struct{ store.Store }

// An error is logged once.
func TestErrorIsLoggedOnce(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	f.credentials.Store = broken{f.store}
	for path, inputs := range sorted(map[string][]string{
		"":                      {"name", "new.example"},
		addPath:                 {"name", "tool", "key", "k"},
		userPath(u) + "/rename": {"name", "tool"},
	}) {
		f.log.Reset()
		f.want(f.post(path, inputs), http.StatusInternalServerError)
		if n := strings.Count(f.log.String(), "10.0.0.7"); n != 1 {
			t.Errorf("POST %q: got %d log lines, want 1:\n%s", path, n, f.log)
		}
	}
}

// A name confirms a deletion if it is typed as people see it.
func TestDeleteConfirmsTheNameAsSeen(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct{ name, typed string }{
		{"Office  printer", "Office printer"},
		{"Office\u00a0printer", " Office printer "},
		{"Office printer", "Office\u2003\tprinter"},
		{"Cafe\u0301", "Caf\u00e9"},
		{"Caf\u00e9", "Cafe\u0301"},
		{"shop\u200b", "shop"},
		{"sh\u00adop", "shop"},
		{"shop", "\ufeffshop"},
		{"\u2764\ufe0f", "\u2764"},
		{"👩‍👩‍👧", "👩‍👩‍👧"},
	} {
		u, _ := f.user(f.acme, "acme.example", test.name)
		for _, other := range []string{"", "Officeprinter", "Cafe", "SHOP", "\u200b"} {
			f.want(f.post(userPath(u)+"/delete", []string{"confirm", other}), http.StatusUnprocessableEntity)
		}
		if r := f.post(userPath(u)+"/delete", []string{"confirm", test.typed}); r.Code != http.StatusSeeOther {
			t.Errorf("%+q, typed %+q: got status %d, want 303", test.name, test.typed, r.Code)
		}
	}
}

// A rename that succeeded is not an error, even if the user cannot be read
// afterwards.
func TestErrorAfterRename(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	f.credentials.Store = &brokenByRename{Store: f.store}
	f.want(f.post(userPath(u)+"/rename", []string{"name", "new shop"}), http.StatusSeeOther)
	f.credentials.Store = &brokenByRename{Store: f.store}
	r, document := f.call(userPath(u)+"/rename", `{"name":"newer shop"}`)
	f.want(r, http.StatusOK)
	if document["name"] != "newer shop" {
		t.Errorf("got %v, want the new name", document)
	}
}

type brokenByRename struct {
	store.Store
	broken bool
}

func (s *brokenByRename) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	s.broken = true
	return s.Store.RenameUser(ctx, tenant, username, name, sortName)
}

func (s *brokenByRename) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	if s.broken {
		return store.User{}, errors.New("dial tcp 10.0.0.7:5432: connection refused")
	}
	return s.Store.User(ctx, tenant, username)
}
