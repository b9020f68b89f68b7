package console

import (
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file says in the customer's words what a refusal or the reply of another server
// means, and what to do.

// A cause is a kind of refusal. It matches if every field that is not zero matches.
type cause struct {
	field relay.Field
	code  int    // a reply code, or its first digit
	text  string // a part of the reason
	key   string // of the text that says what to do
	what  string // key of the headline of a login; "" is "use.login"
}

// refusals are what the relay refuses, see relay/reply.go and the packages that refuse:
// the first that matches counts.
var refusals = []cause{
	{text: "is suspended", key: "advice.suspended"},

	{field: relay.FieldAuth, code: 538, key: "advice.no-tls", what: "use.no-tls"},
	{field: relay.FieldAuth, text: "no TLS", key: "advice.no-tls", what: "use.no-tls"},
	{field: relay.FieldAuth, text: "wrong password", key: "advice.password", what: "use.password"},
	{field: relay.FieldAuth, text: "too many failed logins", key: "advice.logins", what: "use.busy"},
	{field: relay.FieldAuth, text: "network not allowed", key: "advice.network", what: "use.network"},
	{field: relay.FieldAuth, text: "authorization identity", key: "advice.identity"},
	{field: relay.FieldAuth, text: "protocol error", key: "advice.mechanism"},
	{field: relay.FieldAuth, text: "too many connections", key: "advice.connections", what: "use.busy"},
	{field: relay.FieldAuth, text: "too many logins at once", key: "advice.logins", what: "use.busy"},
	{field: relay.FieldAuth, text: "unavailable", key: "advice.later"},
	{field: relay.FieldAuth, key: "advice.login"},

	{text: "this user sends from", key: "advice.sender-domain"},
	{text: "is not verified", key: "advice.unverified"},
	{text: "is on the suppression list", key: "advice.suppressed"},
	{text: "does not allow a message with", key: "advice.limit-of-message"},
	{text: "limit of", key: "advice.limit"},
	{code: 452, text: "a message has at most", key: "advice.recipients"},
	{code: 552, text: "the header is larger", key: "advice.header"},
	{code: 552, key: "advice.size"},
	{text: "the password was reset", key: "advice.reset"},

	{field: relay.FieldMailFrom, code: 501, text: "malformed sender", key: "advice.bad-sender"},
	{field: relay.FieldRcptTo, code: 501, text: "malformed recipient", key: "advice.bad-recipient"},
	{code: 501, text: "the address is longer", key: "advice.bad-recipient"},
	{code: 553, key: "advice.utf8"},
	{code: 555, key: "advice.option"},
	{code: 501, key: "advice.option"},
	{code: 530, key: "advice.option"},
	{text: "the message loops", key: "advice.loop"},
	{text: "has no From field", key: "advice.no-from"},
	{text: "the key was used for another message", key: "advice.key"},
	{text: "a key has 1 to", key: "advice.key"},
	{text: "From field", key: "advice.from"},
	{text: "Sender field", key: "advice.from"},
	{field: relay.FieldData, code: 550, key: "advice.content"},
	{text: "the connection broke", key: "advice.broken"},
	{text: "the client abandoned", key: "advice.broken"},
	{text: "further refusals in this hour", key: "advice.omitted"},
	{code: 4, key: "advice.later"},
	{key: "advice.refused"},
}

// replies are what other servers answer: enhanced status codes (RFC 3463 section 3, and
// the registry of RFC 5248), or their beginnings, and then reply codes.
var replies = []struct {
	enhanced string // without the class; one that ends in a point is a beginning
	code     int
	key      string
}{
	{enhanced: "1.1", key: "reply.no-mailbox"},
	{enhanced: "1.6", key: "reply.no-mailbox"},
	{enhanced: "1.2", key: "reply.no-domain"},
	{enhanced: "1.10", key: "reply.no-domain"},
	{enhanced: "1.3", key: "reply.bad-address"},
	{enhanced: "1.7", key: "reply.sender"},
	{enhanced: "1.8", key: "reply.sender"},
	{enhanced: "2.1", key: "reply.disabled"},
	{enhanced: "2.2", key: "reply.full"},
	{enhanced: "2.3", key: "reply.size"},
	{enhanced: "3.4", key: "reply.size"},
	{enhanced: "3.", key: "reply.server"},
	{enhanced: "4.7", key: "reply.expired"},
	{enhanced: "4.", key: "reply.unreachable"},
	{enhanced: "6.", key: "reply.content"},
	{enhanced: "7.20", key: "reply.authentication"}, // RFC 7372: DKIM, SPF, several, and the DNS
	{enhanced: "7.21", key: "reply.authentication"},
	{enhanced: "7.22", key: "reply.authentication"},
	{enhanced: "7.23", key: "reply.authentication"},
	{enhanced: "7.24", key: "reply.authentication"},
	{enhanced: "7.25", key: "reply.authentication"},
	{enhanced: "7.26", key: "reply.authentication"},
	{enhanced: "7.", code: 4, key: "reply.later"},
	{enhanced: "7.", key: "reply.policy"},
	{code: 0, key: "reply.unreachable"},
	{code: 552, key: "reply.size"},
	{code: 4, key: "reply.later"},
	{code: 5, key: "reply.refused"},
}

// adviceOf returns the key of the text about an activity, or "" if there is nothing to
// say about its state.
func adviceOf(a *store.Activity) string {
	switch a.State {
	case store.ActivityRejected:
		return causeOf(a).key
	case store.ActivityPending:
		if store.IsInternal(a.Reason) {
			return "internal.waits"
		}
	case store.ActivityDeferred:
		if store.IsInternal(a.Reason) {
			return "internal.waits"
		}
		return replyOf(a.Reply)
	case store.ActivitySoftBounced, store.ActivityHardBounced:
		if store.IsInternal(a.Reason) {
			return "internal.given-up"
		}
		return replyOf(a.Reply)
	}
	return ""
}

// causeOf returns the kind of an activity that was rejected.
func causeOf(a *store.Activity) cause {
	text := a.Reason + "\n" + a.Reply.Text
	for _, c := range refusals {
		if (c.field == "" || string(c.field) == a.Field) && isCode(a.Reply.Code, c.code) && strings.Contains(text, c.text) {
			return c
		}
	}
	return cause{}
}

func replyOf(r store.Reply) string {
	_, detail, _ := strings.Cut(r.Enhanced, ".")
	for _, c := range replies {
		if c.enhanced == "" {
			if r.Code == c.code || c.code > 0 && isCode(r.Code, c.code) {
				return c.key
			}
			continue
		}
		beginning := strings.HasSuffix(c.enhanced, ".") && strings.HasPrefix(detail, c.enhanced)
		if (beginning || detail == c.enhanced) && isCode(r.Code, c.code) {
			return c.key
		}
	}
	return "reply.refused"
}

// isCode reports whether a reply code is as wanted: any, one, or all with a first digit.
func isCode(code, wanted int) bool {
	return wanted == 0 || code == wanted || wanted < 10 && code/100 == wanted
}

// AdviceOn returns what an activity means and what to do, or "".
func (req *request) AdviceOn(a store.Activity) string {
	return req.Of(a).Advice()
}

// Says returns what the server said, in its own words, or "".
func (req *request) Says(a store.Activity) string { return says(a.Reply, a.Reason) }

// says returns a reply, or the reason if there is none.
func says(r store.Reply, reason string) string {
	if text := r.String(); text != "" {
		return text
	}
	return reason
}
