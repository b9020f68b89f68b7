package console

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// sorts are the values of the parameter sort. The first is the default.
var sorts = []string{"name", "-name", "connection", "-connection"}

// query returns the part of a list of domains or users that the query asks for.
func (req *request) query() (store.Query, error) {
	page, err := req.page()
	if err != nil {
		return store.Query{}, err
	}
	q := store.Query{Search: page.Search, After: page.After, Limit: page.Limit - 1}
	values := req.r.URL.Query()
	if before := values.Get("before"); len(before) <= 8192 {
		q.Before = before
	}
	q.Never = values.Get("never") == "true"
	sort := values.Get("sort")
	if sort == "" {
		sort = sorts[0]
	}
	n := slices.Index(sorts, sort)
	if n < 0 {
		return q, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "sort", args: []string{req.T("reason.sort")}}
	}
	q.Order, q.Descending = store.Order(n/2), n%2 == 1
	return q, nil
}

// A sortLink sorts a list by a column, or by it in the other direction.
type sortLink struct {
	Text, To string
	Aria     string // how the list is sorted by this column now: aria-sort
}

// newQueryListing returns the search and the navigation of a list of domains or users.
func (req *request) newQueryListing(label string, q store.Query, found store.Found) listing {
	sort := sorts[2*int(q.Order)+map[bool]int{true: 1}[q.Descending]]
	never := map[bool]string{true: "true"}[q.Never]
	to := func(sort, never, place, cursor string) string {
		if sort == sorts[0] {
			sort = ""
		}
		return query("search", q.Search, "sort", sort, "never", never, "limit", shownLimit(q.Limit), place, cursor)
	}
	l := listing{
		Label: label, Search: q.Search, Sort: sort, Limit: shownLimit(q.Limit), Filtered: q.Never,
		MaySearch: q.Search != "" || q.Never || found.All >= searchFrom,
	}
	if l.Sort == sorts[0] {
		l.Sort = ""
	}
	if found.Next != "" {
		l.Next = to(sort, never, "after", found.Next)
	}
	if found.Previous != "" {
		l.Previous = to(sort, never, "before", found.Previous)
	}
	if q.After != "" || q.Before != "" {
		l.First = to(sort, never, "after", "")
	}
	if q.Search != "" {
		l.All = query()
	}
	if l.MaySearch {
		l.Never = to(sort, "true", "after", "")
		if q.Never {
			l.Never = to(sort, "", "after", "")
		}
	}
	if q.Search != "" || q.Never {
		l.Count = req.T("list.count", strconv.Itoa(found.Matching), strconv.Itoa(found.All))
	}
	l.ByName = sortLink{To: to("name", never, "after", ""), Aria: "none"}
	l.ByConnection = sortLink{To: to("-connection", never, "after", ""), Aria: "none"}
	switch sort {
	case "name":
		l.ByName = sortLink{To: to("-name", never, "after", ""), Aria: "ascending"}
	case "-name":
		l.ByName.Aria = "descending"
	case "connection":
		l.ByConnection.Aria = "ascending"
	case "-connection":
		l.ByConnection = sortLink{To: to("connection", never, "after", ""), Aria: "descending"}
	}
	l.ByConnection.Text = req.T("last-connection")
	return l
}

// Unused reports whether no tool has connected as a user for long. It is false for a
// user that never connected: the list says so.
func (req *request) Unused(u store.User) bool {
	return !u.LastConnection.IsZero() && isUnused(u, time.Now())
}

// used returns how many of a limited number there are, in words, or "" without a limit.
func (req *request) used(key string, n, limit int) string {
	if limit <= 0 {
		return ""
	}
	return req.T(key, strconv.Itoa(n), strconv.Itoa(limit))
}

// usersFound returns the first users of all domains that a search of the first page
// finds.
func (req *request) usersFound(q store.Query) ([]store.User, store.Found, error) {
	if q.Search == "" || q.After != "" || q.Before != "" || req.asJSON {
		return nil, store.Found{}, nil
	}
	return req.tenant.Users(req.ctx(), "", store.Query{Search: q.Search, Limit: searchFrom})
}
