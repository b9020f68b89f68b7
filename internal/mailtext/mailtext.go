// Package mailtext holds the rules for text in mail that several packages
// share: ASCII, host names and domains, enhanced status codes, and text of
// other programs that is clipped and made safe to show.
package mailtext

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsASCII reports whether no byte of s has its eighth bit set.
func IsASCII[T string | []byte](s T) bool {
	for ; len(s) >= 8; s = s[8:] {
		if s[0]|s[1]|s[2]|s[3]|s[4]|s[5]|s[6]|s[7] >= utf8.RuneSelf {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// OneLine returns s as one line of printable ASCII of at most limit bytes, for
// replies, logs and mail. A line break or a tab becomes a space, and any other
// byte that is not printable becomes a question mark. Text beyond limit is
// replaced by "...". The limit must be at least 3.
func OneLine(s string, limit int) string {
	return oneLine(s, limit, func(r rune) bool { return r >= ' ' && r <= '~' })
}

// OneLineUTF8 is OneLine for text that may hold Unicode: it keeps every
// character that is printable according to [unicode.IsPrint].
func OneLineUTF8(s string, limit int) string {
	return oneLine(s, limit, func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) })
}

func oneLine(s string, limit int, allowed func(rune) bool) string {
	if len(s) > 4*limit { // no character has more than four bytes
		s = s[:4*limit]
	}
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n"))
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case !allowed(r):
			return '?'
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	return Clip(s, limit-len("...")) + "..."
}

// Clip returns s, or its beginning if s has more than limit bytes. It cuts no UTF-8
// character in two, so that valid text stays valid. Other bytes stay as they are.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > max(0, limit-utf8.UTFMax) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// IsEnhancedCode reports whether s is an enhanced status code such as "5.1.1"
// that agrees with an SMTP reply code (RFC 3463 section 2, RFC 2034 section 4).
func IsEnhancedCode(s string, replyCode int) bool {
	class, rest, _ := strings.Cut(s, ".")
	subject, detail, ok := strings.Cut(rest, ".")
	return ok && len(class) == 1 && strings.Contains("245", class) &&
		int(class[0]-'0') == replyCode/100 && isCodePart(subject) && isCodePart(detail)
}

func isCodePart(s string) bool {
	return s != "" && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// CutEnhancedCode cuts an enhanced status code off the beginning of a reply's
// text. If text does not begin with a code that agrees with the reply code, it
// returns "" and text unchanged.
func CutEnhancedCode(text string, replyCode int) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !IsEnhancedCode(word, replyCode) {
		return "", text
	}
	return word, rest
}

// Network returns the network that usually belongs to one client: an IPv4
// address, or the /64 of an IPv6 address. An IPv4 address mapped to IPv6 counts
// as IPv4. The zero Addr has the zero Prefix.
func Network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // fails only for the zero Addr
	return p
}
