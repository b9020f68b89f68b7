package console

import (
	"net/http"
	"net/url"
	"strings"
)

// A route maps a path to the functions that answer it. A segment in braces
// matches any segment.
type route struct {
	path string
	get  screen
	post screen // nil: POST is not allowed

	// form is set if get returns a form. JSON clients do not get forms.
	form bool
}

// A screen answers a request whose tenant is known.
type screen func(*request) (response, error)

func routes() []route {
	return []route{
		{path: "/", get: (*request).domains, post: (*request).addDomain},
		{path: "/domains/{domain}", get: (*request).domain},
		{path: "/domains/{domain}/delete", get: (*request).deleteDomainForm, post: (*request).deleteDomain, form: true},
		{path: "/domains/{domain}/add", get: (*request).addUserForm, post: (*request).addUser, form: true},
		{path: "/domains/{domain}/users/{username}", get: (*request).user},
		{path: "/domains/{domain}/users/{username}/rename", get: (*request).renameForm, post: (*request).rename, form: true},
		{path: "/domains/{domain}/users/{username}/reset", get: (*request).resetForm, post: (*request).reset, form: true},
		{path: "/domains/{domain}/users/{username}/delete", get: (*request).deleteUserForm, post: (*request).deleteUser, form: true},
	}
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
	if !asJSON || !rt.form {
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
func (p *resources) redirect(r *http.Request) (to string, ok bool) {
	requested, query, _ := strings.Cut(r.RequestURI, "?")
	if query != "" {
		query = "?" + query
	}
	if last := requested[strings.LastIndex(requested, "/")+1:]; r.URL.Path == "" && last != "" {
		return "./" + last + "/" + query, true
	}
	path, ok := strings.CutSuffix(r.URL.EscapedPath(), "/")
	if !ok || path == "" || p.find(path) == nil {
		return "", false
	}
	return "../" + path[strings.LastIndex(path, "/")+1:] + query, true
}

// find returns the route of an escaped path, or nil.
func (p *resources) find(path string) *route {
	for i := range p.routes {
		if _, ok := p.routes[i].match(path); ok {
			return &p.routes[i]
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
