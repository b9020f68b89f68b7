package console

import (
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
)

// A site is what the handlers of this package have in common: it finds the screen of
// a request and sends its answer.
type site struct {
	design   *Design
	routes   []route
	parts    []Part // of the navigation
	logger   *slog.Logger
	may      func(*http.Request, Action) error
	onChange func(*http.Request, Change)

	// product is the text of the title, if the embedder has set none, and home that of
	// the link to the first page that the page of an error has.
	product, home string

	// enter finds out for whom the request is.
	enter func(*request) error

	assets    map[string]asset
	pages     *template.Template
	languages languages
	origins   *http.CrossOriginProtection
	err       error // which field of the handler is missing or wrong
}

// prepare loads what the pages need. api is the title of openapi.json.
func (s *site) prepare(api string, trustedOrigins []string) {
	if s.logger == nil {
		s.logger = slog.Default()
	}
	style, err := accentStyle(s.design.Accent)
	s.err = errors.Join(s.err, err)
	s.languages, err = s.design.loadTexts()
	s.err = errors.Join(s.err, err)
	s.origins = http.NewCrossOriginProtection()
	for _, origin := range trustedOrigins {
		if err := s.origins.AddTrustedOrigin(origin); err != nil {
			s.err = errors.Join(s.err, fmt.Errorf("console: TrustedOrigins: %w", err))
		}
	}
	s.assets = loadAssets(style)
	s.assets["/openapi.json"] = newAsset("application/json", openAPI(api, s.parts, s.routes))
	s.pages = template.Must(template.New("").ParseFS(files, "templates/*.html"))
}

// choose sets the parts and their routes. If none of them has the address of the
// handler, it leads to the first part.
func (s *site) choose(parts []Part, all []route) {
	s.parts = parts
	for _, rt := range all {
		if slices.Contains(parts, rt.part) {
			s.routes = append(s.routes, rt)
		}
	}
	if s.find("/") == nil && len(s.routes) > 0 {
		first := s.routes[slices.IndexFunc(s.routes, func(rt route) bool { return rt.part == parts[0] && rt.first })]
		s.routes = append(s.routes, route{path: "/", part: first.part, action: first.action, get: func(*request) (response, error) {
			return response{location: first.path[1:]}, nil
		}})
	}
}

// start returns the part that the address of the handler is of, as a text.
func (s *site) start() string {
	if len(s.parts) == 0 || slices.Contains(s.parts, Domains) {
		return string(Domains)
	}
	return string(s.parts[0])
}

func (s *site) serve(w http.ResponseWriter, r *http.Request, req *request) {
	if a, ok := s.assets[r.URL.Path]; ok {
		a.serve(w, r)
		return
	}
	req.site, req.w, req.r = s, w, r
	req.begin()
	if s.err != nil {
		req.fail(s.err)
		return
	}
	if to, ok := s.redirect(r); ok {
		req.redirect(to, http.StatusPermanentRedirect)
		return
	}
	res, err := req.handle()
	if err != nil {
		req.fail(err)
		return
	}
	req.send(res)
}
