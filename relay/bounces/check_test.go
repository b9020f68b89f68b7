package bounces_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/bounces"
)

// A zone is a Resolver: names, with records such as "MX mx.example.net".
type zone map[string][]string

func (z zone) get(name, kind string) (values []string, err error) {
	for _, r := range z[strings.TrimSuffix(name, ".")] {
		if r == "FAIL" {
			return nil, errors.New("no answer")
		}
		if v, ok := strings.CutPrefix(r, kind+" "); ok {
			values = append(values, v)
		}
	}
	if values == nil {
		err = &net.DNSError{IsNotFound: true, Err: "no such host", Name: name}
	}
	return values, err
}

func (z zone) LookupMX(_ context.Context, name string) (records []*net.MX, err error) {
	values, err := z.get(name, "MX")
	for _, v := range values {
		records = append(records, &net.MX{Host: v + "."})
	}
	return records, err
}

func (z zone) LookupNetIP(_ context.Context, _, name string) (addrs []netip.Addr, err error) {
	values, err := z.get(name, "A")
	for _, v := range values {
		addrs = append(addrs, netip.MustParseAddr(v))
	}
	return addrs, err
}

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) { return z.get(name, "TXT") }

// CheckDomain finds what is missing, and says what to publish.
func TestCheckDomain(t *testing.T) {
	const mx = "MX mx.example.net"
	for name, test := range map[string]struct {
		domain []string // the records of bounces.acme.example
		want   string   // in the error; "" for none
	}{
		"ready":             {[]string{mx, "TXT v=spf1 ip4:192.0.2.1 -all"}, ""},
		"case":              {[]string{"MX MX.example.NET", "TXT V=SPF1 IP4:192.0.2.1 -ALL"}, ""},
		"other texts":       {[]string{mx, "TXT v=spf10", "TXT hello", "TXT v=spf1 +ip4:192.0.2.0/24"}, ""},
		"several hosts":     {[]string{"MX a.example", mx, "TXT v=spf1 a:out.example.net"}, ""},
		"a with length":     {[]string{mx, "TXT v=spf1 a:near.example.net/24//64 -all"}, ""},
		"mx":                {[]string{mx, "TXT v=spf1 mx:out.example.net -all"}, ""},
		"include":           {[]string{mx, "TXT v=spf1 include:_spf.example.net -all"}, ""},
		"redirect":          {[]string{mx, "TXT v=spf1 exp=x.example redirect=_spf.example.net"}, ""},
		"nothing":           {nil, "publish bounces.acme.example. MX 10 mx.example.net."},
		"nothing, SPF":      {nil, `publish bounces.acme.example. TXT "v=spf1 ip4:192.0.2.1 ~all"`},
		"another host":      {[]string{"MX a.example", "TXT v=spf1 +all"}, "is a.example, not mx.example.net"},
		"not allowed":       {[]string{mx, "TXT v=spf1 ip4:192.0.2.2 -all"}, "does not allow 192.0.2.1 (fail)"},
		"softfail":          {[]string{mx, "TXT v=spf1 ip6:2001:db8::/32 ~all"}, "(softfail)"},
		"no end":            {[]string{mx, "TXT v=spf1"}, "(neutral)"},
		"length too long":   {[]string{mx, "TXT v=spf1 a:near.example.net/33"}, "invalid prefix length"},
		"not a near one":    {[]string{mx, "TXT v=spf1 a:near.example.net -all"}, "(fail)"},
		"two records":       {[]string{mx, "TXT v=spf1 +all", "TXT v=spf1 -all"}, "several SPF records"},
		"a loop":            {[]string{mx, "TXT v=spf1 include:bounces.acme.example"}, "more than 10 look-ups"},
		"include of none":   {[]string{mx, "TXT v=spf1 include:none.example"}, "leads to none.example, which has none"},
		"a macro":           {[]string{mx, "TXT v=spf1 include:%{i}.example"}, "macro"},
		"exists":            {[]string{mx, "TXT v=spf1 exists:x.example -all"}, `the term "exists:x.example"`},
		"a bad address":     {[]string{mx, "TXT v=spf1 ip4:x"}, "invalid address"},
		"a bad network":     {[]string{mx, "TXT v=spf1 ip4:192.0.2.1/99"}, "invalid network"},
		"only a qualifier":  {[]string{mx, "TXT v=spf1 -"}, `the term ""`},
		"a failed look-up":  {[]string{"FAIL"}, "no answer"},
		"a failed include":  {[]string{mx, "TXT v=spf1 include:fail.example"}, "no answer"},
		"a failed a":        {[]string{mx, "TXT v=spf1 a:fail.example"}, "no answer"},
		"a failed mx":       {[]string{mx, "TXT v=spf1 mx:fail.example"}, "no answer"},
		"address unchecked": {[]string{mx, "TXT v=spf1 mx:none.example a:none.example ?all"}, "(neutral)"},
	} {
		z := zone{
			"bounces.acme.example": test.domain, "mx.example.net": {"A 192.0.2.25"}, "fail.example": {"FAIL"},
			"out.example.net": {"A 2001:db8::1", "A 192.0.2.1", "MX out.example.net"}, "near.example.net": {"A 192.0.2.99"},
			"_spf.example.net": {"TXT v=spf1 ?ip4:192.0.2.9 ip4:192.0.2.1 -all"},
		}
		err := bounces.CheckDomain(t.Context(), z, "bounces.acme.example", "mx.example.net", netip.MustParseAddr("192.0.2.1"))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// A domain may be its own mail host, and addresses may be unknown.
func TestCheckDomainOther(t *testing.T) {
	own := zone{"mx.example.net": {"A 192.0.2.25", "TXT v=spf1 ip6:2001:db8::/32 -all"}}
	if err := bounces.CheckDomain(t.Context(), own, "MX.example.net.", "mx.example.net", netip.MustParseAddr("2001:db8::1")); err != nil {
		t.Error(err)
	}
	if err := bounces.CheckDomain(t.Context(), own, "mx.example.net", "mx.example.net"); err != nil {
		t.Error(err)
	}
	for want, z := range map[string]zone{
		"has no address": {"bounces.example.net": {"MX mx.example.net", "TXT v=spf1 -all"}},
		"no answer":      {"mx.example.net": {"FAIL"}},
		"upstream":       {"mx.example.net": {"A 192.0.2.25"}, "bounces.example.net": {"MX mx.example.net"}},
	} {
		if err := bounces.CheckDomain(t.Context(), z, "bounces.example.net", "mx.example.net"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, names := range [][2]string{{"a b", "mx.example.net"}, {"bounces.example.net", ""}} {
		if err := bounces.CheckDomain(t.Context(), own, names[0], names[1]); err == nil || !strings.Contains(err.Error(), "not a host name") {
			t.Errorf("%q: got %v", names, err)
		}
	}
}

// CheckSPF looks at one record and at no mail host.
func TestCheckSPF(t *testing.T) {
	z := zone{"acme.example": {"TXT v=spf1 ip4:192.0.2.1 -all"}, "none.example": {"TXT hello"}, "fail.example": {"FAIL"}}
	for domain, want := range map[string]string{
		"ACME.example": "", "none.example": `publish none.example. TXT "v=spf1 ip4:192.0.2.1 ~all"`, "fail.example": "no answer", "a b": "not a host name",
	} {
		err := bounces.CheckSPF(t.Context(), z, domain, netip.MustParseAddr("192.0.2.1"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", domain, err, want)
		}
	}
	if err := bounces.CheckSPF(t.Context(), z, "acme.example", netip.MustParseAddr("192.0.2.2")); err == nil || !strings.Contains(err.Error(), "does not allow 192.0.2.2 (fail)") {
		t.Errorf("another address: got %v", err)
	}
}
