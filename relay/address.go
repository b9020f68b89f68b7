package relay

import (
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// maxAddress is the longest address in an envelope, in bytes. RFC 5321 section
// 4.5.3.1.3 limits a path to 256, angle brackets included. The local part may be
// longer than the 64 bytes of RFC 5321: the relay is not the final host, and list
// servers use long local parts.
const maxAddress = 254

// A path is what MAIL FROM and RCPT TO name (RFC 5321 section 4.1.2), not checked
// yet. The zero path is the null path <>.
type path struct {
	local  string // without quotes
	quoted bool   // it had quotes
	domain string // "" for <postmaster>
}

// cutPath cuts the path off the beginning of s. A source route is ignored (RFC
// 5321 appendix C), and so are missing angle brackets, which some clients leave
// out. It reports false if s does not begin with a path.
func cutPath(s string) (p path, rest string, ok bool) {
	s, bracket := strings.CutPrefix(s, "<")
	if rest, ok := strings.CutPrefix(s, ">"); ok && bracket {
		return path{}, rest, true
	}
	if strings.HasPrefix(s, "@") {
		_, after, ok := strings.Cut(s, ":")
		if !ok {
			return path{}, "", false
		}
		s = after
	}
	if p.local, p.quoted, s, ok = cutLocal(s); !ok {
		return path{}, "", false
	}
	if after, hasDomain := strings.CutPrefix(s, "@"); hasDomain {
		end := strings.IndexAny(after, "> \t")
		if end < 0 {
			end = len(after)
		}
		if p.domain, s = after[:end], after[end:]; p.domain == "" {
			return path{}, "", false
		}
	}
	if bracket {
		if s, ok = strings.CutPrefix(s, ">"); !ok {
			return path{}, "", false
		}
	}
	return p, s, s == "" || s[0] == ' ' || s[0] == '\t'
}

// cutLocal cuts a local part off the beginning of s: a quoted string or a
// dot-string. It removes the quotes.
func cutLocal(s string) (local string, quoted bool, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, "@()<>[]:;\\,\" \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], false, s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), true, s[i+1:], b.Len() > 0
		case '\\':
			if i++; i == len(s) {
				return "", false, "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false, "", false
}

// address returns the path as the one form in which the relay compares the
// address and sends it on. The local part has quotes only where it needs them. The
// domain is in lower-case A-labels, without a trailing dot. Otherwise address
// returns the reply that refuses it; bad is that for syntax errors.
//
// A local part that holds an @ is refused even in quotes: programs that remove the
// quotes see another domain.
func (p path) address(allowUTF8 bool, bad reply) (string, reply) {
	if !utf8.ValidString(p.local) || !utf8.ValidString(p.domain) || strings.Contains(p.local, "@") {
		return "", bad
	}
	local, ok := mailtext.QuoteLocal(p.local)
	if !ok {
		return "", bad
	}
	domain, ok := mailtext.AddressLiteral(p.domain)
	if !ok {
		domain, ok = mailtext.Domain(p.domain)
	}
	switch {
	case !allowUTF8 && !(mailtext.IsASCII(p.local) && mailtext.IsASCII(p.domain)):
		return "", replyNeedsUTF8
	case !ok:
		return "", bad
	case len(local)+len("@")+len(domain) > maxAddress:
		bad.text = replyLongAddress.text
		return "", bad
	}
	return local + "@" + domain, reply{}
}

// wholePath returns the path that addr is, without angle brackets. It reports false
// if addr is not one.
func wholePath(addr string) (p path, ok bool) {
	p, rest, ok := cutPath("<" + addr + ">")
	return p, ok && rest == "" && p != path{}
}

// ofRecipient returns the path with host as the domain if it is <postmaster>.
func (p path) ofRecipient(host string) path {
	if p.isPostmaster() {
		return path{local: "postmaster", domain: host}
	}
	return p
}

// isPostmaster reports whether the path is the one without a domain that every
// server has to accept as a recipient (RFC 5321 section 4.5.1).
func (p path) isPostmaster() bool {
	return p.domain == "" && !p.quoted && strings.EqualFold(p.local, "postmaster")
}
