package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A visit is one request, as the screens see it.
type visit struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	program bool // wants JSON
	lang    *language
	nonce   string
	policy  string // Content-Security-Policy; "" leaves the header as it is
	tenant  credentials.Tenant
	values  map[string]string // from the path
	inputs  map[string]string // from the body
}

func (h *Handler) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{
		h: h, w: w, r: r,
		program: wantsJSON(r.Header),
		lang:    h.parts.languages.choose(r.Header.Get("Accept-Language")),
	}
	v.nonce, v.policy = h.policy(w, r)
	return v
}

// answer finds the screen, after everything that must be in order for it.
func (v *visit) answer() (answer, error) {
	// Browsers say which origin a request comes from. Other programs do not,
	// and have no cookies of a visitor.
	if err := v.h.parts.origins.Check(v.r); err != nil {
		return answer{}, errCrossOrigin
	}
	id, err := v.h.Tenant(v.r)
	if err == nil && id == "" {
		err = errors.New("console: Handler.Tenant returned no tenant")
	}
	if err != nil {
		v.h.logger().WarnContext(v.r.Context(), "console: visitor refused", "error", err)
		return answer{}, errForbidden
	}
	v.tenant = v.h.Credentials.Tenant(id)
	for _, rt := range v.h.parts.routes {
		values, ok := rt.match(v.r.URL.EscapedPath())
		if !ok {
			continue
		}
		v.values = values
		if allowed := rt.allowed(v.program); !slices.Contains(allowed, v.r.Method) {
			v.w.Header().Set("Allow", strings.Join(allowed, ", "))
			return answer{}, errMethod
		}
		if v.r.Method != http.MethodPost {
			return rt.get(v)
		}
		if err := v.readInputs(); err != nil {
			return answer{}, err
		}
		return rt.post(v)
	}
	if misplaced(v.r) {
		v.h.logger().WarnContext(v.ctx(), "console: the handler gets paths that it does not have; use http.StripPrefix, without a slash at the end of the prefix",
			"path", v.r.URL.Path, "pattern", v.r.Pattern)
	}
	return answer{}, errNotFound
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// maxBody is the most that a form or a JSON document may have.
const maxBody = 64 << 10

// readInputs reads the fields of a form, or the members of a JSON object. An
// empty body has none, whatever its type.
func (v *visit) readInputs() error {
	v.inputs = make(map[string]string)
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	if err != nil {
		return errMalformed
	}
	if len(body) == 0 {
		return nil
	}
	switch mediaType := contentType(v.r.Header); {
	case v.program && mediaType == "application/json":
		return v.readJSON(body)
	case !v.program && mediaType == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return errMalformed
		}
		for name := range form {
			v.inputs[name] = form.Get(name)
		}
		return nil
	}
	return errMediaType
}

// readJSON reads the members that openapi.json describes and ignores others.
func (v *visit) readJSON(body []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return errMalformed
	}
	if raw, ok := members["name"]; ok {
		var name *string
		if json.Unmarshal(raw, &name) != nil || name == nil {
			return errMalformed
		}
		v.inputs["name"] = *name
	}
	if raw, ok := members["generation"]; ok {
		var generation json.Number
		if json.Unmarshal(raw, &generation) != nil || raw[0] == '"' || generation == "" {
			return errMalformed
		}
		v.inputs["generation"] = generation.String()
	}
	return nil
}

// pageSize is the number of entries on a page, unless a program asks for
// another number up to maxPageSize.
const (
	pageSize    = 50
	maxPageSize = 1000
)

// page returns the part of a list that the query asks for, and one entry more,
// which tells whether there is a next page.
func (v *visit) page() (store.Page, error) {
	q := v.r.URL.Query()
	limit := pageSize
	if q.Has("limit") {
		var err error
		if limit, err = strconv.Atoi(q.Get("limit")); err != nil || limit < 1 || limit > maxPageSize {
			return store.Page{}, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "limit",
				args: []string{v.T("reason.limit", strconv.Itoa(maxPageSize))}}
		}
	}
	// Some databases refuse bytes that are not text.
	clean := func(s string) string {
		s, _, _ = strings.Cut(strings.ToValidUTF8(s, ""), "\x00")
		return s[:min(len(s), 1024)]
	}
	search := strings.TrimSpace(clean(q.Get("search")))
	return store.Page{After: clean(q.Get("after")), Limit: limit + 1, Search: strings.ToValidUTF8(search, "")}, nil
}

// cut takes off the entry that page asked for in addition, and returns the key
// after which the next page begins: "" if there is none.
func cut[E any](list []E, page store.Page, key func(E) string) ([]E, string) {
	if len(list) < page.Limit {
		return list, ""
	}
	list = list[:page.Limit-1]
	return list, key(list[len(list)-1])
}

// theDomain returns the domain of the path.
func (v *visit) theDomain() (store.Domain, error) {
	d, err := v.tenant.Domain(v.ctx(), v.values["domain"])
	var invalid *credentials.InvalidError
	if errors.As(err, &invalid) { // so there can't be one
		err = errNotFound
	}
	return d, err
}

// theUser returns the user of the path.
func (v *visit) theUser() (store.User, error) {
	u, err := v.tenant.User(v.ctx(), v.values["username"])
	if err != nil {
		return u, err
	}
	if domain, err := credentials.NormalizeDomain(v.values["domain"]); err != nil || domain != u.Domain {
		return store.User{}, fmt.Errorf("%w in this domain", errNotFound)
	}
	return u, nil
}

// wantsJSON reports whether a request is answered with JSON: it sends JSON, its
// Accept header (RFC 9110 section 12.5.1) does not name HTML, or prefers JSON.
// Browsers name HTML when they open a page or send a form.
func wantsJSON(header http.Header) bool {
	if contentType(header) == "application/json" {
		return true
	}
	var html, program float64
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
			program = max(program, q)
		case "text/html", "application/xhtml+xml":
			html = max(html, q)
		}
	}
	return html == 0 || program > html
}

func contentType(header http.Header) string {
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return mediaType
}
