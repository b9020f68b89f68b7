package console

import (
	"net/url"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// ActivityLink returns the address of the activities that a filter selects, which is
// given as names and values of the query. It is "" if there is no such part for the
// visitor.
func (req *request) ActivityLink(pairs ...string) string {
	return req.partQuery(Activity, pairs)
}

// StatisticsLink is ActivityLink for the statistics.
func (req *request) StatisticsLink(pairs ...string) string {
	return req.partQuery(Statistics, pairs)
}

func (req *request) partQuery(p Part, pairs []string) string {
	to, ok := req.PartLink(p)
	if !ok {
		return ""
	}
	q := query(pairs...)
	switch {
	case q == "?":
		return to
	case strings.Contains(to, "?"): // the address of a part that is elsewhere
		return to + "&" + q[1:]
	}
	return to + q
}

// UserLink returns the address of a user's page, in this handler or in another one. It is
// "" if there is none for the visitor.
func (req *request) UserLink(u store.User) string {
	to, ok := req.PartLink(Domains)
	if !ok {
		return ""
	}
	return strings.TrimSuffix(to, "/") + "/" + userPath(u)
}

func mailPath(id string, more ...string) string {
	return strings.Join(append([]string{"activity", url.PathEscape(id)}, more...), "/")
}

// queriedDomain returns the domain of the query as names of domains are kept.
func (req *request) queriedDomain() string {
	name := req.queried("domain")
	if normal, err := credentials.NormalizeDomain(name); err == nil {
		return normal
	}
	return name
}
