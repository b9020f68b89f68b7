package console

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// Refusals in the words of the relay get advice that says what to do.
func TestAdvice(t *testing.T) {
	for _, test := range []struct {
		field  string
		code   int
		reason string
		want   string
	}{
		{"AUTH", 538, "no TLS; the password may have been sent in the clear, so reset it, from 192.0.2.0/24", "advice.no-tls"},
		{"AUTH", 535, "wrong password, from 192.0.2.0/24", "advice.password"},
		{"AUTH", 421, "too many failed logins, from 192.0.2.0/24", "advice.logins"},
		{"AUTH", 535, "network not allowed", "advice.network"},
		{"AUTH", 535, "the authorization identity is not the username", "advice.identity"},
		{"AUTH", 454, "too many connections of the user", "advice.connections"},
		{"AUTH", 504, "protocol error", "advice.mechanism"},
		{"AUTH", 550, "ask billing", "advice.login"},
		{"MAIL FROM", 550, "the user is suspended: unpaid", "advice.suspended"},
		{"MAIL FROM", 550, "the domain acme.example is suspended: spam", "advice.suspended"},
		{"MAIL FROM", 550, "MAIL FROM: domain x.example is not allowed, this user sends from acme.example only", "advice.sender-domain"},
		{"From", 550, "From: domain x.example is not allowed, this user sends from acme.example only", "advice.sender-domain"},
		{"MAIL FROM", 550, "acme.example is not verified: _dmarc should have the TXT record", "advice.unverified"},
		{"MAIL FROM", 550, "the monthly limit of 10,000 recipients is used up (10,000 of 10,000); it begins anew on 1 December 2026", "advice.limit"},
		{"MAIL FROM", 451, "the hourly limit of 10 recipients is almost used up, and other messages hold the rest of it; try again later", "advice.limit"},
		{"data", 550, "the daily limit of 10 recipients does not allow a message with 20", "advice.limit-of-message"},
		{"RCPT TO", 550, "RCPT TO: <bob@example.com> is on the suppression list since 1 May 2026: complaint", "advice.suppressed"},
		{"RCPT TO", 452, "a message has at most 1000 recipients", "advice.recipients"},
		{"RCPT TO", 501, "malformed recipient address", "advice.bad-recipient"},
		{"RCPT TO", 501, "the address is longer than 254 bytes", "advice.bad-recipient"},
		{"RCPT TO", 553, "an address beyond ASCII needs the SMTPUTF8 parameter", "advice.utf8"},
		{"MAIL FROM", 501, "malformed sender address", "advice.bad-sender"},
		{"MAIL FROM", 501, "a parameter is given twice", "advice.option"},
		{"MAIL FROM", 555, "unknown MAIL parameter", "advice.option"},
		{"MAIL FROM", 552, "the message is larger than 26214400 bytes", "advice.size"},
		{"data", 552, "the header is larger than 262144 bytes", "advice.header"},
		{"data", 550, "the message has no From field", "advice.no-from"},
		{"data", 550, "the message has more than one From field", "advice.from"},
		{"data", 550, "the From field holds no address that can be read", "advice.from"},
		{"data", 550, "a line holds a bare CR, lines end in CR LF", "advice.content"},
		{"data", 554, "the message loops: it has passed more than 100 servers", "advice.loop"},
		{"data", 550, "the key was used for another message, x; give every message a key of its own", "advice.key"},
		{"data", 421, "the connection broke before the message was complete", "advice.broken"},
		{"MAIL FROM", 421, "the password was reset or the user deleted, log in again", "advice.reset"},
		{"data", 451, "not possible right now, try again later", "advice.later"},
		{"omitted", 0, "further refusals in this hour", "advice.omitted"},
		{"data", 554, "the message can't be delivered", "advice.refused"},
	} {
		a := store.Activity{State: store.ActivityRejected, Field: test.field, Reason: test.reason, Reply: store.Reply{Code: test.code, Text: test.reason}}
		if got := adviceOf(&a); got != test.want {
			t.Errorf("%s %d %s: got %s, want %s", test.field, test.code, test.reason, got, test.want)
		}
	}
}

// Replies of other servers are explained by their enhanced status code, and otherwise by
// their code.
func TestReplies(t *testing.T) {
	for _, test := range []struct {
		code     int
		enhanced string
		want     string
	}{
		{550, "5.1.1", "reply.no-mailbox"}, {550, "5.1.2", "reply.no-domain"}, {556, "5.1.10", "reply.no-domain"}, {452, "4.2.2", "reply.full"},
		{552, "5.3.4", "reply.size"}, {552, "", "reply.size"}, {550, "5.7.26", "reply.authentication"}, {550, "5.7.1", "reply.policy"}, {451, "4.7.1", "reply.later"},
		{421, "", "reply.later"}, {0, "", "reply.unreachable"}, {0, "5.4.4", "reply.unreachable"}, {550, "", "reply.refused"}, {554, "5.0.0", "reply.refused"}, {451, "4.3.2", "reply.server"},
	} {
		for state, want := range map[store.ActivityState]string{store.ActivityDeferred: test.want, store.ActivityHardBounced: test.want, store.ActivityDelivered: ""} {
			a := store.Activity{State: state, Reply: store.Reply{Code: test.code, Enhanced: test.enhanced}}
			if got := adviceOf(&a); got != want {
				t.Errorf("%v %d %s: got %q, want %q", state, test.code, test.enhanced, got, want)
			}
		}
	}
}

// A problem of the operator's own server is not taken for one of the recipient's, and the
// trail shows it in the visitor's language only.
func TestAdviceOnInternal(t *testing.T) {
	for state, want := range map[store.ActivityState]string{
		store.ActivityPending: "internal.waits", store.ActivityDeferred: "internal.waits",
		store.ActivitySoftBounced: "internal.given-up", store.ActivityHardBounced: "internal.given-up", store.ActivityDelivered: "",
	} {
		if got := adviceOf(&store.Activity{State: state, Reason: store.InternalReason}); got != want {
			t.Errorf("%v: got %q, want %q", state, got, want)
		}
	}
}

// Each text by which a refusal is recognized is in the source of a package that refuses, so
// that a change of the words there is noticed.
func TestRefusalsAreInTheSource(t *testing.T) {
	source := ""
	for _, pattern := range []string{"../*.go", "../limits/*.go", "../domains/*.go", "../suppress/*.go", "../history/*.go", "../../internal/mailheader/*.go"} {
		for _, file := range must(filepath.Glob(pattern)) {
			source += string(must(os.ReadFile(file)))
		}
	}
	for _, c := range refusals {
		text := regexp.QuoteMeta(c.text)
		if c.text == "From field" || c.text == "Sender field" {
			text = `%s field`
		}
		if !regexp.MustCompile(text).MatchString(source) {
			t.Errorf("got no %q in the source of the packages that refuse, want it", c.text)
		}
	}
}
