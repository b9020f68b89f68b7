package console

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// The states of a connection: how far the tool of an SMTP user gets.
const (
	useWaiting   = "waiting"   // nothing has come since the password was set
	useSilent    = "silent"    // nothing has come for silentAfter
	useRefused   = "refused"   // the newest login or message was refused
	useConnected = "connected" // logged in; no message since
	useSent      = "sent"      // a message was accepted
	usePaused    = "paused"    // the user or its domain is suspended
)

// silentAfter is how long a tool may take before the page says what else to check.
const silentAfter = 2 * time.Minute

// recently is how long a refusal matters to the state.
const recently = 24 * time.Hour

// A connection is what became of the logins and messages of an SMTP user since its
// password was set.
type connection struct {
	User     store.User
	State    string
	At       time.Time       // the last login with the present password; zero before
	Problems []refusal       // what is wrong now, newest first
	Sent     *store.Activity // the newest message that was accepted
	Early    bool            // the password was set recently
}

// From returns the address of the last login, if it is known.
func (c connection) From() string {
	if !c.User.LastConnectionFrom.IsValid() {
		return "?"
	}
	return c.User.LastConnectionFrom.String()
}

// connectionOf reads the state of a user's connection.
func (req *request) connectionOf(u store.User) (connection, error) {
	c := connection{User: u, State: useWaiting, At: connectedAt(u)}
	now := time.Now()
	c.Early = now.Sub(u.PasswordSet) < recently
	if now.Sub(u.PasswordSet) > silentAfter {
		c.State = useSilent
	}
	if !c.At.IsZero() {
		c.State = useConnected
	}
	if err := req.readUse(&c, now); err != nil {
		return c, err
	}
	switch {
	case u.Suspended != "" || u.DomainSuspended != "":
		c.State = usePaused
	case len(c.Problems) > 0:
		c.State = useRefused
	case c.Sent != nil && !c.At.IsZero():
		c.State = useSent
	}
	return c, nil
}

// connectedAt returns the last login with the present password, or zero.
func connectedAt(u store.User) time.Time {
	at := u.LastConnection
	if u.OldUntil.After(time.Now()) { // two passwords work
		at = u.NewConnection
	}
	if at.Before(u.PasswordSet) {
		return time.Time{}
	}
	return at
}

// readUse reads from the history what was sent and what was refused, if the visitor may
// see activity.
func (req *request) readUse(c *connection, now time.Time) error {
	if !req.MayKnow() {
		return nil
	}
	since := c.User.PasswordSet
	if earliest := now.Add(-recently); since.Before(earliest) {
		since = earliest
	}
	sent, err := req.history().Activities(req.ctx(), store.ActivityFilter{
		Username: c.User.Username, From: since, States: acceptedStates, Limit: 10,
	})
	if err != nil {
		return err
	}
	var sentAt time.Time
	for i := range sent.List {
		if a := &sent.List[i]; a.From != testSender(c.User) { // a test message is none of the tool's
			c.Sent, sentAt = a, a.Received
			break
		}
	}
	refused, err := req.refusals(c.User, since, 20)
	for _, r := range refused {
		solved := sentAt
		if r.IsLogin() {
			solved = c.At
		}
		if r.Updated.After(solved) {
			c.Problems = append(c.Problems, r)
		}
	}
	return err
}

// MayKnow reports whether pages of users show what was sent and refused.
func (req *request) MayKnow() bool { return req.h.History != nil && req.May(ViewActivity) }

// history returns the history of the tenant.
func (req *request) history() history.Tenant { return req.h.History.Tenant(req.tenantID) }

// acceptedStates are all states but rejected.
var acceptedStates = []store.ActivityState{
	store.ActivityAccepted, store.ActivityPending, store.ActivityDelivered, store.ActivityDeferred,
	store.ActivitySoftBounced, store.ActivityHardBounced, store.ActivityCanceled,
}

// A refusal is a login or a message of a user that the relay refused, once or
// several times within an hour. Times is 0 if it is not known how often since the
// password was set.
type refusal struct {
	store.Activity
	Key     string // of the advice
	Network string // from which a login came; empty if it is not known
	what    string // key of the headline
}

