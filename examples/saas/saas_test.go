package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// These tests are of what the product adds to the console. The test of the whole program,
// with a browser, is in internal/integration/consoletest.

// A site is the pages. Acme has a domain, an SMTP user, and a history of one message.
type site struct {
	*product
	*httptest.Server
	store *memory.Store
	user  store.User
}

func newSite(t *testing.T) *site {
	t.Helper()
	p := &product{accounts: accounts(), sessions: make(map[string]session)}
	s := &site{product: p, store: new(memory.Store)}
	p.wire(s.store, new(memory.Store), outbox(t.TempDir()))
	p.domains.Resolvers = []domains.Resolver{noDNS{}}
	acme := p.creds.Tenant("acme")
	_, err := acme.AddDomain(t.Context(), "shop.example")
	if err != nil {
		t.Fatal(err)
	}
	if s.user, _, err = acme.AddUser(t.Context(), "shop.example", "Web shop"); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := store.Activity{
		Tenant: "acme", Mail: "m1", Domain: "shop.example", Username: s.user.Username, From: "info@shop.example", Recipient: "bob@example.com",
		Subject: "Your order", Received: now, Updated: now, State: store.ActivityHardBounced, Order: 1,
		Reply: store.Reply{Code: 550, Text: "no such user", Host: "mx.example.com"},
	}
	if err := s.store.Apply(t.Context(), nil, store.Changes{Activities: []store.ActivityChange{{Activity: a}}}); err != nil {
		t.Fatal(err)
	}
	if err := p.suppressions.Add(t.Context(), "acme", "carol@example.net", store.SuppressedByPerson, "asked by phone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.webhooks.Add(t.Context(), "acme", "https://hooks.shop.example/", nil); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(p.handler(587, 465))
	t.Cleanup(s.Close)
	t.Cleanup(func() { p.srv.Close() })
	return s
}

// noDNS is a [domains.Resolver] that finds nothing.
type noDNS struct{}

func (noDNS) LookupCNAME(_ context.Context, name string) (string, error) {
	return "", &net.DNSError{IsNotFound: true, Name: name}
}

func (d noDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	_, err := d.LookupCNAME(ctx, name)
	return nil, err
}

// asBrowser sends requests for pages, as browsers do.
type asBrowser struct{}

func (asBrowser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	return http.DefaultTransport.RoundTrip(r)
}

// browser returns a client with cookies, which has signed in unless name is empty.
func (s *site) browser(t *testing.T, name string) *http.Client {
	t.Helper()
	jar, _ := cookiejar.New(nil) // never fails without options
	c := &http.Client{Jar: jar, Transport: asBrowser{}}
	for _, a := range s.accounts {
		if a.Name == name {
			if page := post(t, c, s.URL+"/sign-in", url.Values{"name": {name}, "password": {a.password}}); !strings.Contains(page, "Sign out") {
				t.Fatalf("sign in gets\n%s", page)
			}
		}
	}
	return c
}

func get(t *testing.T, c *http.Client, url string) (status int, page string) {
	t.Helper()
	r, err := c.Get(url)
	return read(t, r, err)
}

func post(t *testing.T, c *http.Client, url string, form url.Values) string {
	t.Helper()
	r, err := c.PostForm(url, form)
	_, page := read(t, r, err)
	return page
}

func read(t *testing.T, r *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(page)
}

// customerPaths are pages of each part, operatorPaths those of operators.
var (
	customerPaths = []string{"/mail/", "/mail/domains/shop.example", "/mail/activity", "/mail/activity/m1", "/mail/statistics", "/mail/suppressions", "/mail/webhooks", "/mail/quota"}
	operatorPaths = []string{"/operator/", "/operator/queue", "/operator/messages/m1"}
)

// Without a session every page leads to the page to sign in.
func TestSignIn(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "")
	wrong := post(t, c, s.URL+"/sign-in", url.Values{"name": {"acme"}, "password": {"wrong"}})
	if !strings.Contains(wrong, "the password is wrong") {
		t.Errorf("a wrong password gets\n%s", wrong)
	}
	for _, path := range append(append([]string{"/"}, customerPaths...), operatorPaths...) {
		if _, page := get(t, c, s.URL+path); !strings.Contains(page, "<h1>Sign in</h1>") {
			t.Errorf("%s without a session gets\n%s", path, page)
		}
	}
	c = s.browser(t, "acme")
	post(t, c, s.URL+"/sign-out", nil)
	if _, page := get(t, c, s.URL+"/mail/activity"); !strings.Contains(page, "<h1>Sign in</h1>") {
		t.Errorf("after signing out it gets\n%s", page)
	}
}

