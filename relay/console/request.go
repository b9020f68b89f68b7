package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A request is one HTTP request, with what the screens need to answer it.
type request struct {
	h          *Handler  // nil in an Operator
	op         *Operator // nil in a Handler
	admin      *queue.Admin
	site       *site
	w          http.ResponseWriter
	r          *http.Request
	asJSON     bool // the client wants JSON
	lang       *language
	loc        *time.Location
	nonce      string
	policy     string // Content-Security-Policy; "" leaves the header as it is
	tenantID   store.TenantID
	tenant     credentials.Tenant
	part       Part
	ofDomain   string // that the page is about, or ""
	ofUser     string // the username of the user that the page is about, or ""
	pathValues map[string]string
	inputs     url.Values // from the body
}

// begin sets what does not depend on the screen.
func (req *request) begin() {
	d := req.site.design
	wanted := ""
	if d.Language != nil {
		wanted = d.Language(req.r)
	}
	req.asJSON = wantsJSON(req.r.Header)
	req.lang = req.site.languages.choose(wanted, req.r.Header.Get("Accept-Language"))
	req.loc = d.location(req.r)
	req.nonce, req.policy = d.policy(req.w, req.r)
}

// handle checks the origin, the visitor and the method of the request, and calls
// the screen of its path.
func (req *request) handle() (response, error) {
	// Browsers name the origin of a request. Other clients do not, but they
	// have no cookies that an attacker could use.
	if err := req.site.origins.Check(req.r); err != nil {
		return response{}, errCrossOrigin
	}
	if err := req.site.enter(req); err != nil {
		return response{}, err
	}
	if rt := req.site.find(req.r.URL.EscapedPath()); rt != nil {
		return req.answer(rt)
	}
	if misplaced(req.r) {
		req.site.logger.WarnContext(req.ctx(), "console: the handler gets paths that it does not have; use http.StripPrefix, without a slash at the end of the prefix",
			"path", req.r.URL.Path, "pattern", req.r.Pattern)
	}
	return response{}, errNotFound
}

// answer calls the screen of a route, if the method and the visitor are allowed.
func (req *request) answer(rt *route) (response, error) {
	req.part = rt.part
	req.pathValues, _ = rt.match(req.r.URL.EscapedPath())
	if allowed := rt.allowed(req.asJSON); !slices.Contains(allowed, req.r.Method) {
		req.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return response{}, errMethod
	}
	if req.r.Method != http.MethodPost {
		if !req.May(rt.action) {
			return response{}, errNotAllowed
		}
		return rt.get(req)
	}
	if !req.May(rt.postAction()) {
		return response{}, errNotAllowed
	}
	if err := req.readInputs(rt); err != nil {
		return response{}, err
	}
	return rt.post(req)
}

func (req *request) ctx() context.Context { return req.r.Context() }

// maxBody is the maximum size of a request body in bytes.
const maxBody = 64 << 10

// readInputs reads the fields of a form, or the members of a JSON object. An
// empty body has none, whatever its type.
func (req *request) readInputs(rt *route) error {
	req.inputs = make(url.Values)
	body, err := io.ReadAll(http.MaxBytesReader(req.w, req.r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	if err != nil {
		return errMalformed
	}
	if len(body) == 0 {
		return nil
	}
	switch mediaType := contentType(req.r.Header); {
	case req.asJSON && mediaType == "application/json":
		return req.readJSON(body, rt)
	case !req.asJSON && mediaType == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return errMalformed
		}
		req.inputs = form
		return nil
	}
	return errMediaType
}

// readJSON reads the members that the route describes. It ignores another member, or
// refuses it if the route is strict.
func (req *request) readJSON(body []byte, rt *route) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return errMalformed
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if rt.strict() && !slices.ContainsFunc(rt.inputs, func(in input) bool { return in.name == name }) {
			shown := mailtext.OneLineUTF8(name, 64)
			return &problem{code: "unknown-member", status: http.StatusBadRequest, field: shown, args: []string{shown}}
		}
	}
	for _, in := range rt.inputs {
		raw, ok := members[in.name]
		if !ok {
			continue
		}
		values, err := in.read(raw)
		if err != nil {
			return errMalformed
		}
		req.inputs[in.name] = values
	}
	return nil
}

// pageSize is the default number of entries on a page; a client may ask for up to
// maxPageSize.
const (
	pageSize    = 50
	maxPageSize = 1000
)

// page returns the part of a list that the query asks for, with a limit that is
// one higher: an additional entry shows that there is a next page.
func (req *request) page() (store.Page, error) {
	q := req.r.URL.Query()
	limit := pageSize
	if q.Has("limit") {
		var err error
		if limit, err = strconv.Atoi(q.Get("limit")); err != nil || limit < 1 || limit > maxPageSize {
			return store.Page{}, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "limit",
				args: []string{req.T("reason.limit", strconv.Itoa(maxPageSize))}}
		}
	}
	return store.Page{After: cleanText(q.Get("after"), maxQuery), Limit: limit + 1, Search: strings.TrimSpace(cleanText(q.Get("search"), maxQuery))}, nil
}

// maxQuery is how many bytes of a text of a query are used.
const maxQuery = 1024

// cleanText returns what the store can take of a text, at most limit bytes. Some
// databases return an error for bytes that are not text.
func cleanText(s string, limit int) string {
	s, _, _ = strings.Cut(strings.ToValidUTF8(s, ""), "\x00")
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// trimPage removes the additional entry of [request.page]. It returns the key
// after which the next page begins, or "" on the last page.
func trimPage[E any](list []E, page store.Page, key func(E) string) ([]E, string) {
	if len(list) < page.Limit {
		return list, ""
	}
	list = list[:page.Limit-1]
	return list, key(list[len(list)-1])
}

// domainOfPath returns the domain that the path names.
func (req *request) domainOfPath() (store.Domain, error) {
	d, err := req.tenant.Domain(req.ctx(), req.pathValues["domain"])
	if err == nil {
		req.about(d.Name, "")
	}
	return d, notADomain(err)
}

// notADomain returns errNotFound for the error of a name that no domain can have.
func notADomain(err error) error {
	var invalid *credentials.InvalidError
	if errors.As(err, &invalid) {
		return errNotFound
	}
	return err
}

// userOfPath returns the user that the path names.
func (req *request) userOfPath() (store.User, error) {
	u, err := req.tenant.User(req.ctx(), req.pathValues["username"])
	if err != nil {
		return u, err
	}
	if domain, err := credentials.NormalizeDomain(req.pathValues["domain"]); err != nil || domain != u.Domain {
		return store.User{}, fmt.Errorf("%w in this domain", errNotFound)
	}
	req.about(u.Domain, u.Username)
	return u, nil
}

// wantsJSON reports whether the response to a request is JSON. It is if the
// request has JSON, or if its Accept header (RFC 9110 section 12.5.1) does not name
// HTML or prefers JSON. Browsers name HTML when they open a page or send a form.
func wantsJSON(header http.Header) bool {
	if contentType(header) == "application/json" {
		return true
	}
	var html, other float64
	for _, part := range strings.Split(strings.Join(header.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		switch mediaType {
		case "application/json", "application/problem+json":
			other = max(other, q)
		case "text/html", "application/xhtml+xml":
			html = max(html, q)
		}
	}
	return html == 0 || other > html
}

func contentType(header http.Header) string {
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return mediaType
}
