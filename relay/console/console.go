package console

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// A Handler serves the console of tenants. Set its fields before the first request
// and do not change them afterwards. If a required field is missing or a field is
// wrong, every response has status 500 and the Logger gets the reason. A Handler is
// safe for concurrent use.
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

	// Domains, if set, says which DNS records the owner of a domain has to publish, and
	// whether they are there. The page of a domain shows them then.
	Domains *domains.Manager

	// History is what became of the mail of all tenants. Pages of SMTP users show with it
	// what was refused and why. Nil means that they show only the last connection, and
	// that there are no parts Activity and Statistics.
	History *history.History

	// Queue is the queue of the relay, or one with the same Spool. With it visitors can
	// have mail of their tenant tried at once, and take it out of the queue. Nil means
	// that they cannot.
	Queue *queue.Queue

	// Visitor returns the name of the visitor, for what the queue records of such an
	// action. Nil or an empty name means "customer".
	Visitor func(*http.Request) string

	// Suppressions, if set, is the relay's list of addresses that each tenant does not
	// send to. The console has screens for it then.
	Suppressions *suppress.List

	// Webhooks, if set, keeps the endpoints to which events of each tenant are sent.
	// The console has screens for them then.
	Webhooks *webhook.Manager

	// Limits, if set, has what is used of the limits of the tenant and its users. Each
	// page shows a bar for each limit then.
	Limits *limits.Limiter

	// Server, if set, is the relay, through which visitors send test messages in the name
	// of an SMTP user. With History the pages show what becomes of them.
	Server *relay.Server

	// TestRecipient returns the address that the form for a test message proposes: that
	// of the visitor. Nil means none.
	TestRecipient func(*http.Request) string

	// Overlap, unless it is zero, lets a visitor who resets a password choose that the
	// old one works for this long as well, at most 30 days, while tools get the new one.
	// See [credentials.Tenant.RotatePassword].
	Overlap time.Duration

	// Parts are the parts that this handler has, in the order of its navigation. The
	// address of the handler is that of Domains, or leads to the first part. Two
	// handlers with different parts can be mounted at different places of a
	// product. Nil means all parts whose fields are set.
	Parts []Part

	// Elsewhere has the addresses of parts that another handler has. Links to these
	// parts lead there, for visitors whom May lets see the part. A link to a part that
	// is neither in Parts nor here is left out.
	Elsewhere map[Part]string

	// May returns an error if the visitor may not do something. It is asked for
	// each page, each button and each request that changes something; the response
	// has status 403 then. It is called several times for a page, so it should not
	// ask a database each time. Nil means that every visitor may do everything.
	May func(*http.Request, Action) error

	// OnChange, if set, is told of each change that a visitor has made, before the
	// response is sent. A request that has changed nothing, such as a form that is sent
	// again, is not told. The request says who the visitor is.
	OnChange func(*http.Request, Change)

	// Tools adds settings for tools to the page that shows a password, and changes the
	// built-in ones. Its files have names such as myshop.txt and the form of those in
	// the folder settings of this package: a text/template with the fields Host, Port,
	// STARTTLS, Domain, Username and Password, and the tool's name in a template "name". A
	// file with the name of a built-in one replaces it, and an empty one removes
	// it. Nil means the built-in tools.
	Tools fs.FS

	// Design is how the pages look, and which language they are in.
	Design Design

	// TrustedOrigins are other origins, such as "https://app.example.com",
	// whose pages may send requests that change something. See
	// [http.CrossOriginProtection.AddTrustedOrigin]. Empty means none.
	TrustedOrigins []string

	// Logger gets errors whose cause a visitor is not told. Nil means
	// slog.Default().
	Logger *slog.Logger

	once  sync.Once
	site  site
	tools []tool
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(h.prepare)
	h.site.serve(w, r, &request{h: h})
}

// prepare checks the fields and loads what the pages need.
func (h *Handler) prepare() {
	h.site = site{
		design: &h.Design, logger: h.Logger, may: allow(h.May), onChange: h.OnChange, enter: (*request).enterTenant,
		err: h.missing(),
	}
	parts, err := h.chosen()
	h.site.err = errors.Join(h.site.err, err)
	h.site.choose(parts, h.routes())
	if len(parts) > 1 {
		h.site.product = "product.all"
	}
	h.site.prepare("gatepost console", h.TrustedOrigins)
	h.tools, err = loadTools(h.Tools)
	h.site.err = errors.Join(h.site.err, err)
}

// missing returns which required field is not set.
func (h *Handler) missing() error {
	switch {
	case h.Credentials == nil:
		return errors.New("console: Handler.Credentials is required")
	case h.Credentials.Store == nil:
		return errors.New("console: Handler.Credentials.Store is required")
	case h.Tenant == nil:
		return errors.New("console: Handler.Tenant is required")
	case h.SMTPHost == "":
		return errors.New("console: Handler.SMTPHost is required")
	case h.History != nil && h.History.Store == nil:
		return errors.New("console: Handler.History.Store is required")
	case h.Queue != nil && h.Queue.Spool == nil:
		return errors.New("console: Handler.Queue.Spool is required")
	case h.PortSTARTTLS < 0 && h.PortTLS < 0:
		return errors.New("console: Handler offers no port")
	case h.Overlap < 0 || h.Overlap > 30*24*time.Hour:
		return fmt.Errorf("console: Handler.Overlap is %v, want 0 to 30 days", h.Overlap)
	}
	return nil
}

// enterTenant finds the tenant that the visitor may manage.
func (req *request) enterTenant() error {
	id, err := req.h.Tenant(req.r)
	if err == nil && id == "" {
		err = errors.New("console: Handler.Tenant returned no tenant")
	}
	if err != nil {
		req.site.logger.WarnContext(req.ctx(), "console: visitor refused", "error", err)
		return errForbidden
	}
	req.tenantID, req.tenant = id, req.h.Credentials.Tenant(id)
	return nil
}
