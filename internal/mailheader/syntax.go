package mailheader

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
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

// sameAddress reports whether two addresses differ at most in the case of ASCII
// letters. Other letters that differ in case may belong to another domain.
func sameAddress(a, b string) bool {
	return a == b || mailtext.IsASCII(a) && mailtext.IsASCII(b) && strings.EqualFold(a, b)
}

// isDomainRune accepts joiners, which some international names need (RFC 5892
// appendix A).
func isDomainRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_", r)
	}
	return r == '\u200c' || r == '\u200d' || unicode.In(r, unicode.Letter, unicode.Digit, unicode.Mark)
}
