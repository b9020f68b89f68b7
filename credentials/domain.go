package credentials

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// NormalizeDomain returns the one form in which a domain's name is kept and
// compared: lower-case A-labels (RFC 5890 section 2.3.2.1) without a trailing
// dot. Names in other scripts are converted as browsers do it (UTS #46,
// nontransitional), so two names have the same form only if they are the same
// name in the DNS.
//
// What can't be registered as a host name is refused with an [InvalidError]:
// an IP address, a mail address, a single label, an empty or too long label or
// name, a last label of digits alone, or a character that doesn't belong.
// Whether the name exists isn't looked up.
func NormalizeDomain(name string) (string, error) {
	if isNormal(name) {
		return name, nil
	}
	if reason := notADomain(name); reason != "" {
		return "", invalidDomain(reason)
	}
	name = strings.TrimSuffix(name, ".")
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true),
		idna.ValidateLabels(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.BidiRule())
	ascii, err := profile.ToASCII(name)
	if err != nil {
		return "", invalidDomain("it holds a character or label that host names can't have")
	}
	// Mapping is for what people type; the result must stand on its own.
	if again, err := idna.Registration.ToASCII(ascii); err != nil || again != ascii {
		return "", invalidDomain("it can't be registered as an international domain name")
	}
	if reason := checkLabels(ascii); reason != "" {
		return "", invalidDomain(reason)
	}
	return ascii, nil
}

func invalidDomain(reason string) error { return &InvalidError{Field: "domain", Reason: reason} }

// isNormal reports whether a name is in its normal form, without allocating.
// It may say no of one that has international labels.
func isNormal(name string) bool {
	return !strings.Contains(name, "--") && checkLabels(name) == ""
}

// notADomain recognises what people give instead of a domain.
func notADomain(name string) string {
	switch {
	case name == "" || name == ".":
		return "it is empty"
	case len(name) > 1024:
		return "it is too long"
	case strings.Contains(name, "@"):
		return "it is a mail address, not a domain"
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return "it is an IP address, not a domain"
	}
	return ""
}

// checkLabels returns what is wrong with a name of lower-case ASCII labels
// (RFC 1035 section 2.3.4, RFC 1123 section 2.1), or "".
func checkLabels(name string) string {
	if len(name) > 253 {
		return "it is longer than 253 characters"
	}
	labels, letters := 0, false
	for rest, more := name, true; more; labels++ {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		switch {
		case label == "":
			return "it has an empty label"
		case len(label) > 63:
			return "it has a label of more than 63 characters"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "it has a label that begins or ends with a hyphen"
		}
		letters = false
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z' || c == '-':
				letters = true
			case c < '0' || c > '9':
				return "it holds a character that host names can't have"
			}
		}
	}
	if labels < 2 {
		return "it has only one label; something like example.com is wanted"
	}
	if !letters {
		return "its last label is a number"
	}
	return ""
}
