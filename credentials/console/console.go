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

// A Handler serves the console. Its fields are set before the first request and
// not changed afterwards. It is safe for concurrent use.
type Handler struct {
	// Credentials keeps the users: the same Manager that the relay has, so
	// that a reset on a page ends the live sessions of the user at once.
	// Required.
	Credentials *credentials.Manager

	// Tenant says for which tenant the visitor acts. With an error, or an
	// empty tenant, the visitor gets 403 and the error goes to the Logger.
	// Required.
	Tenant func(*http.Request) (store.TenantID, error)

	// SMTPHost is the name by which tools reach the relay, as its certificate
	// has it. It is shown with credentials. Required.
	SMTPHost string

	// PortSTARTTLS and PortTLS are the relay's ports as tools reach them. Zero
	// means 587 and 465; a negative port is not offered.
	PortSTARTTLS, PortTLS int

	// Title is the name of the whole in the head of each page and in its
	// title. Empty means "SMTP users", in the visitor's language.
	Title string

	// Logo is the address of an image beside the title: a path on the same
	// host, or a data URL. Empty means none.
	Logo string

	// Accent is the colour of buttons and links, as "#rrggbb". Where it would
	// be hard to read it is darkened, or in dark mode lightened, until it has
	// the contrast of WCAG 2.2 AA. Empty means a blue.
	Accent string

	// Layout, if set, writes the whole page around what the console has to
	// say. Nil means a plain page with the logo and the title on top.
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

	// Logger gets what went wrong inside; a visitor is told only that
	// something did. Nil means slog.Default().
	Logger *slog.Logger

	once  sync.Once
	err   error // why the Handler can't be used
	parts parts
}

// A Page is what a [Handler] gives its Layout.
type Page struct {
	Language string        // of the page, for the lang attribute: "en", "fr"
	Title    template.HTML // for the title element; it is escaped
	Head     template.HTML // for the head element: the style sheet and the script
	Body     template.HTML // for the main element or wherever the page has its content; its ids and classes begin with "gatepost"
	Nonce    string        // of the Content-Security-Policy, for style and script elements of the Layout
}

// parts is what a Handler makes of its fields and of the files of the package.
type parts struct {
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
	v := h.visit(w, r)
	if h.err != nil {
		v.fail(h.err)
		return
	}
	if to, ok := h.parts.redirect(r); ok {
		v.redirect(to, http.StatusPermanentRedirect)
		return
	}
	if a, ok := h.parts.assets[r.URL.Path]; ok {
		a.serve(w, r)
		return
	}
	answer, err := v.answer()
	if err != nil {
		v.fail(err)
		return
	}
	v.send(answer)
}

// prepare makes the parts, and finds mistakes in the fields.
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
	h.parts = parts{
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
