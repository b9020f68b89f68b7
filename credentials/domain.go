package credentials

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// NormalizeDomain returns the form in which a domain name is stored and compared:
// lower-case A-labels (RFC 5890 section 2.3.2.1) without a trailing dot. It
// changes upper case, Unicode labels and a trailing dot, and nothing else.
// Characters that some programs treat as others, such as full-width letters,
// ligatures and invisible characters, are refused as in a registration (RFC 5891
// section 4.2). Symbols such as emoji are accepted: RFC 5892 excludes them, but
// some registries sell them.
//
// If the name is not a registrable host name, the error is an [InvalidError]: an
// IP address, a mail address, a single label, an empty or too long label or name,
// a numeric last label, or an invalid character. NormalizeDomain does not check
// whether the name is registered. It returns a normalized ASCII name without
// allocating.
func NormalizeDomain(name string) (string, error) {
	if isNormal(name) {
		return name, nil
	}
	if reason := notADomain(name); reason != "" {
		return "", invalidDomain(reason)
	}
	name = lower(strings.TrimSuffix(name, "."))
	if !mailtext.IsASCII(name) {
		a, err := idna.Registration.ToASCII(name)
		if err != nil {
			return "", invalidDomain("it is not a valid international domain name")
		}
		name = a
	}
	if reason := checkLabels(name); reason != "" {
		return "", invalidDomain(reason)
	}
	if strings.Contains(name, "--") { // it may look like an A-label without being one
		if a, err := idna.Registration.ToASCII(name); err != nil || a != name {
			return "", invalidDomain("it is not a valid international domain name")
		}
	}
	return name, nil
}

// lower returns the name in lower case. It keeps letters of which only the lower
// case is ASCII, such as the Kelvin sign, so that they are refused.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, name)
}

func invalidDomain(reason string) error { return &InvalidError{Field: "domain", Reason: reason} }

// isNormal reports whether a name without A-labels is normalized. It does not
// allocate. It returns false for a name with A-labels.
func isNormal(name string) bool {
	return !strings.Contains(name, "--") && checkLabels(name) == ""
}

// notADomain returns what is wrong with a name that people often type instead of a
// domain, or "".
func notADomain(name string) string {
	switch {
	case name == "" || name == ".":
		return "it is empty"
	case len(name) > 1024:
		return "it is too long"
	case strings.Contains(name, "://"):
		return "it is a web address; leave out the scheme (https://) and everything after the domain"
	case strings.Contains(name, "/"):
		return "it holds a slash; leave out the slash and everything after it"
	case strings.Contains(name, "@"):
		return "it is a mail address, not a domain"
	case strings.HasPrefix(name, "_"):
		return "it is the name of a DNS record; leave out what stands before the domain, such as _dmarc."
	case strings.HasPrefix(name, "*."):
		return "it is a pattern; add each domain by its own name"
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "it is an IP address, not a domain"
	}
	return ""
}

// checkLabels returns what is wrong with a name of lower-case ASCII labels, or
// "". It is stricter than mailtext, because the name must be one that a registry
// sells or could sell.
func checkLabels(name string) string {
	if fault := mailtext.HostnameFault(name); fault != "" {
		return fault
	}
	labels, letters := 0, false
	for label := range strings.SplitSeq(name, ".") {
		labels++
		switch {
		case label[len(label)-1] == '-':
			return "it has a label that ends with a hyphen"
		case len(label) > 3 && label[2:4] == "--" && label[:2] != "xn": // reserved: RFC 5890 section 2.3.1
			return "it has a label whose third and fourth characters are hyphens"
		case strings.ContainsFunc(label, func(r rune) bool { return r == '_' || r >= 'A' && r <= 'Z' }):
			return "it holds a character that host names do not have"
		}
		letters = strings.Trim(label, "0123456789") != ""
	}
	switch {
	case labels < 2:
		return "it has only one label; use a name such as example.com"
	case !letters:
		return "its last label is a number"
	}
	return ""
}
