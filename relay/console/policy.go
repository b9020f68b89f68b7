package console

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// defaultPolicy is the Content-Security-Policy of pages; the nonce is inserted.
const defaultPolicy = "default-src 'none'; style-src 'self' 'nonce-%[1]s'; script-src 'self' 'nonce-%[1]s'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// jsonPolicy is the Content-Security-Policy of JSON, which needs nothing.
const jsonPolicy = "default-src 'none'; frame-ancestors 'none'"

// nonceSource matches a nonce in a Content-Security-Policy (CSP 3 section 2.3.1).
var nonceSource = regexp.MustCompile(`'nonce-([A-Za-z0-9+/_-]+={0,2})'`)

// policy returns the nonce of a response and its Content-Security-Policy. If a
// handler around the console has set the header, the policy is "". The nonce is
// then the one in that header, or "" if it has none.
func (d *Design) policy(w http.ResponseWriter, r *http.Request) (nonce, policy string) {
	if set := w.Header().Values("Content-Security-Policy"); len(set) > 0 {
		if found := nonceSource.FindStringSubmatch(strings.Join(set, ", ")); found != nil {
			nonce = found[1]
		}
		return nonce, ""
	}
	nonce = rand.Text()
	if d.ContentSecurityPolicy != nil {
		return nonce, d.ContentSecurityPolicy(r, nonce)
	}
	return nonce, fmt.Sprintf(defaultPolicy, nonce)
}

// header sets the headers of every response. Headers that protect passwords
// replace those that a handler around the console has set; others do not.
func (req *request) header() http.Header {
	header := req.w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	addVary(header, "Accept", "Accept-Language", "Content-Type")
	if header.Get("Referrer-Policy") == "" {
		header.Set("Referrer-Policy", "same-origin")
	}
	if req.policy != "" {
		header.Set("Content-Security-Policy", req.policy)
	}
	return header
}

// addVary adds names to the Vary header, unless it has them.
func addVary(header http.Header, names ...string) {
	has := make(map[string]bool)
	for _, name := range strings.Split(strings.Join(header.Values("Vary"), ","), ",") {
		has[strings.ToLower(strings.TrimSpace(name))] = true
	}
	for _, name := range names {
		if !has[strings.ToLower(name)] && !has["*"] {
			header.Add("Vary", name)
		}
	}
}
