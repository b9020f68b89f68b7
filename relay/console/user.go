package console

import (
	"net/netip"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// sentDays is how many days the numbers of a user are of.
	sentDays = 30

	// unusedAfter is how long nothing connects until the page says so.
	unusedAfter = 90 * 24 * time.Hour
)

type userData struct {
	connectionData
	Host     string
	Unused   bool // no tool has connected for unusedAfter
	Overlaps bool // the old password works as well
	Sent     *store.Count
	Refused  []refusal // newest first
}

// Networks returns the networks that the user may log in from; empty means all.
func (d userData) Networks() string {
	var list []string
	for _, n := range d.User.Networks {
		list = append(list, netip.Prefix.String(n))
	}
	return strings.Join(list, ", ")
}

func (req *request) user() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	if req.asJSON {
		return response{document: userAndServerDocument{documentOfUser(u), req.h.documentOfServer()}}, nil
	}
	c, err := req.connectionOf(u)
	if err != nil {
		return response{}, err
	}
	d := userData{
		connectionData: connectionData{User: u, Connection: c, Ports: req.h.ports()},
		Host:           req.h.SMTPHost, Unused: isUnused(u, time.Now()), Overlaps: overlaps(u),
	}
	return response{template: "user", title: u.Name, data: &d}, req.readSent(&d)
}

// isUnused reports whether no tool has connected for long.
func isUnused(u store.User, now time.Time) bool {
	last := u.LastConnection
	if last.IsZero() {
		last = u.Created
	}
	return now.Sub(last) > unusedAfter
}

// readSent reads what a user sent, and what was refused.
func (req *request) readSent(d *userData) error {
	if req.h.History == nil {
		return nil
	}
	now := time.Now()
	if req.May(ViewStatistics) {
		stats, err := req.history().Statistics(req.ctx(), history.Last(sentDays, now, req.loc), d.User.Domain, d.User.Username)
		if err != nil {
			return err
		}
		d.Sent = &stats.Total
	}
	if !req.May(ViewActivity) {
		return nil
	}
	list, err := req.refusals(d.User, now.AddDate(0, 0, -sentDays), 5)
	d.Refused = list
	return err
}

// Bounced returns how many recipients bounced.
func (req *request) Bounced(c *store.Count) int64 { return c.SoftBounced + c.HardBounced }

// Ago returns how long ago a time was, or "" if that is its date.
func (m moment) Ago() string {
	if strings.HasPrefix(m.Exact, m.Relative) {
		return ""
	}
	return m.Relative
}