// refusals returns refusals of a user since a time, newest first. The same refusals of
// one hour are one activity, so an hour begins before that time.
func (req *request) refusals(u store.User, since time.Time, limit int) ([]refusal, error) {
	page, err := req.history().Activities(req.ctx(), store.ActivityFilter{
		Username: u.Username, From: since.Truncate(time.Hour), States: []store.ActivityState{store.ActivityRejected}, Limit: limit,
	})
	var list []refusal
	for _, a := range page.List {
		if !a.Updated.Before(since) {
			list = append(list, refusalOf(u, a, since))
		}
	}
	slices.SortStableFunc(list, func(a, b refusal) int { return b.Updated.Compare(a.Updated) })
	return list, err
}

// refusalOf explains an activity that was rejected.
func refusalOf(u store.User, a store.Activity, since time.Time) refusal {
	c := causeOf(&a)
	r := refusal{Activity: a, Key: c.key, what: c.what}
	r.Times = max(1, a.Times)
	if a.Received.Before(since) {
		r.Times = 0
	}
	switch a.Field {
	case string(relay.FieldFrom), string(relay.FieldSender):
		r.From = a.Author
	case string(relay.FieldAuth):
		// The history adds the network to the cause of a login.
		if at := strings.LastIndex(r.Reason, ", from "); at >= 0 {
			r.Reason, r.Network = r.Reason[:at], r.Reason[at+len(", from "):]
		}
		if r.Key == "advice.password" && usedBefore(u, r.Network) {
			r.Key, r.what = "advice.old-password", "use.old-password"
		}
	}
	return r
}

// IsLogin reports whether a login was refused, not a message.
func (r refusal) IsLogin() bool { return r.Field == string(relay.FieldAuth) }

// usedBefore reports whether the last connection came from a network, and with an
// earlier password. Such a tool probably still has the old one.
func usedBefore(u store.User, network string) bool {
	prefix, err := netip.ParsePrefix(network)
	return err == nil && u.Generation > 1 && !u.LastConnection.IsZero() && u.LastConnection.Before(u.PasswordSet) &&
		prefix.Contains(u.LastConnectionFrom)
}

// shortNetwork returns the network of an IPv4 address as people write it.
func shortNetwork(network string) string {
	if head, ok := strings.CutSuffix(network, ".0/24"); ok {
		return head + ".x"
	}
	return network
}

// What returns a refusal in words.
func (req *request) What(r refusal) string {
	switch {
	case r.IsLogin():
		from := cmp.Or(shortNetwork(r.Network), req.T("use.somewhere"))
		return req.T(cmp.Or(r.what, "use.login"), from)
	case r.From == "":
		return req.T("use.message")
	}
	return req.T("use.sender", r.From)
}

func (req *request) connection() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	c, err := req.connectionOf(u)
	return response{
		template: "connection",
		title:    req.T("use.title", u.Name),
		data:     connectionData{User: u, Connection: c, Ports: req.h.ports()},
		document: req.documentOfConnection(c),
	}, err
}

type connectionData struct {
	User       store.User
	Connection connection
	Ports      []port
	Aside      bool // the page must not be left: links open another tab
}

// Live reports whether the connection may still change in a way that matters now.
func (d connectionData) Live() bool {
	return d.Connection.State != useSent && d.Connection.State != usePaused
}

type connectionDocument struct {
	State          string            `json:"state"`
	LastConnection *time.Time        `json:"last_connection"`
	Message        *string           `json:"message"`
	Problems       []refusalDocument `json:"problems"`
}

type refusalDocument struct {
	AdviceCode string    `json:"advice_code"`
	Advice     string    `json:"advice"`
	Reason     string    `json:"reason"`
	Times      *int      `json:"times"`
	Network    *string   `json:"network"`
	From       *string   `json:"from"`
	Recipient  *string   `json:"recipient"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
}

func (req *request) documentOfConnection(c connection) connectionDocument {
	d := connectionDocument{State: c.State, LastConnection: nullable(c.At), Problems: documentsOf(c.Problems, req.documentOfRefusal)}
	if c.Sent != nil {
		d.Message = &c.Sent.Mail
	}
	return d
}

func (req *request) documentOfRefusal(r refusal) refusalDocument {
	return refusalDocument{
		r.Key, req.OfRefusal(r, false).Advice(), r.Reason, nullable(r.Times), nullable(r.Network), nullable(r.From), nullable(r.Recipient),
		r.Received, r.Updated,
	}
}
