package relay

import (
	"slices"
	"strings"
	"testing"
)

func TestHeaderBounds(t *testing.T) {
	for _, test := range []struct{ name, header, want string }{
		{"many fields", "From: a@acme.example\r\n" + strings.Repeat("To:\r\n", 1000) + "\r\n", "more than 1000 fields"},
		{"a large From", "From: (" + strings.Repeat("(", 20000) + "\r\n\r\n", "larger than"},
		{"a name with a comma", "From: Smith, John <a@acme.example>\r\n\r\n", "needs double quotes"},
	} {
		if _, err := parseHeader([]byte(test.header)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", test.name, err, test.want)
		}
	}
}

// Many tools write the address as the name, too.
func TestAddressAsName(t *testing.T) {
	for text, want := range map[string]string{
		"shop@acme.example <shop@acme.example>":                            "shop@acme.example",
		" shop@acme.example<shop@acme.example> ":                           "shop@acme.example",
		"Shop@Acme.Example <shop@acme.example>":                            "shop@acme.example",
		"shop@acme.example <Shop@ACME.example>":                            "Shop@ACME.example",
		"\u017fhop@acme.example <shop@acme.example>":                       "", // a long s
		"shop@acme.example <\u017fhop@acme.example>":                       "",
		"shop@evil.example <shop@acme.example>":                            "", // whose is it?
		"shop@acme.example <shop@acme.example>, b@evil.example":            "",
		"a@acme.example <a@acme.example>, b@acme.example <b@acme.example>": "",
	} {
		h, err := parseHeader([]byte("From: " + text + "\r\n\r\n"))
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken for %q", text, h.from)
		case want != "" && (err != nil || !slices.Equal(h.from, []string{want})):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
