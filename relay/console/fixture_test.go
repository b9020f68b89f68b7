package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A fixture is a console, mounted at /admin/smtp/, with two tenants, acme and rival.
// Visitors are of acme unless the header Test-Tenant names another tenant.
type fixture struct {
	*testing.T
	store       store.Store
	credentials *credentials.Manager
	console     *console.Handler
	handler     http.Handler
	log         *bytes.Buffer
	acme, rival credentials.Tenant
}

const mount = "/admin/smtp/"

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, store: new(memory.Store), log: new(bytes.Buffer)}
	f.credentials = &credentials.Manager{
		Store: f.store, Cost: credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	f.console = &console.Handler{
		Credentials: f.credentials,
		Tenant: func(r *http.Request) (store.TenantID, error) {
			switch who := r.Header.Get("Test-Tenant"); who {
			case "":
				return "acme", nil
			case "nobody":
				return "", errors.New("session expired")
			case "empty":
				return "", nil
			default:
				return store.TenantID(who), nil
			}
		},
		SMTPHost: "smtp.example.com",
		Logger:   slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	mux := http.NewServeMux()
	mux.Handle(mount, http.StripPrefix(strings.TrimSuffix(mount, "/"), f.console))
	f.handler = mux
	f.acme, f.rival = f.credentials.Tenant("acme"), f.credentials.Tenant("rival")
	f.domain(f.acme, "acme.example")
	f.domain(f.rival, "rival.example")
	return f
}

// complete sets the fields of every part.
func (f *fixture) complete() {
	f.withDNS()
	f.withSuppressions()
	f.withWebhooks()
	f.withHistory()
	f.withLimits(limits.Limit{Max: 10_000})
}

func (f *fixture) domain(tenant credentials.Tenant, name string) {
	f.Helper()
	if _, err := tenant.AddDomain(f.Context(), name); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) user(tenant credentials.Tenant, domain, name string) (store.User, credentials.Password) {
	f.Helper()
	u, p, err := tenant.AddUser(f.Context(), domain, name)
	if err != nil {
		f.Fatal(err)
	}
	return u, p
}

// users returns acme's users of acme.example.
func (f *fixture) users() []store.User {
	f.Helper()
	list, _, err := f.acme.Users(f.Context(), "acme.example", pageOfAll)
	if err != nil {
		f.Fatal(err)
	}
	return list
}

func (f *fixture) worksFor(u store.User, password string) bool {
	_, err := f.credentials.Authenticate(context.Background(), u.Username, credentials.NewPassword(password), netip.MustParseAddr("192.0.2.1"))
	return err == nil
}

// A response is a recorded response with its body.
type response struct {
	*httptest.ResponseRecorder
	body string
}

// as changes a request before it is sent.
type as func(*http.Request)

func header(name, value string) as { return func(r *http.Request) { r.Header.Set(name, value) } }

var (
	program = header("Accept", "application/json")
	browser = header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	french  = header("Accept-Language", "fr-CA, fr;q=0.9, en;q=0.5")
)

func (f *fixture) send(method, path, contentType string, body io.Reader, changes ...as) response {
	f.Helper()
	r := httptest.NewRequest(method, "https://product.example"+mount+path, body)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	browser(r)
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return response{w, w.Body.String()}
}

func (f *fixture) get(path string, changes ...as) response {
	f.Helper()
	return f.send(http.MethodGet, path, "", nil, changes...)
}

// post sends a form: name, value and so on.
func (f *fixture) post(path string, pairs []string, changes ...as) response {
	f.Helper()
	form := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return f.send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), changes...)
}

// call sends JSON and returns the JSON of the response.
func (f *fixture) call(path, body string, changes ...as) (response, map[string]any) {
	f.Helper()
	r := f.send(http.MethodPost, path, "application/json", strings.NewReader(body), append([]as{program}, changes...)...)
	var document map[string]any
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &document); err != nil {
			f.Fatalf("got body %q, want JSON: %v", r.body, err)
		}
	}
	return r, document
}

// want checks the status and parts of the body.
func (f *fixture) want(r response, status int, parts ...string) {
	f.Helper()
	if r.Code != status {
		f.Errorf("got status %d, want %d:\n%s", r.Code, status, r.body)
	}
	for _, part := range parts {
		if !strings.Contains(r.body, part) {
			f.Errorf("got no %q, want it:\n%s", part, r.body)
		}
	}
}

// pages returns each kind of page, with one user.
func (f *fixture) pages() []response {
	f.Helper()
	u, _ := f.user(f.acme, "acme.example", "shop")
	return []response{f.get(""), f.get("?search=acme"), f.get("domains/acme.example"), f.get(addPath), f.get("domains/acme.example/delete"), f.get(userPath(u)),
		f.get(userPath(u) + "/connection"), f.get(userPath(u) + "/pause"), f.get(userPath(u) + "/rename"), f.get(userPath(u) + "/reset"), f.get(userPath(u) + "/delete"), f.get("nothing"),
		f.post("", []string{"name", "x"}), f.post(addPath, []string{"key", "k"}), f.post(userPath(u)+"/rename", nil), f.post(userPath(u)+"/delete", nil),
		f.post(addPath, []string{"name", "WordPress", "key", "k"})}
}

// hidden returns the value of a form's hidden field.
func (f *fixture) hidden(page response, name string) string {
	f.Helper()
	found := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(page.body)
	if found == nil {
		f.Fatalf("got no hidden field %s, want one:\n%s", name, page.body)
	}
	return found[1]
}

// passwordIn returns the password that a page shows, or "".
func passwordIn(page response) string {
	found := regexp.MustCompile(`<code id="gatepost-password"[^>]* data-gatepost-secret>([^<]+)<`).FindStringSubmatch(page.body)
	if found == nil {
		return ""
	}
	return found[1]
}

// serve sends a request to a handler.
func serve(h http.Handler, method, target string, body io.Reader) response {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, body)
	browser(r)
	h.ServeHTTP(w, r)
	return response{w, w.Body.String()}
}

func must[V any](value V, err error) V {
	if err != nil {
		panic(err)
	}
	return value
}

var errAway = errors.New("dial tcp 10.0.0.7:5432: connection refused")

func (broken) Domains(context.Context, store.TenantID, store.Query) ([]store.Domain, store.Found, error) {
	return nil, store.Found{}, errAway
}
func (broken) AddDomain(context.Context, store.Domain, int) error     { return errAway }
func (broken) AddUser(context.Context, store.User, string, int) error { return errAway }
func (broken) RenameUser(context.Context, store.TenantID, string, string, string) error {
	return errAway
}

// sorted ranges over a table in the order of its keys.
func sorted[V any](table map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(table)) {
			if !yield(key, table[key]) {
				return
			}
		}
	}
}

// pageOfAll is a page that has every entry of a test.
var pageOfAll = store.Query{Limit: 10_000}
