package mailheader

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isAtext reports whether r may be in an atom (RFC 5322 section 3.2.3, RFC 6532
// section 3.2). White space outside ASCII may not.
func isAtext(r rune) bool {
	if r >= utf8.RuneSelf {
		return !unicode.IsSpace(r)
	}
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>[]:;@\,."`, r)
}

func isDotAtom(s string) bool {
	if s == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isLiteral reports whether s is the inside of an address literal (RFC 5321 section
// 4.1.3).
func isLiteral(s string) bool {
	if v6, ok := strings.CutPrefix(s, "IPv6:"); ok {
		a, err := netip.ParseAddr(v6)
		return err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// sameAddress reports whether two addresses differ at most in the case of ASCII
// letters. Other letters that differ in case may belong to another domain.
func sameAddress(a, b string) bool {
	isASCII := func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 }
	return a == b || isASCII(a) && isASCII(b) && strings.EqualFold(a, b)
}

// isDomainRune accepts joiners, which some international names need (RFC 5892
// appendix A).
func isDomainRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_", r)
	}
	return r == '\u200c' || r == '\u200d' || unicode.In(r, unicode.Letter, unicode.Digit, unicode.Mark)
}
