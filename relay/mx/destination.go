package mx

import (
	"net/netip"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// Destination returns the domain of a recipient's address in its canonical form:
// lower-case A-labels without a trailing dot. It is for a queue's Destination, so
// that recipients of one domain are handed on together. For an address that can't
// be delivered to, it returns the part after the @, in lower case.
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
	domain, ok := hostName(domain)
	if !ok || !strings.Contains(domain, ".") {
		return "", final(550, "5.1.2", "the domain is not a name that mail can go to")
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

// hostName returns the canonical form of a name, and whether it could be the name of a
// mail host. The last label must not be a number, so that the name is not an IP
// address.
func hostName(name string) (string, bool) {
	name, ok := mailtext.Domain(name)
	last := name[strings.LastIndexByte(name, '.')+1:]
	return name, ok && strings.Trim(last, "0123456789") != ""
}

// oneDomain returns the domain that all recipients share. If they don't share one, it
// returns a *relay.RefusedError: recipients that mail can't go to are refused for good,
// and those of other domains than the first for now.
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

// errSeveral tells embedders that they need a queue with Destination: mx.Destination
// in front.
var errSeveral = &relay.ReplyError{
	Code: 452, Enhanced: "4.5.3",
	Text: "recipients of one domain at a time (a queue with Destination: mx.Destination in front sees to it)",
}
