package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A listing is a page of a list and how to get to others.
type listing struct {
	Label     string // of the field to search
	Search    string // what is searched for
	MaySearch bool   // the list is long enough, or is searched already
	Next      string // address of the next page
	First     string // address of the first page
	All       string // address of the list without a search
}

// searchFrom is the number of entries from which on a list can be searched.
const searchFrom = 10

func newListing(label string, page store.Page, entries int, next string) listing {
	l := listing{Label: label, Search: page.Search, MaySearch: page.Search != "" || page.After != "" || entries >= searchFrom}
	if next != "" {
		l.Next = query("search", page.Search, "after", next)
	}
	if page.After != "" {
		l.First = query("search", page.Search)
	}
	if page.Search != "" {
		l.All = query()
	}
	return l
}

type domainsData struct {
	listing
	Domains []store.Domain
	Typed   string // into the field for a new domain
	Error   string // what is wrong with it
}

func (v *visit) domains() (answer, error) {
	return v.domainsWith(http.StatusOK, "", "")
}

// domainsWith is the list, with what was typed into its field and why that was
// refused.
func (v *visit) domainsWith(status int, typed, problem string) (answer, error) {
	page, err := v.page()
	if err != nil {
		return answer{}, err
	}
	query := page
	if name, err := idna.Lookup.ToASCII(page.Search); err == nil {
		query.Search = name // names are stored as A-labels
	}
	list, err := v.tenant.Domains(v.ctx(), query)
	if err != nil {
		return answer{}, err
	}
	list, next := cut(list, page, func(d store.Domain) string { return d.Name })
	return answer{
		status:   status,
		template: "domains",
		title:    v.T("domains"),
		data:     domainsData{newListing(v.T("domains.search"), page, len(list), next), list, typed, problem},
		document: domainsDocument{each(list, documentOfDomain), orNull(next)},
	}, nil
}

func (v *visit) addDomain() (answer, error) {
	name := strings.TrimSpace(v.inputs["name"])
	d, err := v.tenant.AddDomain(v.ctx(), name)
	if err == nil {
		return answer{
			status:   http.StatusCreated,
			location: "domains/" + d.Name + query("done", "domain-added"),
			document: documentOfDomain(d),
		}, nil
	}
	if errors.Is(err, store.ErrTaken) {
		code := "domain-taken"
		if _, own := v.tenant.Domain(v.ctx(), name); own == nil {
			code = "domain-yours"
		}
		err = &problem{code: code, status: http.StatusConflict, field: "name", args: []string{name}}
	}
	p := v.problemOf(err)
	if p.field == "" {
		return answer{}, p
	}
	p.field = "name" // as the request calls it
	if v.program {
		return answer{}, p
	}
	return v.domainsWith(p.status, name, v.T("problem."+p.code+".detail", p.args...))
}

type domainData struct {
	listing
	Domain store.Domain
	Users  []store.User
}

func (v *visit) domain() (answer, error) {
	d, err := v.theDomain()
	if err != nil {
		return answer{}, err
	}
	page, err := v.page()
	if err != nil {
		return answer{}, err
	}
	list, err := v.tenant.Users(v.ctx(), d.Name, page)
	if err != nil {
		return answer{}, err
	}
	list, next := cut(list, page, func(u store.User) string { return u.Username })
	document := usersDocument{documentOfDomain(d), each(list, documentOfUser), orNull(next)}
	if page.After == "" && next == "" { // all are here, so they can be in the order people look for
		slices.SortStableFunc(list, func(a, b store.User) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
	}
	return answer{
		template: "domain",
		title:    v.Unicode(d.Name),
		data:     domainData{newListing(v.T("users.search"), page, len(list), next), d, list},
		document: document,
	}, nil
}

// deletion is the data of a question before something is deleted.
type deletion struct {
	Domain store.Domain
	User   store.User
	Error  string
}

func (v *visit) askDeleteDomain() (answer, error) {
	d, err := v.theDomain()
	return v.deleteDomainPage(http.StatusOK, deletion{Domain: d}), err
}

func (v *visit) deleteDomainPage(status int, d deletion) answer {
	return answer{status: status, template: "delete-domain", title: v.T("delete-domain.title", v.Unicode(d.Domain.Name)), data: d}
}

func (v *visit) deleteDomain() (answer, error) {
	d, err := v.theDomain()
	if err != nil {
		return answer{}, err
	}
	if !v.program {
		typed, err := credentials.NormalizeDomain(strings.TrimSpace(v.inputs["confirm"]))
		if err != nil || typed != d.Name {
			return v.deleteDomainPage(http.StatusUnprocessableEntity, deletion{Domain: d, Error: v.T("delete.mismatch", v.Unicode(d.Name))}), nil
		}
	}
	if err := v.tenant.DeleteDomain(v.ctx(), d.Name); err != nil {
		return answer{}, err
	}
	return answer{location: query("done", "domain-deleted")}, nil
}
