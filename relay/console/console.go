package console

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A Handler serves the console. Set its fields before the first request and do not
// change them afterwards. If a required field is missing or a field is wrong, every
// response has status 500 and the Logger gets the reason. A Handler is safe for
// concurrent use.
type Handler struct {
	// Credentials is the Manager of the relay. Because both use the same one,
	// a reset in the console ends the sessions of the user at once. Required.
	Credentials *credentials.Manager

	// Tenant returns the tenant that the visitor may manage. If it returns an
	// error or an empty ID, the response has status 403 and the Logger gets the
	// error. Required.
	Tenant func(*http.Request) (store.TenantID, error)

	// SMTPHost is the host name of the relay, as in its certificate. The pages
	// show it with a user's credentials. Required.
	SMTPHost string

	// PortSTARTTLS and PortTLS are the ports of the relay, as tools reach them.
	// Zero means 587 and 465. A negative port is not offered. The pages
	// recommend the TLS port if there is one.
	PortSTARTTLS, PortTLS int

	// Title is the name of the console, at the top of each page and in its
	// title element. Empty means "SMTP users" in the visitor's language.
	Title string

	// Logo is the address of an image beside the title: a path on the same
	// host, or a data URL. Empty means none.
	Logo string

	// Accent is the colour of buttons and links, in the form "#rrggbb". It is
	// darkened for light pages, and lightened for dark pages, until it has
	// the contrast that WCAG 2.2 AA requires. Empty means a blue.
	Accent string

	// Layout writes the page around the console. If it returns an error, the
	// response has status 500 and the Logger gets the error. Nil means a plain
	// page with the logo and the title at the top.
	Layout func(w io.Writer, r *http.Request, p Page) error

	// ContentSecurityPolicy returns the Content-Security-Policy header of a
	// page, for a Layout that needs more than the default. The nonce is new for
	// each request and is in Page.Nonce too. Nil means a policy that allows
	// style sheets, scripts and images from the same host, images in data URLs,
	// and style and script elements that have the nonce.
	//
	// If a handler around this one has set the header, it stays as it is, and
	// the nonce is taken from it.
	ContentSecurityPolicy func(r *http.Request, nonce string) string

	// TrustedOrigins are other origins, such as "https://app.example.com",
	// whose pages may send requests that change something. See
	// [http.CrossOriginProtection.AddTrustedOrigin]. Empty means none.
	TrustedOrigins []string

	// Logger gets errors whose cause a visitor is not told. Nil means
	// slog.Default().
	Logger *slog.Logger

	once      sync.Once
	err       error // which field is missing or wrong
	resources resources
}

// A Page holds the parts of a page, for the Layout of a [Handler].
type Page struct {
	Language string        // of the page, for the lang attribute: "en", "fr"
	Title    template.HTML // for the title element; it is escaped
	Head     template.HTML // for the head element: the style sheet and the script
	Body     template.HTML // for the main element or wherever the page has its content; its ids and classes begin with "gatepost"
	Nonce    string        // of the Content-Security-Policy, for style and script elements of the Layout
}

// resources are derived from the fields of a Handler and the files of the package.
type resources struct {
	routes    []route
	assets    map[string]asset
	pages     *template.Template
	languages languages
	settings  settings
	origins   *http.CrossOriginProtection
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(h.prepare)
	if a, ok := h.resources.assets[r.URL.Path]; ok {
		a.serve(w, r)
		return
	}
	req := h.newRequest(w, r)
	if h.err != nil {
		req.fail(h.err)
		return
	}
	if to, ok := h.resources.redirect(r); ok {
		req.redirect(to, http.StatusPermanentRedirect)
		return
	}
	res, err := req.handle()
	if err != nil {
		req.fail(err)
		return
	}
	req.send(res)
}

// prepare checks the fields and sets the resources.
func (h *Handler) prepare() {
	switch {
	case h.Credentials == nil:
		h.err = errors.New("console: Handler.Credentials is required")
	case h.Credentials.Store == nil:
		h.err = errors.New("console: Handler.Credentials.Store is required")
	case h.Tenant == nil:
		h.err = errors.New("console: Handler.Tenant is required")
	case h.SMTPHost == "":
		h.err = errors.New("console: Handler.SMTPHost is required")
	case h.PortSTARTTLS < 0 && h.PortTLS < 0:
		h.err = errors.New("console: Handler offers no port")
	}
	style, err := accentStyle(h.Accent)
	h.err = errors.Join(h.err, err)
	origins := http.NewCrossOriginProtection()
	for _, origin := range h.TrustedOrigins {
		if err := origins.AddTrustedOrigin(origin); err != nil {
			h.err = errors.Join(h.err, fmt.Errorf("console: Handler.TrustedOrigins: %w", err))
		}
	}
	h.resources = resources{
		routes:    routes(),
		assets:    loadAssets(style),
		pages:     template.Must(template.New("").ParseFS(files, "templates/*.html")),
		languages: loadLanguages(),
		settings:  loadSettings(),
		origins:   origins,
	}
}

func (h *Handler) logger() *slog.Logger {
	if h.Logger == nil {
		return slog.Default()
	}
	return h.Logger
}
