package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A route maps a path to the functions that answer it. A segment in braces
// matches any segment.
type route struct {
	path string
	part Part
	get  screen // nil: GET is not allowed
	post screen // nil: POST is not allowed

	// action is what the visitor must be allowed to do. adds, if set, is the action of
	// a POST to a list.
	action, adds Action

	// first is set for the first page of a part.
	first bool

	// form is set if get returns a form. JSON clients do not get forms.
	form bool

	// inputs are the members of the JSON object of a POST.
	inputs []input
}

// postAction returns the action of a POST.
func (rt *route) postAction() Action {
	if rt.adds != "" {
		return rt.adds
	}
	return rt.action
}

// strictActions are the actions of which a POST refuses members that it does not have.
// It deletes, ends or selects something: with a typo in recipient, a request to cancel
// one recipient would cancel all.
var strictActions = []Action{
	RetryMail, CancelMail, DeleteDomain, ChangeKey, DeleteUser, ResetPassword, SuspendUser, RemoveSuppression, RotateWebhook, DeleteWebhook,
	ViewQueue, PauseQueue,
}

// strict reports whether a POST refuses members that it does not have.
func (rt *route) strict() bool { return slices.Contains(strictActions, rt.postAction()) }

// An input is a member of a JSON object that a route reads.
type input struct {
	name string
	kind inputKind
}

// An inputKind is the type of an input in JSON.
type inputKind int

const (
	text   inputKind = iota
	number           // a whole number
	truth            // true or false, read as "true" and "false"
	texts            // an array of strings
)

// read returns the values of a member, as a form would have them.
func (in input) read(raw json.RawMessage) ([]string, error) {
	var err error
	var s *string
	var n json.Number
	var b *bool
	var list []string
	switch in.kind {
	case text:
		if err = json.Unmarshal(raw, &s); err == nil && s != nil {
			return []string{*s}, nil
		}
	case number:
		if err = json.Unmarshal(raw, &n); err == nil && n != "" && raw[0] != '"' {
			return []string{n.String()}, nil
		}
	case truth:
		if err = json.Unmarshal(raw, &b); err == nil && b != nil {
			return []string{strconv.FormatBool(*b)}, nil
		}
	case texts:
		if err = json.Unmarshal(raw, &list); err == nil && list != nil {
			return list, nil
		}
	}
	return nil, cmp.Or(err, error(errMalformed))
}

// A screen answers a request whose visitor is known.
type screen func(*request) (response, error)

// routes returns the routes of all parts of the handler.
func (h *Handler) routes() []route {
	all := slices.Concat(domainRoutes(), h.activityRoutes())
	if h.Suppressions != nil {
		all = append(all, suppressionRoutes()...)
	}
	if h.Webhooks != nil {
		all = append(all, webhookRoutes()...)
	}
	if h.Domains != nil {
		all = append(all, dnsRoutes()...)
	}
	if h.Limits != nil {
		all = append(all, quotaRoutes()...)
	}
	return all
}

// match reports whether an escaped path is the route's, and returns the values of
// the segments in braces. An escaped slash does not separate segments.
func (rt route) match(path string) (values map[string]string, ok bool) {
	want, got := strings.Split(rt.path, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	values = make(map[string]string)
	for i, part := range want {
		value, err := url.PathUnescape(got[i])
		if err != nil {
			return nil, false
		}
		if name, ok := strings.CutPrefix(part, "{"); ok {
			values[strings.TrimSuffix(name, "}")] = value
		} else if part != value {
			return nil, false
		}
	}
	return values, true
}

// allowed returns the methods that the route allows.
func (rt route) allowed(asJSON bool) []string {
	var methods []string
	if rt.get != nil && (!asJSON || !rt.form) {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	if rt.post != nil {
		methods = append(methods, http.MethodPost)
	}
	return methods
}

// redirect returns the address to redirect a request to. ok is true if the path
// names the console without its final slash, or a page with an extra final slash. The
// address is relative, because only the embedder knows the path that the console
// is mounted at.
func (s *site) redirect(r *http.Request) (to string, ok bool) {
	requested, query, _ := strings.Cut(r.RequestURI, "?")
	if query != "" {
		query = "?" + query
	}
	if last := requested[strings.LastIndex(requested, "/")+1:]; r.URL.Path == "" && last != "" {
		return "./" + last + "/" + query, true
	}
	path, ok := strings.CutSuffix(r.URL.EscapedPath(), "/")
	if !ok || path == "" || s.find(path) == nil {
		return "", false
	}
	return "../" + path[strings.LastIndex(path, "/")+1:] + query, true
}

// find returns the route of an escaped path, or nil.
func (s *site) find(path string) *route {
	for i := range s.routes {
		if _, ok := s.routes[i].match(path); ok {
			return &s.routes[i]
		}
	}
	return nil
}

// misplaced reports whether the console is mounted in a way that cannot work: its
// paths lack the slash at the beginning, or still have the path at which an
// [http.ServeMux] has the console.
func misplaced(r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/") {
		return true
	}
	requested, err := url.ParseRequestURI(r.RequestURI)
	at := strings.Index(r.Pattern, "/")
	if err != nil || at < 0 || strings.Contains(r.Pattern, "{") {
		return false
	}
	mount := r.Pattern[at:]
	return mount != "/" && requested.EscapedPath() == r.URL.EscapedPath() && strings.HasPrefix(r.URL.Path, mount)
}