// The cookie is out of reach for scripts and other sites, and for connections without
// TLS if the pages have TLS.
func TestCookie(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		p := &product{withTLS: withTLS}
		c := p.cookie("key", time.Hour)
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != withTLS || strings.HasPrefix(c.Name, "__Host-") != withTLS {
			t.Errorf("with TLS %v the cookie is %v", withTLS, c)
		}
	}
}

// A form that another site sends is refused.
func TestOtherSite(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "acme")
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}} {
		for _, path := range []string{"/sign-in", "/sign-out", "/mail/webhooks/add", "/mail/suppressions", "/operator/pause"} {
			r, err := http.NewRequest("POST", s.URL+path, strings.NewReader("address=bob@example.com"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = header.Clone()
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := c.Do(r)
			if status, _ := read(t, resp, err); status != http.StatusForbidden {
				t.Errorf("%s with %v gets %d, want 403", path, header, status)
			}
		}
	}
}

// The layout marks the part that a page belongs to, and the console has no links of its own.
func TestMenu(t *testing.T) {
	s := newSite(t)
	for name, pages := range map[string]map[string]string{
		"acme": {
			"/mail/domains/shop.example": "Domains", "/mail/activity/m1": "Activity", "/mail/statistics": "Statistics",
			"/mail/suppressions/carol@example.net": "Suppression list", "/mail/webhooks/add": "Webhooks", "/mail/quota": "Quota",
		},
		"operator": {"/operator/": "Overview", "/operator/pause?tenant=acme": "Queue"},
	} {
		c := s.browser(t, name)
		for path, part := range pages {
			status, page := get(t, c, s.URL+path)
			if status != http.StatusOK || strings.Count(page, "aria-current=\"page\"") != 1 || !strings.Contains(page, `aria-current="page">`+part+"</a>") {
				t.Errorf("%s: status %d, want %s marked:\n%s", path, status, part, page)
			}
			if strings.Contains(page, `aria-label="Sections"`) {
				t.Errorf("%s has the console's own links", path)
			}
		}
	}
}

// A customer finds nothing of another one, and changes nothing of it.
func TestOtherCustomer(t *testing.T) {
	s := newSite(t)
	acme, birch := s.browser(t, "acme"), s.browser(t, "birch")
	foreign := []string{"bob@example.com", "carol@example.net", "hooks.shop.example", s.user.Username, "Web shop"}
	seen := ""
	for _, path := range customerPaths {
		_, page := get(t, acme, s.URL+path)
		seen += page
		_, page = get(t, birch, s.URL+path)
		for _, text := range foreign {
			if strings.Contains(page, text) {
				t.Errorf("birch sees %s on %s", text, path)
			}
		}
	}
	for _, text := range foreign {
		if !strings.Contains(seen, text) {
			t.Errorf("acme does not see %s", text)
		}
	}
	for _, path := range []string{"/mail/domains/shop.example", "/mail/activity/m1", "/mail/suppressions/carol@example.net"} {
		if status, _ := get(t, birch, s.URL+path); status != http.StatusNotFound {
			t.Errorf("birch gets %d for %s, want 404", status, path)
		}
	}
	post(t, birch, s.URL+"/mail/suppressions/carol@example.net/remove", nil)
	if _, page := get(t, acme, s.URL+"/mail/suppressions"); !strings.Contains(page, "carol@example.net") {
		t.Errorf("birch has removed an address of acme:\n%s", page)
	}
}

// An operator sees the mail of all customers. Customers do not get there, and an operator
// is no customer.
func TestOperator(t *testing.T) {
	s := newSite(t)
	operator, acme := s.browser(t, "operator"), s.browser(t, "acme")
	if status, page := get(t, operator, s.URL+"/operator/messages/m1"); status != http.StatusOK || !strings.Contains(page, "bob@example.com") {
		t.Errorf("an operator gets %d\n%s", status, page)
	}
	for c, paths := range map[*http.Client][]string{acme: operatorPaths, operator: customerPaths} {
		for _, path := range paths {
			if status, page := get(t, c, s.URL+path); status != http.StatusForbidden || strings.Contains(page, "bob@example.com") {
				t.Errorf("%s: got status %d, want 403\n%s", path, status, page)
			}
		}
	}
}

// The records of a domain are on its page, with what was seen of them, and what is used of
// the month. Times are those of the customer.
func TestDomainPage(t *testing.T) {
	s := newSite(t)
	s.domains.AllowUnverified = false
	c := s.browser(t, "acme")
	page := post(t, c, s.URL+"/mail/domains/shop.example/check", nil)
	zone := time.Now().In(s.accounts[0].zone).Format("MST")
	for _, want := range []string{"_domainkey.shop.example", "v=DKIM1; k=rsa; p=", "missing", "cannot send yet", "0 of 10,000 recipients this month", zone} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// A change is logged with who made it, and without the secret that it made.
func TestAudit(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	s := newSite(t)
	c := s.browser(t, "acme")
	post(t, c, s.URL+"/mail/suppressions", url.Values{"address": {"dave@example.net"}})
	for _, want := range []string{"by=acme", "action=add-suppression", "customer=acme", "object=dave@example.net"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &log)
		}
	}
	page := post(t, c, s.URL+"/mail/webhooks/add", url.Values{"url": {"https://other.shop.example/"}, "key": {"k"}})
	if strings.Count(page, "whsec_") == 0 || strings.Contains(log.String(), "whsec_") {
		t.Errorf("the page lacks the secret, or the log has it:\n%s\n%s", &log, page)
	}
}

