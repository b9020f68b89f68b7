package console

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is what the pages show of the DNS records of a domain.

func dnsRoutes() []route {
	const domain = "/domains/{domain}"
	return []route{
		{path: domain + "/check", part: Domains, action: CheckDomain, post: (*request).checkDomain},
		{path: domain + "/rotate-key", part: Domains, action: ChangeKey, post: (*request).rotateKey},
		{path: domain + "/use-txt", part: Domains, action: ChangeKey, post: (*request).useTXT},
	}
}

// dnsData is the state of a domain and its records, for the domain's page.
type dnsData struct {
	domains.Domain
	Anyway bool // users send without the records
	List   []record
	OwnKey bool // the domain has a key of its own
}

// A record is a DNS record as pages show it.
type record struct {
	domains.Record
	Number int
	Short  string // the name without the domain
	Why    string // what the record is for
	State  string // what was seen, in a word or two
	Help   string // what to do
}

// dns returns the records of a domain; nil without a Manager of domains.
func (req *request) dns(d store.Domain) (*dnsData, error) {
	if req.h.Domains == nil {
		return nil, nil
	}
	found, err := req.h.Domains.Domain(req.ctx(), req.tenantID, d.Name)
	if err != nil {
		return nil, err
	}
	data := &dnsData{Domain: found, Anyway: req.h.Domains.AllowUnverified}
	for i, r := range found.Records {
		data.OwnKey = data.OwnKey || r.Purpose == domains.DKIM && r.Type == "TXT"
		data.List = append(data.List, record{
			Record: r, Number: i + 1, Short: strings.TrimSuffix(r.Name, "."+found.Name),
			Why: req.T("dns.why." + string(r.Purpose)), State: req.T("dns.status." + statusKey(r.Status)), Help: req.help(r),
		})
	}
	return data, nil
}

// state returns the state of the domain, or "" without a Manager of domains.
func (d *dnsData) state() domains.State {
	if d == nil {
		return ""
	}
	return d.Domain.State
}

// firstState is the state of a domain that was just added.
func (req *request) firstState() domains.State {
	if req.h.Domains == nil {
		return ""
	}
	return domains.Unverified
}

func statusKey(s domains.Status) string { return strings.ReplaceAll(string(s), " ", "-") }

// help returns what to do about a record, in the visitor's language.
func (req *request) help(r domains.Record) string {
	if text, ok := req.lang.Texts["reason."+r.Reason]; ok || r.Reason == "" {
		return text
	}
	if req.lang.Code == defaultLanguage {
		return strings.ToUpper(r.Reason[:1]) + r.Reason[1:] + "."
	}
	return req.T("dns.help." + statusKey(r.Status))
}

// Pill returns the class of a record's status: "good", "wait" or "bad".
func (r record) Pill() string {
	switch {
	case r.Status == domains.Right:
		return "good"
	case r.Required && (r.Status == domains.Wrong || r.Status == domains.Missing):
		return "bad"
	}
	return "wait"
}

func (req *request) domainState(s domains.State) pill {
	kind := map[domains.State]string{domains.Verified: "good", domains.Failing: "bad", domains.Failed: "bad"}[s]
	return pill{Kind: cmp.Or(kind, "wait"), Word: req.T("domain.state." + string(s))}
}

// DomainState returns the state of a domain for the template "pill".
func (req *request) DomainState(d *dnsData) pill { return req.domainState(d.State) }

// states returns the states of the domains of a list by their names; nil without a
// Manager of domains.
func (req *request) states(list []store.Domain) (map[string]domains.State, error) {
	if req.h.Domains == nil {
		return nil, nil
	}
	found, err := req.h.Domains.States(req.ctx(), req.tenantID, list)
	states := make(map[string]domains.State)
	for _, d := range found {
		states[d.Name] = d.State
	}
	return states, err
}

// problemsFirst moves the domains that do not send to the beginning of a list.
func problemsFirst(list []store.Domain, states map[string]domains.State) {
	rank := map[domains.State]int{domains.Failed: -3, domains.Failing: -2, domains.Unverified: -1}
	slices.SortStableFunc(list, func(a, b store.Domain) int { return rank[states[a.Name]] - rank[states[b.Name]] })
}

// maxAttention is how many domains are listed because they need attention.
const maxAttention = 20

// An attention is a domain that does not send, or soon will not.
type attention struct {
	Name  string
	State pill
}

// attention returns the domains that need attention.
func (req *request) attention() ([]attention, error) {
	if req.h.Domains == nil {
		return nil, nil
	}
	list, err := req.h.Domains.NotVerified(req.ctx(), req.tenantID, maxAttention)
	var all []attention
	for _, d := range list {
		all = append(all, attention{d.Name, req.domainState(d.State)})
	}
	return all, err
}

func (req *request) checkDomain() (response, error) {
	return req.onDNS(Change{Action: CheckDomain}, "checked", func(name string) error {
		_, err := req.h.Domains.Check(req.ctx(), req.tenantID, name)
		return err
	})
}

func (req *request) rotateKey() (response, error) {
	return req.onDNS(Change{Action: ChangeKey, Detail: "rotate"}, "key-rotated", func(name string) error {
		return req.h.Domains.Rotate(req.ctx(), req.tenantID, name)
	})
}

func (req *request) useTXT() (response, error) {
	return req.onDNS(Change{Action: ChangeKey, Detail: "use-txt"}, "use-txt", func(name string) error {
		return req.h.Domains.UseTXT(req.ctx(), req.tenantID, name)
	})
}

// onDNS changes the records of the domain of the path, and returns to its page.
func (req *request) onDNS(c Change, done string, change func(domain string) error) (response, error) {
	d, err := req.domainOfPath()
	if err != nil {
		return response{}, err
	}
	if err := change(d.Name); err != nil {
		if errors.Is(err, domains.ErrDelegated) {
			err = &problem{code: "key-fixed", status: http.StatusConflict}
		}
		return response{}, err
	}
	c.Domain = d.Name
	req.changed(c)
	now, err := req.dns(d)
	if err != nil {
		return response{}, err
	}
	return response{location: domainPath(d.Name) + query("done", done) + "#gatepost-dns", document: documentOfDNS(now)}, nil
}

// A dnsDocument is the state of a domain and its records in JSON.
type dnsDocument struct {
	State   string           `json:"state"`
	Since   time.Time        `json:"since"`
	Checked *time.Time       `json:"checked"`
	Next    time.Time        `json:"next"`
	Until   *time.Time       `json:"until"`
	Sends   bool             `json:"sends"`
	Records []recordDocument `json:"records"`
}

type recordDocument struct {
	Purpose  string   `json:"purpose"`
	Type     string   `json:"type"`
	Name     string   `json:"name"`
	Value    string   `json:"value"`
	Required bool     `json:"required"`
	Status   string   `json:"status"`
	Found    []string `json:"found"`
	Reason   string   `json:"reason"`
}

func documentOfDNS(d *dnsData) *dnsDocument {
	if d == nil {
		return nil
	}
	return &dnsDocument{
		State: string(d.State), Since: d.Since, Checked: nullable(d.Checked), Next: d.Next, Until: nullable(d.Until), Sends: d.Sends() || d.Anyway,
		Records: documentsOf(d.List, func(r record) recordDocument {
			found := r.Found
			if found == nil {
				found = []string{}
			}
			return recordDocument{string(r.Purpose), r.Type, r.Name, r.Value, r.Required, statusKey(r.Status), found, r.Help}
		}),
	}
}
