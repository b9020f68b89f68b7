package bounces

import (
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/ascii"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// The limits of addresses in bytes (RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.3; a
// path has angle brackets).
const (
	maxLocal   = 64
	maxAddress = 254
)

// prefix begins the local part of every address of this package.
const prefix = "b-"

// returnAddress returns the address that reports for a sender go to. It returns
// false if there is none that is short enough.
func returnAddress(secret credentials.Password, sender, domain string) (string, bool) {
	local, own, ok := cutAddress(sender)
	if !ok {
		return "", false
	}
	rest := "-" + local
	if _, parent, _ := strings.Cut(domain, "."); parent != own {
		rest = "=" + local + "=" + own
	}
	quoted, ok := mailtext.QuoteLocal(prefix + sign(secret, addressMAC, "address", ascii.Lower(sender)) + rest)
	address := quoted + "@" + domain
	return address, ok && len(quoted) <= maxLocal && len(address) <= maxAddress
}

// originalSender returns the sender for whose reports an address was made. It
// returns false if the address is not signed by any of the secrets.
func originalSender(secrets []credentials.Password, address string) (sender string, ok bool) {
	local, domain, ok := cutAddress(address)
	if !ok || len(local) < len(prefix)+addressMAC+len("-x") || !strings.EqualFold(local[:len(prefix)], prefix) {
		return "", false
	}
	mac, rest := local[len(prefix):][:addressMAC], local[len(prefix)+addressMAC:]
	switch rest[0] {
	case '-':
		_, parent, _ := strings.Cut(domain, ".")
		local, domain = rest[1:], parent
	case '=':
		i := strings.LastIndexByte(rest, '=')
		local, domain = rest[min(1, i):i], rest[i+1:]
	default:
		return "", false
	}
	quoted, ok := mailtext.QuoteLocal(local)
	if !ok {
		return "", false
	}
	_, domain, ok = cutAddress("x@" + domain)
	sender = quoted + "@" + domain
	return sender, ok && signed(secrets, strings.ToLower(mac), "address", ascii.Lower(sender))
}

// cutAddress returns the parts of an address: the local part without quotes, and
// the domain in lower-case A-labels. It returns false if one is missing or invalid.
func cutAddress(address string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(address, '@')
	if i < 1 || len(address) > 2*maxAddress {
		return "", "", false
	}
	domain, ok = mailtext.AddressLiteral(address[i+1:])
	if !ok {
		domain, ok = mailtext.Domain(address[i+1:])
	}
	local = unquote(address[:i])
	return local, domain, ok && local != ""
}

// unquote returns a local part without the quotes of a quoted string.
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	var b strings.Builder
	in := local[1 : len(local)-1]
	for i := 0; i < len(in); i++ {
		if in[i] == '\\' && i+1 < len(in) {
			i++
		}
		b.WriteByte(in[i])
	}
	return b.String()
}
