package suppress

import (
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// How many refusals it takes to suppress an address.
const (
	never     = 0 // the reply is about something else
	certain   = 1
	afterMail = 2 // instead of certain, if mail was delivered lately, or if the report may be forged
	doubtful  = 3
)

// gone returns how many replies like this one it takes to believe that there is no
// such mailbox. reported means that the reply is from a report about a message that
// the next server had taken.
func gone(r store.Reply, reported bool) int {
	made := r.Host == "" && !reported // by this relay
	switch {
	case r.Code == 0 && !reported, r.Code != 0 && r.Code/100 != 5:
		return never
	case made && r.Enhanced != "5.1.2" && r.Enhanced != "5.1.10":
		return never
	}
	switch r.Enhanced { // RFC 3463 section 3.2, RFC 7505 section 4
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10":
		return certain
	case "5.2.1": // disabled, by its name; some hosts limit rates with it
		return doubtful
	case "5.4.1": // no answer, by its name; Exchange Online knows no recipient with it
		if text := strings.ToLower(r.Text); strings.Contains(text, "recipient") && strings.Contains(text, "reject") {
			return doubtful
		}
	case "":
		if slices.Contains([]int{550, 551, 553}, r.Code) && saysGone(r.Text) {
			return doubtful
		}
	}
	return never
}

// phrases are what servers without enhanced codes say of a mailbox that does not
// exist. Code 550 alone is also what they say of spam.
var phrases = []string{
	"no such user", "no such recipient", "no such mailbox", "no such address", "no mailbox here",
	"user unknown", "unknown user", "unknown recipient", "recipient unknown", "mailbox unknown", "unknown mailbox",
	"user not found", "recipient not found", "mailbox not found", "user does not exist", "user doesn't exist",
	"mailbox does not exist", "account does not exist", "recipient does not exist", "address does not exist",
	"invalid recipient", "invalid mailbox", "unrouteable address", "no longer exists",
}

func saysGone(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
}
