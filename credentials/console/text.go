package console

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/bidi"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// What follows is called by the templates.

// T returns a text in the visitor's language, with arguments in the places of
// {0}, {1} and so on.
func (v *visit) T(key string, args ...string) string {
	isolated := make([]string, len(args))
	for i, arg := range args {
		isolated[i] = isolate(arg)
	}
	return v.lang.text(key, isolated)
}

// isolate returns a text that does not change the direction of the text around
// it (Unicode Standard Annex 9 section 2.4.2). A text without letters from right
// to left is returned as it is.
func isolate(text string) string {
	for _, r := range text {
		switch properties, _ := bidi.LookupRune(r); properties.Class() {
		case bidi.R, bidi.AL, bidi.AN, bidi.Control, bidi.RLE, bidi.RLO, bidi.RLI, bidi.LRO, bidi.LRE, bidi.LRI, bidi.FSI, bidi.PDF, bidi.PDI:
			return "\u2068" + text + "\u2069"
		}
	}
	return text
}

// Unicode returns a domain's name with its international labels in Unicode.
func (v *visit) Unicode(domain string) string {
	if !strings.Contains(domain, "xn--") {
		return domain
	}
	name, err := idna.Display.ToUnicode(domain)
	if err != nil {
		return domain
	}
	if again, err := credentials.NormalizeDomain(name); err != nil || again != domain {
		return domain
	}
	return name
}

// Both returns a domain's name in Unicode, and in the form that tools take if
// that is another.
func (v *visit) Both(domain string) string {
	if name := v.Unicode(domain); name != domain {
		return isolate(name) + " (" + domain + ")"
	}
	return domain
}

// Root returns the way from this page to the console's first one. Links are
// relative because nobody but the embedder, and perhaps a proxy, knows the
// path that the handler is mounted at.
func (v *visit) Root() string {
	return "./" + strings.Repeat("../", max(0, strings.Count(v.r.URL.EscapedPath(), "/")-1))
}

// Title returns the name of the whole.
func (v *visit) Title() string {
	if v.h.Title == "" {
		return v.T("product")
	}
	return v.h.Title
}

// Logo returns the address of the logo, which the embedder answers for: else
// html/template would refuse a data URL.
func (v *visit) Logo() template.URL { return template.URL(v.h.Logo) }

// Nonce returns the nonce of the Content-Security-Policy, or "".
func (v *visit) Nonce() string { return v.nonce }

// Language returns the code of the visitor's language.
func (v *visit) Language() string { return v.lang.Code }

// Asset returns the address of a file, which changes with its content.
func (v *visit) Asset(name string) string {
	return v.Root() + "assets/" + name + "?v=" + v.h.parts.assets["/assets/"+name].version
}

// Domain returns the address of a domain's page or of one below it.
func (v *visit) Domain(name string, more ...string) string {
	return v.Root() + domainPath(name, more...)
}

// User returns the address of a user's page or of one below it.
func (v *visit) User(u store.User, more ...string) string { return v.Root() + userPath(u, more...) }

func domainPath(name string, more ...string) string {
	return strings.Join(append([]string{"domains", url.PathEscape(name)}, more...), "/")
}

func userPath(u store.User, more ...string) string {
	return domainPath(u.Domain, append([]string{"users", url.PathEscape(u.Username)}, more...)...)
}

// query returns a query string of those of the pairs that have a value.
func query(pairs ...string) string {
	q := make(url.Values)
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	return "?" + q.Encode()
}

// Done returns what was just done, if a form of this site led to the page. A link
// from elsewhere must not claim that something was deleted.
func (v *visit) Done() string {
	if !v.sameOrigin() {
		return ""
	}
	switch done := v.r.URL.Query().Get("done"); done {
	case "domain-added", "domain-deleted", "user-deleted", "renamed":
		return v.T("done." + done)
	}
	return ""
}

// sameOrigin reports whether the browser says that a page of this origin led to
// the request. Browsers send Sec-Fetch-Site over https only.
func (v *visit) sameOrigin() bool {
	if site := v.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	from, err := url.Parse(v.r.Referer())
	return err == nil && from.Host != "" && from.Host == v.r.Host
}

// A moment is a time as pages show it.
type moment struct {
	Never                string // the word, if there was no such moment
	Relative, Exact, ISO string
}

// Moment returns a time for the template of the same name.
func (v *visit) Moment(t time.Time) moment {
	if t.IsZero() {
		return moment{Never: v.T("never")}
	}
	t = t.UTC()
	return moment{
		Relative: v.relative(time.Since(t), t),
		Exact:    t.Format("2006-01-02 15:04:05 UTC"),
		ISO:      t.Format(time.RFC3339),
	}
}

// relative uses abbreviations, which have no plural in any language.
func (v *visit) relative(ago time.Duration, t time.Time) string {
	const day = 24 * time.Hour
	switch {
	case ago < time.Minute:
		return v.T("ago.now")
	case ago < time.Hour:
		return v.T("ago.minutes", fmt.Sprint(int(ago/time.Minute)))
	case ago < day:
		return v.T("ago.hours", fmt.Sprint(int(ago/time.Hour)))
	case ago < 30*day:
		return v.T("ago.days", fmt.Sprint(int(ago/day)))
	}
	return t.Format(time.DateOnly)
}

// A copied is something with a button to copy it.
type copied struct {
	*visit
	ID, Label, Value string
	Secret           bool // holds the password
}

// Copied returns the data for the templates "copy" and "value".
func (v *visit) Copied(id, label, value string) copied { return copied{v, id, label, value, false} }

// Secret is Copied for what holds a password.
func (v *visit) Secret(id, label, value string) copied { return copied{v, id, label, value, true} }
