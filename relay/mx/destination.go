package mx

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"github.com/gatepost-mail/gatepost/relay"
)

// Destination returns the domain of a recipient's address in its one form:
// lower-case A-labels without a trailing dot. It is for a queue's Destination, so
// that recipients of one domain are handed on together. For an address that can't
// be delivered to, it returns what comes after the @, in lower case.
func Destination(recipient string) string {
	domain, refusal := domainOf(recipient)
	if refusal != nil {
		return strings.ToLower(recipient[strings.LastIndexByte(recipient, '@')+1:])
	}
	return domain
}

// domainOf returns the domain of an address, or why there is none that mail can
// go to.
func domainOf(addr string) (domain string, refusal *relay.ReplyError) {
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || at == len(addr)-1 {
		return "", final(550, "5.1.3", "the address is not of the form name@domain")
	}
	domain = addr[at+1:]
	if isAddress(domain) {
		return "", final(550, "5.1.2", "mail to an IP address is not delivered, only to a domain")
	}
	if !isASCII(domain) {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", final(550, "5.1.2", "the domain is no valid international domain name")
		}
	}
	domain, ok := hostName(domain)
	if !ok || !strings.Contains(domain, ".") {
		return "", final(550, "5.1.2", "the domain is no name that mail can go to")
	}
	return domain, nil
}

// isAddress reports whether a domain is an address literal (RFC 5321 section
// 4.1.3), or what people write instead of one.
func isAddress(domain string) bool {
	if strings.HasPrefix(domain, "[") {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(domain, "."))
	return err == nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// hostName returns an ASCII name in lower case and without a trailing dot, and
// whether it could be a host's (RFC 1035 section 2.3.4). Underscores are let
// pass: they are wrong, and in use. The last label is no number, so it isn't an
// IP address either.
func hostName(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return "", false
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-_"
		if label == "" || len(label) > 63 || strings.Trim(label, allowed) != "" {
			return "", false
		}
		last = label
	}
	return name, strings.Trim(last, "0123456789") != ""
}

// oneDomain returns the domain that all recipients share. Otherwise it refuses:
// for good those that mail can't go to, and for now those of other domains than
// the first. A message goes to all of its recipients or to none, and there is no
// way to promise that of two servers.
func oneDomain(to []relay.Recipient) (string, error) {
	if len(to) == 0 {
		return "", final(554, "5.5.1", "the message has no recipients")
	}
	var first string
	var bad, others []relay.RefusedRecipient
	for i := range to {
		domain, refusal := domainOf(to[i].Address)
		switch {
		case refusal != nil:
			bad = append(bad, relay.RefusedRecipient{Address: to[i].Address, Err: refusal})
		case first == "":
			first = domain
		case domain != first:
			others = append(others, relay.RefusedRecipient{Address: to[i].Address, Err: errSeveral})
		}
	}
	if bad != nil || others != nil {
		return "", &relay.RefusedError{Recipients: append(bad, others...)}
	}
	return first, nil
}

// errSeveral is what an embedder reads who has no queue in front, or one that
// doesn't know about domains.
var errSeveral = &relay.ReplyError{
	Code: 452, Enhanced: "4.5.3",
	Text: "recipients of one domain at a time (a queue with Destination: mx.Destination in front sees to it)",
}
