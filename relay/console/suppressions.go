package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
)

// The actions on the suppression list.
const (
	ViewSuppressions  Action = "view-suppressions"
	AddSuppression    Action = "add-suppression"
	RemoveSuppression Action = "remove-suppression"
)

func suppressionRoutes() []route {
	const one = "/suppressions/{address}"
	return []route{
		{path: "/suppressions", part: Suppressions, action: ViewSuppressions, first: true, get: (*request).suppressions,
			adds: AddSuppression, post: (*request).addSuppression, inputs: []input{{name: "address"}, {name: "reason"}}},
		{path: "/suppressions.csv", part: Suppressions, action: ViewSuppressions, get: (*request).suppressionsFile},
		{path: one, part: Suppressions, action: ViewSuppressions, get: (*request).suppression},
		{path: one + "/remove", part: Suppressions, action: RemoveSuppression, post: (*request).removeSuppression},
	}
}

// suppressionSources are the names of the sources in addresses, JSON and keys of texts.
var suppressionSources = map[store.SuppressionSource]string{
	store.SuppressedByReply: "reply", store.SuppressedByReport: "report",
	store.SuppressedByComplaint: "complaint", store.SuppressedByPerson: "person",
}

// A choice is an option of a select element.
type choice struct {
	Value, Text string
	Chosen      bool
}

type suppressionsData struct {
	listing
	List    []store.Suppression
	Sources []choice
	Source  string // the one that is chosen
	File    string // the address of the list as a file
	Form    suppressionForm
}

// A suppressionForm is what was typed into the form for a new address.
type suppressionForm struct {
	Address, Reason, Error string
}

func (req *request) suppressions() (response, error) {
	return req.suppressionsWith(http.StatusOK, suppressionForm{})
}

// suppressionFilter returns what the query asks for, and the page that the store
// searches, in which domains are A-labels.
func (req *request) suppressionFilter() (f store.SuppressionFilter, shown, searched store.Page, err error) {
	if shown, err = req.page(); err != nil {
		return f, shown, shown, err
	}
	searched = shown
	at := strings.LastIndex(shown.Search, "@") + 1
	if domain, err := idna.Lookup.ToASCII(shown.Search[at:]); err == nil {
		searched.Search = shown.Search[:at] + domain
	}
	name := req.r.URL.Query().Get("source")
	for source, is := range suppressionSources {
		if is == name {
			f.Source = source
		}
	}
	if name != "" && f.Source == 0 {
		err = &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "source", args: []string{req.T("reason.source")}}
	}
	return f, shown, searched, err
}

// suppressionsWith returns the list, with what was typed into the form.
func (req *request) suppressionsWith(status int, form suppressionForm) (response, error) {
	f, page, searched, err := req.suppressionFilter()
	if err != nil {
		return response{}, err
	}
	list, err := req.h.Suppressions.Addresses(req.ctx(), req.tenantID, f, searched)
	if err != nil {
		return response{}, err
	}
	list, next := trimPage(list, page, func(su store.Suppression) string { return su.Address })
	source := suppressionSources[f.Source]
	data := suppressionsData{
		listing: newListing(req.T("suppressions.search"), page, len(list), next), List: list, Source: source, Form: form,
		File: req.Root() + "suppressions.csv" + query("search", page.Search, "source", source),
	}
	data.keepSource(page, next)
	for _, s := range []store.SuppressionSource{0, store.SuppressedByReply, store.SuppressedByReport, store.SuppressedByComplaint, store.SuppressedByPerson} {
		name := suppressionSources[s]
		text := req.T("suppressions.all")
		if name != "" {
			text = req.T("suppression.source." + name)
		}
		data.Sources = append(data.Sources, choice{name, text, s == f.Source})
	}
	return response{
		status: status, template: "suppressions", title: req.T("suppressions"), data: data,
		document: suppressionsDocument{documentsOf(list, documentOfSuppression), nullable(next)},
	}, nil
}

// keepSource keeps the source in the links between pages.
func (d *suppressionsData) keepSource(page store.Page, next string) {
	if d.Source == "" {
		return
	}
	d.MaySearch, d.All = true, "?"
	if next != "" {
		d.Next = query("search", page.Search, "source", d.Source, "limit", d.Limit, "after", next)
	}
	if page.After != "" {
		d.First = query("search", page.Search, "source", d.Source, "limit", d.Limit)
	}
}

