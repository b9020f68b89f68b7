package console

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A problem is an error that a client is told about. Each language has a title and
// a detail for its code.
type problem struct {
	code    string
	status  int
	args    []string    // for the texts
	field   string      // the input that is wrong
	user    *store.User // the user that the first request added
	actions []link      // links to continue with
}

// A link is a text and a path below the console's root.
type link struct{ Text, To string }

func (p *problem) Error() string { return "console: " + p.code }

// Problems that have no arguments.
var (
	errNotFound    = &problem{code: "not-found", status: http.StatusNotFound}
	errNotAllowed  = &problem{code: "not-allowed", status: http.StatusForbidden}
	errForbidden   = &problem{code: "forbidden", status: http.StatusForbidden}
	errCrossOrigin = &problem{code: "cross-origin", status: http.StatusForbidden}
	errMethod      = &problem{code: "method", status: http.StatusMethodNotAllowed}
	errMediaType   = &problem{code: "media-type", status: http.StatusUnsupportedMediaType}
	errMalformed   = &problem{code: "malformed", status: http.StatusBadRequest}
	errTooLarge    = &problem{code: "too-large", status: http.StatusRequestEntityTooLarge}
	errBusy        = &problem{code: "busy", status: http.StatusServiceUnavailable}
	errInternal    = &problem{code: "internal", status: http.StatusInternalServerError}
	errUnread      = &problem{code: "unread", status: http.StatusInternalServerError}
)

// problemOf returns the problem to tell a client about an error. It logs an
// unexpected error, whose text the client does not get.
func (req *request) problemOf(err error) *problem {
	var p *problem
	var invalid *credentials.InvalidError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &invalid):
		return &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: invalid.Field, args: []string{req.reason(invalid)}}
	case errors.Is(err, store.ErrNotFound):
		return errNotFound
	case errors.Is(err, credentials.ErrBusy):
		return errBusy
	}
	if req.ctx().Err() == nil { // otherwise the client has closed the connection
		req.site.logger.ErrorContext(req.ctx(), "console: request failed", "method", req.r.Method, "path", req.r.URL.Path, "error", err)
	}
	if req.r.Method != http.MethodPost {
		return errUnread
	}
	return errInternal
}

// reason returns why an input was refused, in the visitor's language.
func (req *request) reason(err *credentials.InvalidError) string {
	if text, ok := req.lang.Texts["reason."+err.Reason]; ok {
		return text
	}
	if req.lang.Code == defaultLanguage {
		return err.Reason
	}
	return req.T("reason." + err.Field)
}

// problemTypes is the address of the descriptions of all problems. The code is the
// fragment.
const problemTypes = "https://github.com/gatepost-mail/gatepost/blob/main/docs/problems.md#"

// fail sends an error.
func (req *request) fail(err error) {
	p := req.problemOf(err)
	if p == errBusy {
		req.w.Header().Set("Retry-After", "5")
	}
	title, detail := req.T("problem."+p.code+".title", p.args...), req.T("problem."+p.code+".detail", p.args...)
	if p == errNotFound && req.op != nil {
		detail = req.T("op.not-found")
	}
	if req.asJSON {
		d := problemDocument{
			Type: problemTypes + p.code, Title: title, Status: p.status, Detail: detail, Code: p.code, Field: p.field,
		}
		if p.user != nil {
			u := documentOfUser(*p.user)
			d.User = &u
		}
		req.sendJSON(p.status, "application/problem+json", d)
		return
	}
	actions := p.actions
	if len(actions) == 0 && p != errForbidden {
		actions = []link{{req.T(cmp.Or(req.site.home, req.site.start())), ""}}
	}
	req.sendPage(response{status: p.status, template: "problem", title: title, data: struct {
		Detail  string
		Actions []link
	}{detail, actions}})
}
