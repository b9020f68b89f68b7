package mailtext

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Domain returns the form in which domains of mail addresses are compared and
// sent: A-labels in lower case, without a trailing dot. It reports false if s is not
// a host name ([HostnameFault]), internationalised or not (RFC 5891 section 5);
// the string is meaningless then.
func Domain(s string) (string, bool) {
	s = strings.TrimSuffix(s, ".")
	if IsASCII(s) {
		s = strings.ToLower(s)
		return s, IsHostname(s)
	}
	a, err := idna.Lookup.ToASCII(s)
	return a, err == nil && utf8.ValidString(s) && IsHostname(a)
}

// AddressLiteral returns the canonical form of an IP address in brackets, such
// as "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3). It reports
// false if s is not an address literal; the string is meaningless then.
func AddressLiteral(s string) (string, bool) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return "", false
	}
	s = s[1 : len(s)-1]
	const tag = "IPv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		a, err := netip.ParseAddr(s[len(tag):])
		return "[IPv6:" + a.String() + "]", err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(s)
	return "[" + a.String() + "]", err == nil && a.Is4()
}

// IsHostname reports whether name has no [HostnameFault].
func IsHostname(name string) bool { return HostnameFault(name) == "" }

// HostnameFault returns what is wrong with an ASCII host name (RFC 1035 section
// 2.3.4, RFC 1123 section 2.1), such as "it is empty", or "" for a good name.
// Underscores are allowed, because some hosts have them. A trailing dot is not.
func HostnameFault(name string) string {
	if name == "" {
		return "it is empty"
	}
	if len(name) > 253 {
		return "it is longer than 253 characters"
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "it has an empty label"
		case len(label) > 63:
			return "it has a label of more than 63 characters"
		case label[0] == '-':
			return "it has a label that begins with a hyphen"
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return "it holds a character that host names do not have"
			}
		}
	}
	return ""
}
