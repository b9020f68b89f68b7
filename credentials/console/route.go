package console

import (
	"net/http"
	"net/url"
	"strings"
)

// A route is a path and what it does. The parts of its path in braces stand for
// anything.
type route struct {
	path string
	get  screen
	post screen // nil: nothing is changed here

	// form says that get is a form, which programs have no use for.
	form bool
}

// A screen answers a request of a visitor whose tenant is known.
type screen func(*visit) (answer, error)

func routes() []route {
	return []route{
		{path: "/", get: (*visit).domains, post: (*visit).addDomain},
		{path: "/domains/{domain}", get: (*visit).domain},
		{path: "/domains/{domain}/delete", get: (*visit).askDeleteDomain, post: (*visit).deleteDomain, form: true},
		{path: "/domains/{domain}/add", get: (*visit).askAddUser, post: (*visit).addUser, form: true},
		{path: "/domains/{domain}/users/{username}", get: (*visit).user},
		{path: "/domains/{domain}/users/{username}/rename", get: (*visit).askRename, post: (*visit).rename, form: true},
		{path: "/domains/{domain}/users/{username}/reset", get: (*visit).askReset, post: (*visit).reset, form: true},
		{path: "/domains/{domain}/users/{username}/delete", get: (*visit).askDeleteUser, post: (*visit).deleteUser, form: true},
	}
}

// match returns the values of the parts in braces, if the path, which is escaped,
// is the route's. An escaped slash doesn't part.
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

// allowed returns the methods of the route, for the kind of visitor.
func (rt route) allowed(program bool) []string {
	var methods []string
	if !program || !rt.form {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	if rt.post != nil {
		methods = append(methods, http.MethodPost)
	}
	return methods
}

// redirect returns where a request for another spelling of a path is sent, if it
// is one: the path of the console without its slash, or of a page with a slash
// too many. The address is relative, because only the embedder knows the path
// that the console is mounted at.
func (p *parts) redirect(r *http.Request) (to string, ok bool) {
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
func (p *parts) find(path string) *route {
	for i := range p.routes {
		if _, ok := p.routes[i].match(path); ok {
			return &p.routes[i]
		}
	}
	return nil
}

// misplaced reports whether the console gets paths that cannot be right: without
// the slash at the beginning, or with the path at which a [http.ServeMux] has it.
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
