package suppress

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"github.com/gatepost-mail/gatepost/internal/ascii"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// maxAddress is the longest address that a [store.Suppressions] takes, in bytes.
const maxAddress = 255

// fold returns the form in which addresses are kept and compared: the domain as
// A-labels in lower case, and the letters A to Z of the local part in lower case. RFC
// 5321 section 2.4 lets the receiving host decide on case; hosts that tell Bob and bob
// apart are hardly found any more, and lists that write both are. Nothing else is
// folded: tags and dots name other mailboxes at many hosts. It reports false if addr
// is not an address that can be kept.
func fold(addr string) (string, bool) {
	at := strings.LastIndexByte(addr, '@')
	if at < 1 || !utf8.ValidString(addr) || strings.IndexByte(addr, 0) >= 0 {
		return "", false
	}
	domain, ok := mailtext.Domain(addr[at+1:])
	if !ok {
		if domain, ok = mailtext.AddressLiteral(addr[at+1:]); !ok {
			return "", false
		}
	}
	if local := ascii.Lower(addr[:at]); local != addr[:at] || domain != addr[at+1:] {
		addr = local + "@" + domain
	}
	return addr, len(addr) <= maxAddress
}

// domainOf returns the domain of a folded address.
func domainOf(addr string) string { return addr[strings.LastIndexByte(addr, '@')+1:] }

// siteOf names whom a server belongs to: the registered domain of its name, such as
// "google.com" for aspmx.l.google.com. A name without one, and an IP address, stand
// for themselves.
func siteOf(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}
