package console

import (
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/limits"
)

// This file is what the pages show of the limits: a bar on each page, and a page of its
// own.

func quotaRoutes() []route {
	return []route{{path: "/quota", part: Quota, action: ViewQuota, first: true, get: (*request).quota}}
}

// A quota is a limit and what is used of it.
type quota struct {
	limits.Usage
	Whose, Text, Share, Renewed string // in words
}

// Level returns the class of the bar: "some", "most" from 80 percent, "all".
func (q quota) Level() string {
	switch percent := q.Percent(); {
	case percent >= 100:
		return "all"
	case percent >= 80:
		return "most"
	}
	return "some"
}

// Width returns the length of the bar in percent.
func (q quota) Width() int { return min(q.Percent(), 100) }

// about says whose limits the page shows beside those of the tenant.
func (req *request) about(domain, username string) { req.ofDomain, req.ofUser = domain, username }

// Quotas returns the limits that count for what the page is about. The page is shown
// without them if they cannot be read.
func (req *request) Quotas() []quota {
	if req.h == nil || req.h.Limits == nil || req.tenantID == "" || !req.May(ViewQuota) {
		return nil
	}
	list, err := req.quotas(req.ofDomain, req.ofUser)
	if err != nil {
		req.site.logger.ErrorContext(req.ctx(), "console: limits cannot be read, the page is shown without them", "error", err)
	}
	return list
}

// quotas returns the limits of the tenant, and of a domain and a user if they are not
// empty.
func (req *request) quotas(domain, username string) (list []quota, err error) {
	used, err := req.h.Limits.Usage(req.ctx(), credentials.Identity{Tenant: req.tenantID, Domain: domain, Username: username})
	for _, u := range used {
		if u.Scope == limits.PerDomain && domain == "" || u.Scope == limits.PerUser && username == "" {
			continue
		}
		q := quota{Usage: u, Whose: req.T("quota.whose." + scopeNames[u.Scope]), Renewed: req.renewed(u), Share: req.T("number.percent", req.Number(int64(u.Percent())))}
		q.Text = req.T("quota.used."+intervalNames[u.Interval], req.Number(u.Used), req.Number(u.Max))
		list = append(list, q)
	}
	return list, err
}

var (
	scopeNames    = map[limits.Scope]string{limits.PerTenant: "tenant", limits.PerDomain: "domain", limits.PerUser: "user"}
	intervalNames = map[limits.Interval]string{limits.Monthly: "month", limits.Daily: "day", limits.Hourly: "hour"}
)

// renewed returns when a limit begins anew.
func (req *request) renewed(u limits.Usage) string {
	end := u.End.In(req.loc)
	text := req.Day(end)
	if u.Interval == limits.Hourly {
		text = end.Format("15:04 MST")
	} else if end.Hour() != 0 || end.Minute() != 0 {
		text = req.T("time.at", text, end.Format("15:04 MST"))
	}
	return req.T("quota.renewed", text)
}

type quotaDocument struct {
	Scope    string    `json:"scope"`
	Interval string    `json:"interval"`
	Max      int64     `json:"max"`
	Used     int64     `json:"used"`
	Percent  int       `json:"percent"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`
}

type quotasDocument struct {
	Limits []quotaDocument `json:"limits"`
}

// quota shows the limits of the tenant, or of a user that the query names.
func (req *request) quota() (response, error) {
	q := req.r.URL.Query()
	if username := q.Get("username"); username != "" {
		u, err := req.tenant.User(req.ctx(), username)
		if err != nil {
			return response{}, err
		}
		req.about(u.Domain, u.Username)
	} else if domain := q.Get("domain"); domain != "" {
		d, err := req.tenant.Domain(req.ctx(), domain)
		if err != nil {
			return response{}, notADomain(err)
		}
		req.about(d.Name, "")
	}
	list, err := req.quotas(req.ofDomain, req.ofUser)
	if err != nil {
		return response{}, err
	}
	return response{
		status: http.StatusOK, template: "quota", title: req.T(string(Quota)), data: list,
		document: quotasDocument{documentsOf(list, func(q quota) quotaDocument {
			return quotaDocument{scopeNames[q.Scope], intervalNames[q.Interval], q.Max, q.Used, q.Percent(), q.Begin, q.End}
		})},
	}, nil
}
