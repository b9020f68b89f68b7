package main

import (
	"context"
	"errors"
	"io"
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
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// These tests are of the pages alone. The test of the whole program, with a browser,
// is in internal/integration/consoletest.

// A site is the pages, with a history of one message of acme.
type site struct {
	*product
	*httptest.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	st := new(memory.Store)
	p := &product{customers: customers(), sessions: make(map[string]*session)}
	p.creds = &credentials.Manager{Store: st}
	p.list = &suppress.List{Store: st}
	p.dom = &domains.Manager{Store: st, Domains: st, Resolvers: []domains.Resolver{noDNS{}}}
	p.hist = &history.History{Store: st}
	p.endpoints = &webhook.Manager{Store: st, Sender: new(webhook.Sender)}
	p.hooks = &webhook.Sender{Queue: queue.Queue{Spool: new(memory.Store)}, Endpoints: p.endpoints.Endpoints}
	p.limits = &limits.Limiter{Store: st, Limits: p.plan}
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := store.Activity{
		Tenant: "acme", Mail: "m1", Domain: "acme.example", Username: "u1", From: "shop@acme.example", Recipient: "bob@example.com",
		Subject: "<script>alert(1)</script>", Received: now, Updated: now, State: store.ActivityHardBounced, Order: 1,
		Reply: store.Reply{Code: 550, Text: `<img src=x onerror="alert(1)">`, Host: "mx.example.com"},
	}
	if err := st.Apply(t.Context(), nil, store.Changes{Activities: []store.ActivityChange{{Activity: a}}}); err != nil {
		t.Fatal(err)
	}
	s := &site{p, httptest.NewServer(p.handler(&console.Handler{SMTPHost: hostname}))}
	t.Cleanup(s.Close)
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

// The records of a domain are on its page, with what was seen of them.
func TestDomainPage(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "acme")
	if _, err := s.creds.Tenant("acme").AddDomain(t.Context(), "shop.example"); err != nil {
		t.Fatal(err)
	}
	if _, page := get(t, c, s.URL+"/domains"); !strings.Contains(page, `href="/domains/shop.example"`) || !strings.Contains(page, "unverified") {
		t.Errorf("the list is\n%s", page)
	}
	for _, want := range []string{"._domainkey.shop.example", "v=DKIM1; k=rsa; p=", "not checked", "may not send"} {
		if _, page := get(t, c, s.URL+"/domains/shop.example"); !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if page := post(t, c, s.URL+"/domains/check", url.Values{"name": {"shop.example"}}); !strings.Contains(page, "shop.example is unverified") {
		t.Errorf("Check now gets\n%s", page)
	}
	if _, page := get(t, c, s.URL+"/domains/shop.example"); !strings.Contains(page, "missing; there is no such record yet") {
		t.Errorf("after Check now the page is\n%s", page)
	}
	if status, _ := get(t, s.browser(t, "birch"), s.URL+"/domains/shop.example"); status != http.StatusNotFound {
		t.Errorf("another customer gets %d, want 404", status)
	}
}

// browser returns a client with cookies, which has signed in unless customer is empty.
func (s *site) browser(t *testing.T, customer string) *http.Client {
	t.Helper()
	jar, _ := cookiejar.New(nil) // never fails without options
	c := &http.Client{Jar: jar}
	for _, known := range s.customers {
		if string(known.ID) == customer {
			page := post(t, c, s.URL+"/sign-in", url.Values{"customer": {customer}, "password": {known.password}})
			if !strings.Contains(page, "<h1>Activity</h1>") {
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

var paths = []string{"/", "/activity", "/activity/m1", "/statistics", "/test", "/webhook", "/suppressions", "/domains", "/domains/shop.example", "/users/"}

// Without a session every page leads to the page to sign in.
func TestSignIn(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "")
	wrong := post(t, c, s.URL+"/sign-in", url.Values{"customer": {"acme"}, "password": {"wrong"}})
	if !strings.Contains(wrong, "the password is wrong") {
		t.Errorf("a wrong password gets\n%s", wrong)
	}
	for _, path := range paths {
		if _, page := get(t, c, s.URL+path); !strings.Contains(page, "<h1>Sign in</h1>") {
			t.Errorf("%s without a session gets\n%s", path, page)
		}
	}
	c = s.browser(t, "acme")
	post(t, c, s.URL+"/sign-out", nil)
	if _, page := get(t, c, s.URL+"/activity"); !strings.Contains(page, "<h1>Sign in</h1>") {
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
		for _, path := range []string{"/sign-in", "/sign-out", "/webhook", "/suppressions", "/suppressions/remove"} {
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

// Subjects and replies come from strangers. The pages show them as text.
func TestEscapes(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "acme")
	for _, path := range []string{"/activity", "/activity/m1", "/activity?q=%22%3E%3Cscript%3E"} {
		status, page := get(t, c, s.URL+path)
		if status != http.StatusOK || strings.Contains(page, "<script") || strings.Contains(page, "<img") {
			t.Errorf("%s: status %d\n%s", path, status, page)
		}
	}
	if _, page := get(t, c, s.URL+"/activity"); !strings.Contains(page, "mx.example.com replied: 550 &lt;img") {
		t.Errorf("the page lacks the reply:\n%s", page)
	}
}

// A customer finds nothing of another one.
func TestOtherCustomer(t *testing.T) {
	s := newSite(t)
	acme, birch := s.browser(t, "acme"), s.browser(t, "birch")
	post(t, acme, s.URL+"/suppressions", url.Values{"address": {"carol@example.net"}})
	post(t, acme, s.URL+"/webhook", url.Values{"url": {"https://hooks.acme.example/"}})
	for _, path := range paths {
		_, page := get(t, birch, s.URL+path)
		for _, foreign := range []string{"bob@example.com", "carol@example.net", "acme.example"} {
			if strings.Contains(page, foreign) {
				t.Errorf("birch sees %s on %s", foreign, path)
			}
		}
	}
	if status, _ := get(t, birch, s.URL+"/activity/m1"); status != http.StatusNotFound {
		t.Errorf("the message of acme gets %d, want 404", status)
	}
	post(t, birch, s.URL+"/suppressions/remove", url.Values{"address": {"carol@example.net"}})
	post(t, birch, s.URL+"/webhook/remove", nil)
	for path, want := range map[string]string{"/suppressions": "carol@example.net", "/webhook": "https://hooks.acme.example/"} {
		if _, page := get(t, acme, s.URL+path); !strings.Contains(page, want) {
			t.Errorf("%s of acme has lost %s", path, want)
		}
	}
}

// A secret is on one page, once. Typing mistakes are explained.
func TestForms(t *testing.T) {
	s := newSite(t)
	c := s.browser(t, "acme")
	if page := post(t, c, s.URL+"/webhook", url.Values{"url": {"http://hooks.acme.example/"}}); !strings.Contains(page, "does not begin with https://") {
		t.Errorf("an address without TLS gets\n%s", page)
	}
	if page := post(t, c, s.URL+"/webhook", url.Values{"url": {"https://hooks.acme.example/"}}); strings.Count(page, "whsec_") != 1 {
		t.Errorf("the page lacks the secret:\n%s", page)
	}
	if _, page := get(t, c, s.URL+"/webhook"); strings.Contains(page, "whsec_") {
		t.Errorf("the page shows the secret again:\n%s", page)
	}
	if page := post(t, c, s.URL+"/suppressions", url.Values{"address": {"bob"}}); !strings.Contains(page, "an address looks like") {
		t.Errorf("a word that is not an address gets\n%s", page)
	}
	if page := post(t, c, s.URL+"/suppressions/remove", url.Values{"address": {"dave@example.net"}}); !strings.Contains(page, "There is nothing here") {
		t.Errorf("removing an unknown address gets\n%s", page)
	}
}

// Each page has a bar of what is used, with its colour.
func TestSuspended(t *testing.T) {
	defer func(before string) { *suspended = before }(*suspended)
	*suspended = "acme"
	var refused *relay.ReplyError
	err := new(product).allowUser(t.Context(), &relay.PolicyRequest{Client: relay.Client{Identity: credentials.Identity{Tenant: "acme"}}})
	if !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("allowUser of a suspended customer: got %v, want 550", err)
	}
}

func TestUsage(t *testing.T) {
	s := newSite(t)
	acme := s.browser(t, "acme")
	st := s.limits.Store.(*memory.Store)
	shows := func(accepted int64, class, text string) {
		t.Helper()
		grant := store.Grant{ID: "g", Scope: "month/tenant/acme"}
		used, err := s.limits.Usage(t.Context(), credentials.Identity{Tenant: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		grant.Period = used[0].Begin.UTC()
		if err := st.Apply(t.Context(), nil, store.Changes{Charges: []store.Charge{{Grant: grant, N: accepted}}}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/activity", "/statistics"} {
			if _, page := get(t, acme, s.URL+path); !strings.Contains(page, `<section class="usage `+class+`"`) || !strings.Contains(page, text) {
				t.Errorf("%s does not show %q as %s:\n%s", path, text, class, page)
			}
		}
	}
	shows(7_999, "some", "7999 of 10000 recipients used. The next month begins on 1 ")
	shows(1, "most", "8000 of 10000 recipients used.")
	shows(2_000, "all", "10000 of 10000 recipients used: no more mail is accepted.")
	if _, page := get(t, s.browser(t, "birch"), s.URL+"/activity"); !strings.Contains(page, "0 of 10000 recipients used.") {
		t.Errorf("another customer sees\n%s", page)
	}
}
