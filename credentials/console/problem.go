package console

import (
	"errors"
	"net/http"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A problem is an error that visitors are told about, in the words that their
// language has for its code.
type problem struct {
	code    string
	status  int
	args    []string    // for the words
	field   string      // the input that is to blame
	user    *store.User // that exists already
	actions []link      // what to do now
}

// A link is a place to go to, relative to the console's root.
type link struct{ Text, To string }

func (p *problem) Error() string { return "console: " + p.code }

// Problems that are the same whatever was asked for.
var (
	errNotFound    = &problem{code: "not-found", status: http.StatusNotFound}
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

// problemOf returns what to tell about an error. Nothing of the text of an
// error that isn't meant for people gets out.
func (v *visit) problemOf(err error) *problem {
	var p *problem
	var invalid *credentials.InvalidError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &invalid):
		return &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: invalid.Field, args: []string{v.reason(invalid)}}
	case errors.Is(err, store.ErrNotFound):
		return errNotFound
	case errors.Is(err, credentials.ErrBusy):
		return errBusy
	}
	if v.ctx().Err() == nil { // else the visitor has gone, and the error is that
		v.h.logger().ErrorContext(v.ctx(), "console: request failed", "method", v.r.Method, "path", v.r.URL.Path, "error", err)
	}
	if v.r.Method != http.MethodPost {
		return errUnread
	}
	return errInternal
}

// reason returns why something typed was refused, in the visitor's language.
func (v *visit) reason(err *credentials.InvalidError) string {
	if text, ok := v.lang.Texts["reason."+err.Reason]; ok {
		return text
	}
	if v.lang.Code == defaultLanguage {
		return err.Reason
	}
	return v.T("reason." + err.Field)
}

// problemTypes is the page that describes each problem, by its code.
const problemTypes = "https://github.com/gatepost-mail/gatepost/blob/main/docs/problems.md#"

// fail answers with an error.
func (v *visit) fail(err error) {
	p := v.problemOf(err)
	if p == errBusy {
		v.w.Header().Set("Retry-After", "5")
	}
	title, detail := v.T("problem."+p.code+".title", p.args...), v.T("problem."+p.code+".detail", p.args...)
	if v.program {
		d := problemDocument{
			Type: problemTypes + p.code, Title: title, Status: p.status, Detail: detail, Code: p.code, Field: p.field,
		}
		if p.user != nil {
			u := documentOfUser(*p.user)
			d.User = &u
		}
		v.sendJSON(p.status, "application/problem+json", d)
		return
	}
	actions := p.actions
	if len(actions) == 0 && p != errForbidden {
		actions = []link{{v.T("domains"), ""}}
	}
	v.sendPage(answer{status: p.status, template: "problem", title: title, data: struct {
		Detail  string
		Actions []link
	}{detail, actions}})
}
