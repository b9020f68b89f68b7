package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
)

// A response is the result of a request, as a page and as JSON.
type response struct {
	status int // zero means 200

	// The page: a template with its title and data, or a redirect to a
	// location below the console's root.
	template string
	title    string
	data     any
	location string

	// sent means that the screen has sent the response itself.
	sent bool

	// The JSON; nil means no content.
	document any
}

func (req *request) send(a response) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	switch {
	case a.sent:
	case a.location != "" && req.r.Method != http.MethodPost:
		req.redirect(req.Root()+a.location, http.StatusSeeOther)
	case req.asJSON && a.document == nil:
		req.header()
		req.w.WriteHeader(http.StatusNoContent)
	case req.asJSON:
		req.sendJSON(a.status, "application/json", a.document)
	case a.location != "":
		req.redirect(req.Root()+a.location, http.StatusSeeOther)
	default:
		req.sendPage(a)
	}
}

// redirect sends a redirect to a relative address.
func (req *request) redirect(to string, status int) {
	req.header().Set("Location", to)
	req.w.WriteHeader(status)
}

func (req *request) sendJSON(status int, mediaType string, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		req.fail(err)
		return
	}
	if req.policy != "" {
		req.policy = jsonPolicy
	}
	header := req.header()
	header.Set("Content-Type", mediaType)
	req.w.WriteHeader(status)
	req.write(append(body, '\n'))
}

// sendPage renders the whole page before it sends anything, so that an error gets
// status 500.
func (req *request) sendPage(a response) {
	var page bytes.Buffer
	if err := req.render(&page, a); err != nil {
		req.site.logger.ErrorContext(req.ctx(), "console: cannot render page", "error", err)
		req.header()
		http.Error(req.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header := req.header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", req.lang.Code)
	req.w.WriteHeader(a.status)
	req.write(page.Bytes())
}

func (req *request) write(body []byte) {
	if req.r.Method != http.MethodHead {
		req.w.Write(body)
	}
}

func (req *request) render(w *bytes.Buffer, a response) error {
	p := Page{Language: req.lang.Code, Title: template.HTML(template.HTMLEscapeString(isolate(a.title) + " – " + req.Title())), Nonce: req.nonce, Part: req.part, Screen: a.template}
	var err error
	if p.Head, err = req.fragment("head", req); err != nil {
		return err
	}
	if p.Body, err = req.fragment(a.template, view{req, a.title, a.data}); err != nil {
		return err
	}
	if req.site.design.Layout != nil {
		return req.site.design.Layout(w, req.r, p)
	}
	return req.site.pages.ExecuteTemplate(w, "layout.html", struct {
		Request *request
		Page    Page
	}{req, p})
}

// A view is the data of a template: the methods of the request return texts and
// links, and Data is what the screen shows.
type view struct {
	*request
	Heading string
	Data    any
}

func (req *request) fragment(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := req.site.pages.ExecuteTemplate(&b, name+".html", data)
	return template.HTML(b.String()), err
}