// A test message is proposed to the visitor's own address, and is in the queue once
// although the form is sent twice.
func TestTestMessage(t *testing.T) {
	s := newSite(t)
	s.domains.AllowUnverified = true
	c := s.browser(t, "acme")
	path := s.URL + "/mail/domains/shop.example/users/" + s.user.Username + "/test"
	if _, page := get(t, c, path); !strings.Contains(page, `value="owner@acme.example"`) {
		t.Errorf("the form does not propose the visitor's address:\n%s", page)
	}
	for range 2 {
		post(t, c, path, url.Values{"to": {"owner@acme.example"}, "key": {"k"}})
	}
	list, err := s.store.Deliveries(t.Context(), store.Filter{}, store.Page{})
	if err != nil || len(list) != 1 || list[0].Mail.From != "test@shop.example" || list[0].Mail.Username != s.user.Username {
		t.Errorf("the queue has %+v, %v, want one test message", list, err)
	}
	post(t, s.browser(t, "birch"), path, url.Values{"to": {"eve@example.com"}, "key": {"l"}})
	if depth, err := s.store.Depth(t.Context()); err != nil || depth.Deliveries != 1 {
		t.Errorf("after birch used acme's user the queue has %+v, %v, want 1 delivery", depth, err)
	}
}

func TestSuspended(t *testing.T) {
	defer func(before string) { *suspended = before }(*suspended)
	*suspended = "acme"
	var refused *relay.ReplyError
	err := new(product).allowUser(t.Context(), &relay.PolicyRequest{Client: relay.Client{Identity: credentials.Identity{Tenant: "acme"}}})
	if !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("allowUser of a suspended customer: got %v, want 550", err)
	}
}

// The bar of the month has a colour, and is that of the customer.
func TestUsage(t *testing.T) {
	s := newSite(t)
	acme := s.browser(t, "acme")
	shows := func(accepted int64, level, text string) {
		t.Helper()
		used, err := s.limits.Usage(t.Context(), credentials.Identity{Tenant: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		grant := store.Grant{ID: "g", Scope: "month/tenant/acme", Period: used[0].Begin.UTC()}
		if err := s.store.Apply(t.Context(), nil, store.Changes{Charges: []store.Charge{{Grant: grant, N: accepted}}}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/mail/activity", "/mail/quota"} {
			if _, page := get(t, acme, s.URL+path); !strings.Contains(page, "gatepost-quota gatepost-"+level) || !strings.Contains(page, text) {
				t.Errorf("%s does not show %q as %s:\n%s", path, text, level, page)
			}
		}
	}
	shows(7_999, "some", "7,999 of 10,000 recipients this month")
	shows(1, "most", "8,000 of 10,000 recipients this month")
	shows(2_000, "all", "Used up: messages are refused.")
	if _, page := get(t, s.browser(t, "birch"), s.URL+"/mail/activity"); !strings.Contains(page, "0 of 10,000 recipients this month") {
		t.Errorf("another customer sees\n%s", page)
	}
}
