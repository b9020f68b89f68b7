package console

import (
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"time"
)

// A Design is how the pages of a handler look, and which language they are in. The
// zero value is a plain page in the language of the visitor's browser.
type Design struct {
	// Title is the name of the console, at the top of each page and in its
	// title element. Empty means a name in the visitor's language.
	Title string

	// Logo is the address of an image beside the title: a path on the same
	// host, or a data URL. Empty means none.
	Logo string

	// Accent is the colour of buttons and links, in the form "#rrggbb". It is
	// darkened for light pages, and lightened for dark pages, until it has
	// the contrast that WCAG 2.2 AA requires. Empty means a blue.
	Accent string

	// Layout writes the page around the console. If it returns an error, the
	// response has status 500 and the Logger gets the error. Nil means a plain
	// page with the logo and the title at the top.
	Layout func(w io.Writer, r *http.Request, p Page) error

	// NoTabs leaves out the links between the parts, for a Layout that has links of its
	// own and marks that of Page.Part. False means that a page shows them if there are
	// two parts or more.
	NoTabs bool

	// ContentSecurityPolicy returns the Content-Security-Policy header of a
	// page, for a Layout that needs more than the default. The nonce is new for
	// each request and is in Page.Nonce too. Nil means a policy that allows
	// style sheets, scripts and images from the same host, images in data URLs,
	// and style and script elements that have the nonce.
	//
	// If a handler around this one has set the header, it stays as it is, and
	// the nonce is taken from it.
	ContentSecurityPolicy func(r *http.Request, nonce string) string

	// Language returns the visitor's language as a tag such as "fr" or "pt-BR"
	// (RFC 5646). If there are no texts in it, or it is empty, the header
	// Accept-Language decides. Nil means that the header always decides.
	Language func(*http.Request) string

	// Texts adds languages and changes texts. Its files have names such as de.json
	// and pt-br.json, and the form of those in the folder lang of this package: one
	// JSON object with the texts by their keys. A text that is missing stays as it
	// is; in a new language it is in English. Nil means the built-in texts:
	// English and French.
	Texts fs.FS

	// Location returns the time zone of the visitor, in which pages show times
	// and days begin. If it returns nil, or is nil, it is UTC.
	Location func(*http.Request) *time.Location
}

// A Page holds the parts of a page, for [Design].Layout.
type Page struct {
	Language string        // of the page, for the lang attribute: "en", "fr"
	Title    template.HTML // for the title element; it is escaped
	Head     template.HTML // for the head element: the style sheet and the script
	Body     template.HTML // for the main element or wherever the page has its content; its ids and classes begin with "gatepost"
	Nonce    string        // of the Content-Security-Policy, for style and script elements of the Layout

	// Part is the part of the console that the page belongs to, for a navigation of
	// the Layout. It is empty for the page of an error.
	Part Part

	// Screen names the page within its Part, such as "domains", "user" or
	// "credentials" (the page that shows a password). "problem" is the page of an
	// error.
	Screen string
}

// location returns the visitor's time zone.
func (d *Design) location(r *http.Request) *time.Location {
	if d.Location != nil {
		if loc := d.Location(r); loc != nil {
			return loc
		}
	}
	return time.UTC
}

// loadTexts returns the built-in languages with what Texts adds.
func (d *Design) loadTexts() (languages, error) {
	all := loadLanguages()
	if d.Texts == nil {
		return all, nil
	}
	if err := all.add(d.Texts); err != nil {
		return all, fmt.Errorf("console: Design.Texts: %w", err)
	}
	return all, nil
}
