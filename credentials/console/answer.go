package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
)

// An answer is what a request comes to, for people and for programs.
type answer struct {
	status int // zero means 200

	// For people: a template with its title and data, or somewhere else to go,
	// relative to the console's root.
	template string
	title    string
	data     any
	location string

	// For programs: a document; nil is no content.
	document any
}

func (v *visit) send(a answer) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	switch {
	case v.program && a.document == nil:
		v.header()
		v.w.WriteHeader(http.StatusNoContent)
	case v.program:
		v.sendJSON(a.status, "application/json", a.document)
	case a.location != "":
		v.redirect(v.Root()+a.location, http.StatusSeeOther)
	default:
		v.sendPage(a)
	}
}

// redirect sends the client to a relative address: only the embedder knows the
// path that the console is mounted at.
func (v *visit) redirect(to string, status int) {
	v.header().Set("Location", to)
	v.w.WriteHeader(status)
}

func (v *visit) sendJSON(status int, mediaType string, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		v.fail(err)
		return
	}
	if v.policy != "" {
		v.policy = jsonPolicy
	}
	header := v.header()
	header.Set("Content-Type", mediaType)
	v.w.WriteHeader(status)
	v.write(append(body, '\n'))
}

// sendPage writes nothing before all of the page is there.
func (v *visit) sendPage(a answer) {
	var page bytes.Buffer
	if err := v.render(&page, a); err != nil {
		v.h.logger().ErrorContext(v.ctx(), "console: page can't be made", "error", err)
		v.header()
		http.Error(v.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	header := v.header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", v.lang.Code)
	v.w.WriteHeader(a.status)
	v.write(page.Bytes())
}

func (v *visit) write(body []byte) {
	if v.r.Method != http.MethodHead {
		v.w.Write(body)
	}
}

func (v *visit) render(w *bytes.Buffer, a answer) error {
	p := Page{Language: v.lang.Code, Title: template.HTML(template.HTMLEscapeString(isolate(a.title) + " – " + v.Title())), Nonce: v.nonce}
	var err error
	if p.Head, err = v.fragment("head", v); err != nil {
		return err
	}
	if p.Body, err = v.fragment(a.template, view{v, a.title, a.data}); err != nil {
		return err
	}
	if v.h.Layout != nil {
		return v.h.Layout(w, v.r, p)
	}
	return v.h.parts.pages.ExecuteTemplate(w, "layout.html", struct {
		Visit *visit
		Page  Page
	}{v, p})
}

// A view is what the templates see: the texts and links of the visit, and the
// data of the screen.
type view struct {
	*visit
	Heading string
	Data    any
}

func (v *visit) fragment(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := v.h.parts.pages.ExecuteTemplate(&b, name+".html", data)
	return template.HTML(b.String()), err
}
