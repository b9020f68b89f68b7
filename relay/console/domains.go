package console

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

func domainRoutes() []route {
	const domain, user = "/domains/{domain}", "/domains/{domain}/users/{username}"
	return []route{
		{path: "/", part: Domains, action: ViewDomains, first: true, get: (*request).domains, adds: AddDomain, post: (*request).addDomain, inputs: []input{{name: "name"}}},
		{path: domain, part: Domains, action: ViewDomains, get: (*request).domain},
		{path: domain + "/delete", part: Domains, action: DeleteDomain, get: (*request).deleteDomainForm, post: (*request).deleteDomain, form: true},
		{path: domain + "/add", part: Domains, action: AddUser, get: (*request).addUserForm, post: (*request).addUser, form: true, inputs: []input{{name: "name"}}},
		{path: user, part: Domains, action: ViewDomains, get: (*request).user},
		{path: user + "/connection", part: Domains, action: ViewDomains, get: (*request).connection},
		{path: user + "/pause", part: Domains, action: SuspendUser, get: (*request).pauseUserForm, post: (*request).pauseUser, form: true, inputs: []input{{name: "reason"}}},
		{path: user + "/resume", part: Domains, action: SuspendUser, post: (*request).resumeUser},
		{path: user + "/end-overlap", part: Domains, action: ResetPassword, post: (*request).endOverlap},
		{path: user + "/test", part: Domains, action: SendTest, get: (*request).testPage, post: (*request).sendTest, form: true, inputs: []input{{name: "to"}}},
		{path: user + "/test/{mail}", part: Domains, action: ViewDomains, get: (*request).testSent},
		{path: user + "/rename", part: Domains, action: RenameUser, get: (*request).renameForm, post: (*request).rename, form: true, inputs: []input{{name: "name"}}},
		{path: user + "/reset", part: Domains, action: ResetPassword, get: (*request).resetForm, post: (*request).reset, form: true, inputs: []input{{"generation", number}, {"overlap", truth}}},
		{path: user + "/delete", part: Domains, action: DeleteUser, get: (*request).deleteUserForm, post: (*request).deleteUser, form: true},
	}
}

// A listing is the search and the navigation of a list.
type listing struct {
	Label     string // of the search field
	Search    string // the text to search for
	MaySearch bool   // whether to show the search field
	Next      string // address of the next page
	Previous  string // address of the page before
	First     string // address of the first page
	All       string // address of the list without a search
	Limit     string // the parameter limit

	// Only of domains and users.
	Count                string // how many entries match, in words
	Sort                 string // the parameter sort
	Never                string // address with, or without, the filter of what never connected
	Filtered             bool   // whether that filter is on
	ByName, ByConnection sortLink
}

// searchFrom is the number of entries from which a list has a search field.
const searchFrom = 10

// shownLimit returns the parameter limit for links; "" stands for the default.
func shownLimit(n int) string {
	if n == pageSize {
		return ""
	}
	return strconv.Itoa(n)
}

func newListing(label string, page store.Page, entries int, next string) listing {
	l := listing{Label: label, Search: page.Search, MaySearch: page.Search != "" || page.After != "" || entries >= searchFrom, Limit: shownLimit(page.Limit - 1)}
	if next != "" {
		l.Next = query("search", page.Search, "limit", l.Limit, "after", next)
	}
	if page.After != "" {
		l.First = query("search", page.Search, "limit", l.Limit)
	}
	if page.Search != "" {
		l.All = query()
	}
	return l
}

type domainsData struct {
	listing
	Domains   []store.Domain
	States    map[string]domains.State // by name; nil without DNS records
	Attention []attention
	Found     []store.User // of all domains, by a search
	More      string       // how many of them there are, in words
	Used      string       // how many domains of how many, in words
	Typed     string       // the text in the field for a new domain
	Error     string       // why it was refused
}

// State returns the state of a domain for the template "pill".
func (d domainsData) State(req view, name string) pill { return req.domainState(d.States[name]) }

func (req *request) domains() (response, error) {
	return req.domainsWith(http.StatusOK, "", "")
}

