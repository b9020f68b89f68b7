package console

import (
	"cmp"
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

// The templates call the exported methods of this file.

// T returns a text in the visitor's language. The arguments replace {0}, {1} and so
// on.
func (req *request) T(key string, args ...string) string {
	isolated := make([]string, len(args))
	for i, arg := range args {
		isolated[i] = isolate(arg)
	}
	return req.lang.text(key, isolated)
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
func (req *request) Unicode(domain string) string {
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

// Both returns a domain's name in Unicode, followed by its A-labels if they differ:
// settings of tools need A-labels.
func (req *request) Both(domain string) string {
	if name := req.Unicode(domain); name != domain {
		return isolate(name) + " (" + domain + ")"
	}
	return domain
}

// Root returns the relative address of the console's first page. All links are
// relative, because the console does not know the path that it is mounted at.
func (req *request) Root() string {
	return "./" + strings.Repeat("../", max(0, strings.Count(req.r.URL.EscapedPath(), "/")-1))
}

// Title returns the name of the console.
func (req *request) Title() string {
	if req.site.design.Title == "" {
		return req.T(cmp.Or(req.site.product, "product"))
	}
	return req.site.design.Title
}

// Logo returns the address of the logo. Its type lets html/template accept a data
// URL; the embedder has chosen it.
func (req *request) Logo() template.URL { return template.URL(req.site.design.Logo) }

// Nonce returns the nonce of the Content-Security-Policy, or "".
func (req *request) Nonce() string { return req.nonce }

// Language returns the code of the visitor's language.
func (req *request) Language() string { return req.lang.Code }

// Asset returns the address of a file, with the version of its content.
func (req *request) Asset(name string) string {
	return req.Root() + "assets/" + name + "?v=" + req.site.assets["/assets/"+name].version
}

// Domain returns the address of a domain's page or of one below it.
func (req *request) Domain(name string, more ...string) string {
	return req.Root() + domainPath(name, more...)
}

// User returns the address of a user's page or of one below it.
func (req *request) User(u store.User, more ...string) string {
	return req.Root() + userPath(u, more...)
}

func domainPath(name string, more ...string) string {
	return strings.Join(append([]string{"domains", url.PathEscape(name)}, more...), "/")
}

func userPath(u store.User, more ...string) string {
	return domainPath(u.Domain, append([]string{"users", url.PathEscape(u.Username)}, more...)...)
}

// query returns a query string with the names and values of pairs. It leaves out
// empty values.
func query(pairs ...string) string {
	q := make(url.Values)
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			q.Set(pair[0], pair[1])
		}
	}
	return "?" + q.Encode()
}

// Done returns the notice about what was just done, if a page of this site led to
// the request. A link on another site must not claim that something was deleted.
func (req *request) Done() string {
	if !req.sameOrigin() {
		return ""
	}
	switch done := req.r.URL.Query().Get("done"); done {
	case "domain-added", "domain-deleted", "user-deleted", "renamed", "checked", "key-rotated", "use-txt", "paused", "resumed",
		"user-paused", "user-resumed", "overlap-ended":
		return req.T("done." + done)
	case "retry-mail", "cancel-mail", "mail-busy", "mail-gone":
		return req.T("done." + done)
	case "suppressed", "unsuppressed", "webhook-changed", "webhook-on", "webhook-off", "old-secret-ended", "webhook-deleted":
		return req.T("done." + done)
	}
	return ""
}

// sameOrigin reports whether a page of this origin led to the request, as the
// browser says. Without https, browsers send Referer but not Sec-Fetch-Site.
func (req *request) sameOrigin() bool {
	if site := req.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	from, err := url.Parse(req.r.Referer())
	return err == nil && from.Host != "" && from.Host == req.r.Host
}

// A moment is a time in the forms that pages show.
type moment struct {
	Never                string // the text for the zero time, otherwise ""
	Relative, Exact, ISO string
}

// Moment returns a time for the template "moment".
func (req *request) Moment(t time.Time) moment {
	if t.IsZero() {
		return moment{Never: req.T("never")}
	}
	t = t.In(req.loc)
	return moment{
		Relative: req.relative(time.Since(t), t),
		Exact:    req.Exact(t),
		ISO:      req.ISO(t),
	}
}

// Exactly returns a time that pages show in full, such as one to come.
func (req *request) Exactly(t time.Time) moment {
	m := req.Moment(t)
	m.Relative = m.Exact
	return m
}

// At returns a time whose day and time of day pages show, to the second.
func (req *request) At(t time.Time) moment {
	m := req.Moment(t)
	m.Relative = req.Time(t)
	return m
}

// Stamp returns a time for a hidden field, exactly.
func (req *request) Stamp(t time.Time) string { return t.Format(time.RFC3339Nano) }

// OnDay returns a time to come of which pages show the day.
func (req *request) OnDay(t time.Time) moment {
	m := req.Moment(t)
	m.Relative = t.In(req.loc).Format(time.DateOnly)
	return m
}

// relative returns how long ago a time was. The texts use abbreviations, because
// those need no plural.
func (req *request) relative(ago time.Duration, t time.Time) string {
	const day = 24 * time.Hour
	switch {
	case ago < time.Minute:
		return req.T("ago.now")
	case ago < time.Hour:
		return req.T("ago.minutes", fmt.Sprint(int(ago/time.Minute)))
	case ago < day:
		return req.T("ago.hours", fmt.Sprint(int(ago/time.Hour)))
	case ago < 30*day:
		return req.T("ago.days", fmt.Sprint(int(ago/day)))
	}
	return t.Format(time.DateOnly)
}

// A copyable is a value with a button to copy it.
type copyable struct {
	*request
	ID, Label, Value string
	Secret           bool // whether the value has the password in it
}

// Copyable returns the data for the templates "copy" and "value".
func (req *request) Copyable(id, label, value string) copyable {
	return copyable{req, id, label, value, false}
}

// Secret is like Copyable, for a value that has the password in it.
func (req *request) Secret(id, label, value string) copyable {
	return copyable{req, id, label, value, true}
}
