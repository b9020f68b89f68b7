package history

import (
	"strings"

	"golang.org/x/net/idna"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// formsOf returns the other forms of an address: an internationalized domain may be
// written in A-labels, xn--bcher-kva.example, and in U-labels, bücher.example (RFC 5890
// section 2.3.2.1).
func formsOf(address string) (forms []string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return nil
	}
	inA, ok := mailtext.Domain(address[at+1:])
	if !ok {
		return nil
	}
	inU, err := idna.ToUnicode(inA)
	if err != nil || inU == inA {
		return nil
	}
	for _, domain := range []string{inA, inU} {
		if domain != address[at+1:] {
			forms = append(forms, address[:at+1]+domain)
		}
	}
	return forms
}