// domainsWith returns the list of domains, with a text in the field for a new
// domain and the reason why it was refused.
func (req *request) domainsWith(status int, typed, problem string) (response, error) {
	page, err := req.query()
	if err != nil {
		return response{}, err
	}
	list, found, err := req.tenant.Domains(req.ctx(), page)
	if err != nil {
		return response{}, err
	}
	states, err := req.states(list)
	if err != nil {
		return response{}, err
	}
	users, usersFound, err := req.usersFound(page)
	if err != nil {
		return response{}, err
	}
	limit, _, err := req.tenant.Limits(req.ctx())
	if err != nil {
		return response{}, err
	}
	document := domainsDocument{documentsOf(list, func(d store.Domain) domainDocument { return documentOfDomain(d, states[d.Name]) }), pagesOf(found), nullable(limit)}
	var troubled []attention
	switch {
	case page.After != "" || page.Before != "" || page.Search != "" || page.Never || req.asJSON:
	case page.Order != store.ByName || page.Descending: // as the visitor wants
	case found.Next == "": // the page has all domains
		problemsFirst(list, states)
	default:
		if troubled, err = req.attention(); err != nil {
			return response{}, err
		}
	}
	data := domainsData{listing: req.newQueryListing(req.T("domains.search"), page, found), Domains: list, States: states, Attention: troubled,
		Found: users, Used: req.used("domains.used", found.All, limit), Typed: typed, Error: problem}
	data.ByName.Text = req.T("domain")
	data.MaySearch = data.MaySearch || slices.ContainsFunc(list, func(d store.Domain) bool { return d.Users >= searchFrom })
	if usersFound.Matching > 0 {
		data.More = req.T("list.count", strconv.Itoa(len(users)), strconv.Itoa(usersFound.Matching))
	}
	return response{
		status:   status,
		template: "domains",
		title:    req.T("domains"),
		data:     data,
		document: document,
	}, nil
}

func (req *request) addDomain() (response, error) {
	name := strings.TrimSpace(req.inputs.Get("name"))
	d, err := req.tenant.AddDomain(req.ctx(), name)
	if err == nil {
		req.changed(Change{Action: AddDomain, Domain: d.Name})
		return response{
			status:   http.StatusCreated,
			location: "domains/" + d.Name + query("done", "domain-added"),
			document: documentOfDomain(d, req.firstState()),
		}, nil
	}
	if errors.Is(err, store.ErrTaken) {
		code := "domain-taken"
		if _, own := req.tenant.Domain(req.ctx(), name); own == nil {
			code = "domain-yours"
		}
		err = &problem{code: code, status: http.StatusConflict, field: "name", args: []string{name}}
	}
	if errors.Is(err, store.ErrLimit) {
		err = &problem{code: "domain-limit", status: http.StatusConflict, field: "name"}
	}
	p := req.problemOf(err)
	if p.field == "" {
		return response{}, p
	}
	p.field = "name" // the name of the input
	if req.asJSON {
		return response{}, p
	}
	return req.domainsWith(p.status, name, req.T("problem."+p.code+".detail", p.args...))
}

type domainData struct {
	listing
	Domain store.Domain
	DNS    *dnsData // nil without DNS records
	Users  []store.User
	Used   string // how many users of how many, in words
}

func (req *request) domain() (response, error) {
	d, err := req.domainOfPath()
	if err != nil {
		return response{}, err
	}
	page, err := req.query()
	if err != nil {
		return response{}, err
	}
	list, found, err := req.tenant.Users(req.ctx(), d.Name, page)
	if err != nil {
		return response{}, err
	}
	dns, err := req.dns(d)
	if err != nil {
		return response{}, err
	}
	_, limit, err := req.tenant.Limits(req.ctx())
	if err != nil {
		return response{}, err
	}
	document := usersDocument{documentOfDomain(d, dns.state()), documentOfDNS(dns), documentsOf(list, documentOfUser), pagesOf(found), nullable(limit)}
	data := domainData{req.newQueryListing(req.T("users.search"), page, found), d, dns, list, req.used("users.used", d.Users, limit)}
	data.ByName.Text = req.T("name")
	return response{
		template: "domain",
		title:    req.Unicode(d.Name),
		data:     data,
		document: document,
	}, nil
}

// deletion is the data of a form to delete a domain or a user.
type deletion struct {
	Domain store.Domain
	User   store.User
	Error  string
}

func (req *request) deleteDomainForm() (response, error) {
	d, err := req.domainOfPath()
	return req.deleteDomainPage(http.StatusOK, deletion{Domain: d}), err
}

func (req *request) deleteDomainPage(status int, d deletion) response {
	return response{status: status, template: "delete-domain", title: req.T("delete-domain.title", req.Unicode(d.Domain.Name)), data: d}
}

func (req *request) deleteDomain() (response, error) {
	d, err := req.domainOfPath()
	if err != nil {
		return response{}, err
	}
	if !req.asJSON {
		typed, err := credentials.NormalizeDomain(strings.TrimSpace(req.inputs.Get("confirm")))
		if err != nil || typed != d.Name {
			return req.deleteDomainPage(http.StatusUnprocessableEntity, deletion{Domain: d, Error: req.T("delete.mismatch", req.Unicode(d.Name))}), nil
		}
	}
	if err := req.tenant.DeleteDomain(req.ctx(), d.Name); err != nil {
		return response{}, err
	}
	req.changed(Change{Action: DeleteDomain, Domain: d.Name})
	return response{location: query("done", "domain-deleted")}, nil
}