func (req *request) addSuppression() (response, error) {
	form := suppressionForm{Address: strings.TrimSpace(req.inputs.Get("address")), Reason: req.inputs.Get("reason")}
	begun := time.Now().Truncate(time.Microsecond) // as a Store keeps times
	err := req.h.Suppressions.Add(req.ctx(), req.tenantID, form.Address, store.SuppressedByPerson, form.Reason)
	if err == nil {
		var su store.Suppression
		if su, err = req.h.Suppressions.Get(req.ctx(), req.tenantID, form.Address); err == nil {
			if !su.Changed.Before(begun) {
				req.changed(Change{Action: AddSuppression, Object: su.Address})
			}
			return response{status: http.StatusCreated, location: suppressionPath(su.Address) + query("done", "suppressed"), document: documentOfSuppression(su)}, nil
		}
	}
	if !errors.Is(err, suppress.ErrAddress) {
		return response{}, err
	}
	p := &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "address", args: []string{req.T("reason.address")}}
	if req.asJSON {
		return response{}, p
	}
	form.Error = req.T("problem.invalid.detail", p.args...)
	return req.suppressionsWith(p.status, form)
}

// suppressionOfPath returns the suppression that the path names.
func (req *request) suppressionOfPath() (store.Suppression, error) {
	su, err := req.h.Suppressions.Get(req.ctx(), req.tenantID, req.pathValues["address"])
	if errors.Is(err, suppress.ErrAddress) || errors.Is(err, store.ErrNotFound) {
		err = req.notSuppressed()
	}
	return su, err
}

// notSuppressed returns the problem of an address that is not on the list.
func (req *request) notSuppressed() error {
	return &problem{code: "not-suppressed", status: http.StatusNotFound, actions: []link{{req.T("suppressions"), "suppressions"}}}
}

func (req *request) suppression() (response, error) {
	su, err := req.suppressionOfPath()
	return response{template: "suppression", title: req.Mailbox(su.Address), data: su, document: documentOfSuppression(su)}, err
}

func (req *request) removeSuppression() (response, error) {
	su, err := req.suppressionOfPath()
	if err == nil {
		err = req.h.Suppressions.Remove(req.ctx(), req.tenantID, su.Address)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = req.notSuppressed()
	}
	if err != nil {
		return response{}, err
	}
	req.changed(Change{Action: RemoveSuppression, Object: su.Address})
	return response{location: "suppressions" + query("done", "unsuppressed")}, nil
}

// Mailbox returns an address with the domain in Unicode.
func (req *request) Mailbox(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at+1] + req.Unicode(address[at+1:])
}

// Suppression returns the address of the page of an address, or of one below it.
func (req *request) Suppression(address string, more ...string) string {
	return req.Root() + suppressionPath(address, more...)
}

func suppressionPath(address string, more ...string) string {
	return strings.Join(append([]string{"suppressions", url.PathEscape(address)}, more...), "/")
}

// Source returns the name of a source.
func (req *request) Source(su store.Suppression) string { return suppressionSources[su.Source] }

// Cause returns in plain words why an address is on the list.
func (req *request) Cause(su store.Suppression) string {
	if su.Site != "" && req.IsReply(su) {
		return req.T("suppression.why-at."+req.Source(su), su.Site)
	}
	return req.T("suppression.why." + req.Source(su))
}

// IsReply reports whether the reason is in the words of a server.
func (req *request) IsReply(su store.Suppression) bool {
	return su.Source == store.SuppressedByReply || su.Source == store.SuppressedByReport
}

type suppressionDocument struct {
	Address string     `json:"address"`
	Source  string     `json:"source"`
	Reason  string     `json:"reason"`
	Site    *string    `json:"site"`
	Since   time.Time  `json:"since"`
	Until   *time.Time `json:"until"`
}

type suppressionsDocument struct {
	Suppressions []suppressionDocument `json:"suppressions"`
	Next         *string               `json:"next"`
}

func documentOfSuppression(su store.Suppression) suppressionDocument {
	return suppressionDocument{su.Address, suppressionSources[su.Source], su.Reason, nullable(su.Site), su.Since, nullable(su.Until)}
}
