package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
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
	tenant  credentials.Tenant
	values  map[string]string // from the path
	inputs  map[string]string // from the body
}

func (h *Handler) visit(w http.ResponseWriter, r *http.Request) *visit {
	return &visit{
		h: h, w: w, r: r,
		program: prefersJSON(r.Header.Get("Accept")),
		lang:    h.parts.languages.choose(r.Header.Get("Accept-Language")),
	}
}

// answer finds the screen, after everything that must be in order for it.
func (v *visit) answer() (answer, error) {
	// The zero value trusts no other site. Browsers say where a request
	// comes from; programs say nothing and carry no cookies of a visitor.
	if err := new(http.CrossOriginProtection).Check(v.r); err != nil {
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
	v.h.logger().InfoContext(v.ctx(), "console: there is no such page; StripPrefix must leave the slash at the beginning", "path", v.r.URL.Path)
	return answer{}, errNotFound
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// maxBody is the most that a form or a JSON document may have.
const maxBody = 64 << 10

// readInputs reads the fields of a form, or the members of a JSON object.
func (v *visit) readInputs() error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxBody)
	mediaType, _, _ := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	v.inputs = make(map[string]string)
	var err error
	switch {
	case v.program && mediaType == "application/json":
		err = v.readJSON()
	case !v.program && mediaType == "application/x-www-form-urlencoded":
		if err = v.r.ParseForm(); err == nil {
			for name := range v.r.PostForm {
				v.inputs[name] = v.r.PostForm.Get(name)
			}
		}
	default:
		return errMediaType
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return errTooLarge
	}
	if err != nil {
		return errMalformed
	}
	return nil
}

// readJSON takes the members that openapi.json has, if they are of its types, and
// passes over others.
func (v *visit) readJSON() error {
	body := json.NewDecoder(v.r.Body)
	body.UseNumber()
	var members map[string]any
	if err := body.Decode(&members); err != nil {
		return err
	}
	if _, err := body.Token(); err != io.EOF || members == nil {
		return errors.Join(errMalformed, err)
	}
	for name, value := range members {
		text, isText := value.(string)
		number, isNumber := value.(json.Number)
		switch {
		case name == "name" && isText:
			v.inputs[name] = text
		case name == "generation" && isNumber:
			v.inputs[name] = number.String()
		case name == "name" || name == "generation":
			return errMalformed
		}
	}
	return nil
}

// pageSize is the number of entries on a page, unless a program asks for
// another number up to maxPageSize.
const (
	pageSize    = 50
	maxPageSize = 1000
)

// page returns which part of a list is asked for, with one entry more, which
// tells whether there is a next page.
func (v *visit) page() store.Page {
	q := v.r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > maxPageSize {
		limit = pageSize
	}
	// What no entry can have isn't worth a question that some database may
	// not even take.
	clean := func(s string) string {
		s, _, _ = strings.Cut(strings.ToValidUTF8(s, ""), "\x00")
		return s[:min(len(s), 1024)]
	}
	search := strings.TrimSpace(clean(q.Get("search")))
	return store.Page{After: clean(q.Get("after")), Limit: limit + 1, Search: strings.ToValidUTF8(search, "")}
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

// prefersJSON reports whether an Accept header (RFC 9110 section 12.5.1) puts
// JSON before HTML. Whoever takes anything gets HTML.
func prefersJSON(accept string) bool {
	var html, program float64
	for _, part := range strings.Split(accept, ",") {
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
		case "text/html":
			html = max(html, q)
		}
	}
	return program > html
}
