package credentials_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

func TestNormalizeDomain(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	for _, tc := range []struct{ in, want string }{
		{"acme.example", "acme.example"},
		{"Acme.EXAMPLE", "acme.example"},
		{"acme.example.", "acme.example"},
		{"notifications.acme.com", "notifications.acme.com"},
		{"1and1.com", "1and1.com"},
		{"123.com", "123.com"},
		{"a--b.com", "a--b.com"},
		{"acme.x1", "acme.x1"},
		{"münchen.de", "xn--mnchen-3ya.de"},
		{"MÜNCHEN.de.", "xn--mnchen-3ya.de"},
		{"xn--mnchen-3ya.de", "xn--mnchen-3ya.de"},
		{"XN--MNCHEN-3YA.DE", "xn--mnchen-3ya.de"},
		{"faß.de", "xn--fa-hia.de"}, // not fass.de
		{"例え.jp", "xn--r8jz45g.jp"},
		{"☕.example", "xn--53h.example"},
		{"почта.рф", "xn--80a1acny.xn--p1ai"},
		{label63 + ".com", label63 + ".com"},
		{name253, name253},
		{strings.ToUpper(name253), name253},
		{"xn--r8jz45g.xn--p1ai", "xn--r8jz45g.xn--p1ai"},
		{"sub.xn--mnchen-3ya.de", "sub.xn--mnchen-3ya.de"},
		{"Sub.München.Example", "sub.xn--mnchen-3ya.example"},
		{"0.example", "0.example"},
		{"a.very.deep.name.acme.com", "a.very.deep.name.acme.com"},
	} {
		got, err := credentials.NormalizeDomain(tc.in)
		if got != tc.want || err != nil {
			t.Errorf("NormalizeDomain(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestNormalizeDomainGivesReason(t *testing.T) {
	label64 := strings.Repeat("a", 64)
	for _, tc := range []struct{ in, want string }{
		{"", "is empty"},
		{".", "is empty"},
		{"localhost", "only one label"},
		{"com.", "only one label"},
		{"192.0.2.1", "IP address"},
		{"2001:db8::1", "IP address"},
		{"[192.0.2.1]", "IP address"},
		{"[2001:db8::1]", "IP address"},
		{"billing@acme.example", "mail address"},
		{"acme..example", "empty label"},
		{".acme.example", "empty label"},
		{"acme.example..", "empty label"},
		{label64 + ".com", "more than 63"},
		{strings.Repeat("abc.", 64), "longer than 253"},
		{strings.Repeat("x", 1<<20), "too long"},
		{"-acme.example", "hyphen"},
		{"acme-.example", "hyphen"},
		{"acme.123", "is a number"},
		{"192.0.2.256", "is a number"},
		{"0x7f.1", "is a number"},
		{"my_company.com", "character"},
		{"_dmarc.acme.example", "the name of a DNS record"},
		{"*.acme.example", "a pattern"},
		{"my company.com", "character"},
		{" acme.example", "character"},
		{"acme.example\n", "character"},
		{"acme\x00.example", "character"},
		{"https://acme.example", "leave out the scheme (https://)"},
		{"https://www.acme.example/", "leave out the scheme (https://) and everything after the domain"},
		{"https://me@acme.example:8080/", "leave out the scheme"},
		{"HTTP://acme.example?x", "leave out the scheme"},
		{"acme.example/", "leave out the slash"},
		{"www.acme.example/shop", "leave out the slash"},
		{"acme,example.com", "character"},
		{"acme\xff.example", "international"},
		{"ab--cd.com", "third and fourth"},
		{"r3---sn.acme.example", "third and fourth"},
		{"xn--a.com", "international"},
		{"xn--acme-.com", "hyphen"},
		{"xn--a-ecp.ru", "international"},
		{"exam\u00adple.com", "international"},  // a soft hyphen
		{"exam\u200bple.com", "international"},  // a zero-width space
		{"\u212aelvin.com", "international"},    // the Kelvin sign
		{"\ufb01rma.de", "international"},       // a ligature
		{"\uff41cme.example", "international"},  // a full-width letter
		{"acme\u3002example", "international"},  // an ideographic full stop
		{"\u0130stanbul.com", "international"},  // a capital I with a dot
		{"mu\u0308nchen.de", "international"},   // not in NFC
		{"a\u200db.com", "international"},       // a joiner where RFC 5892 does not allow it
		{"\u202eacme.example", "international"}, // right-to-left override
		{strings.Repeat("ü", 60) + ".de", "international"},
	} {
		got, err := credentials.NormalizeDomain(tc.in)
		var invalid *credentials.InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("NormalizeDomain(%.80q) = %q, %v; want an InvalidError", tc.in, got, err)
			continue
		}
		if got != "" || invalid.Field != "domain" || !strings.Contains(invalid.Reason, tc.want) {
			t.Errorf("NormalizeDomain(%.80q) = %q, %v; want a reason with %q", tc.in, got, err, tc.want)
		}
	}
}

func TestNormalizeDomainDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { credentials.NormalizeDomain("mail.acme.example") }); n != 0 {
		t.Errorf("a normalized name costs %v allocations, want 0", n)
	}
}

func FuzzNormalizeDomain(f *testing.F) {
	for _, s := range []string{"acme.example", "ACME.example.", "münchen.de", "xn--mnchen-3ya.de", "xn--a.com",
		"192.0.2.1", "a..b", "\u212a.com", "ab--c.d", "a\u3002b", "שלום.com", "☃.net"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := credentials.NormalizeDomain(in)
		if err != nil {
			if got != "" || !isInvalid(err) {
				t.Fatalf("%q: got %q, %v; want \"\" and an InvalidError", in, got, err)
			}
			return
		}
		if again, err := credentials.NormalizeDomain(got); again != got || err != nil {
			t.Fatalf("%q became %q, and that became %q, %v; want no change", in, got, again, err)
		}
		// In an ASCII name only the case and the trailing dot change. Any other
		// name gets at least one A-label.
		if plain := strings.ToLower(strings.TrimSuffix(in, ".")); got != plain {
			if strings.IndexFunc(in, func(r rune) bool { return r >= 0x80 }) < 0 || !strings.Contains(got, "xn--") {
				t.Fatalf("%q became %q, want %q or a name with an A-label", in, got, plain)
			}
		}
		if len(got) > 253 || !strings.Contains(got, ".") {
			t.Fatalf("%q became %q, want at most 253 bytes and two labels", in, got)
		}
	})
}

func BenchmarkNormalizeDomain(b *testing.B) {
	for _, name := range []string{"mail.acme.example", "Mail.Acme.Example", "xn--mnchen-3ya.de", "münchen.de"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				credentials.NormalizeDomain(name)
			}
		})
	}
}

// What can't be added says whose domain it is, or that there is none.
func TestWhoseDomain(t *testing.T) {
	f := newFixture(t)
	add := func(tenant store.TenantID, name string) error {
		_, err := f.Tenant(tenant).AddDomain(t.Context(), name)
		return err
	}
	user := func() error {
		_, _, err := f.acme.AddUser(t.Context(), "other.example", "shop")
		return err
	}
	for _, tc := range []struct {
		err  error
		is   error
		says string
	}{
		{add("acme", domain), store.ErrTaken, "the tenant has it"},
		{add("globex", domain), store.ErrTaken, "another tenant has it"},
		{user(), store.ErrNotFound, "the tenant has no such domain"},
	} {
		if !errors.Is(tc.err, tc.is) || !strings.Contains(tc.err.Error(), tc.says) {
			t.Errorf("error is %v, want %v that says %q", tc.err, tc.is, tc.says)
		}
	}
}
