package mailtext

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestIsASCII(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 16, 30} {
		s := strings.Repeat("a", n)
		if !IsASCII(s) || !IsASCII([]byte(s)) {
			t.Errorf("IsASCII(%q): got false, want true", s)
		}
		for i := range n {
			s := s[:i] + "\x80" + s[i+1:]
			if IsASCII(s) || IsASCII([]byte(s)) {
				t.Errorf("IsASCII(%q): got true, want false", s)
			}
		}
	}
}

func TestOneLine(t *testing.T) {
	for _, test := range []struct{ in, ascii, utf8 string }{
		{"", "", ""},
		{"plain text", "plain text", "plain text"},
		{" a\r\nb\nc\rd\te \r\n", "a b c d e", "a b c d e"},
		{"a\x00\x1b[2Jb\x7f", "a??[2Jb?", "a??[2Jb?"},
		{"bücher", "b?cher", "bücher"},
		{"b\xfccher", "b?cher", "b?cher"},
		{"a\u2028b\u202ec", "a?b?c", "a?b?c"},
		{strings.Repeat("x", 20), strings.Repeat("x", 20), strings.Repeat("x", 20)},
		{strings.Repeat("x", 21), strings.Repeat("x", 17) + "...", strings.Repeat("x", 17) + "..."},
		{strings.Repeat("ü", 11), "???????????", strings.Repeat("ü", 8) + "..."},
	} {
		if got := OneLine(test.in, 20); got != test.ascii {
			t.Errorf("OneLine(%q): got %q, want %q", test.in, got, test.ascii)
		}
		if got := OneLineUTF8(test.in, 20); got != test.utf8 {
			t.Errorf("OneLineUTF8(%q): got %q, want %q", test.in, got, test.utf8)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\r\nb", 10)
	f.Add(strings.Repeat("\xff", 50), 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 3 + limit&0xff
		got := OneLine(s, limit)
		if len(got) > limit || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("OneLine(%q, %d): got %q", s, limit, got)
		}
		got = OneLineUTF8(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("OneLineUTF8(%q, %d): got %q", s, limit, got)
		}
	})
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"abc", 0, ""},
		{"aé", 3, "aé"},
		{"aé", 2, "a"},
		{"é", 1, ""},
		{"a📮", 4, "a"},
		{"a📮b", 5, "a📮"},
		{"caf\xe9", 4, "caf\xe9"},
		{"caf\xe9 au lait", 6, "caf\xe9 a"},
		{strings.Repeat("\xe9", 20), 10, strings.Repeat("\xe9", 10)},
		{strings.Repeat("\x80", 20), 10, strings.Repeat("\x80", 6)},
	} {
		if got := Clip(test.in, test.limit); got != test.want {
			t.Errorf("Clip(%q, %d): got %q, want %q", test.in, test.limit, got, test.want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("Grüße 📮", 8)
	f.Add("\x80\x80\x80\x80\x80\x80", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit &= 0xff
		got := Clip(s, limit)
		if !strings.HasPrefix(s, got) || len(got) > limit || len(got) < min(len(s), limit-utf8.UTFMax) {
			t.Errorf("Clip(%q, %d): got %q", s, limit, got)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("Clip(%q, %d): got %q, which ends within a character", s, limit, got)
		}
	})
}

func TestEnhancedCode(t *testing.T) {
	for _, test := range []struct {
		text           string
		code           int
		enhanced, rest string
	}{
		{"5.1.1 no such user", 550, "5.1.1", "no such user"},
		{"5.1.1", 550, "5.1.1", ""},
		{"2.0.999 ok", 250, "2.0.999", "ok"},
		{"4.1.1 no such user", 550, "", "4.1.1 no such user"},
		{"3.0.0 go on", 354, "", "3.0.0 go on"},
		{"5.1.1000 x", 550, "", "5.1.1000 x"},
		{"5.1 x", 550, "", "5.1 x"},
		{"5.1.1.1 x", 550, "", "5.1.1.1 x"},
		{"5..1 x", 550, "", "5..1 x"},
		{"5.-1.1 x", 550, "", "5.-1.1 x"},
		{"5.+1.1 x", 550, "", "5.+1.1 x"},
		{"", 550, "", ""},
	} {
		enhanced, rest := CutEnhancedCode(test.text, test.code)
		if enhanced != test.enhanced || rest != test.rest {
			t.Errorf("CutEnhancedCode(%q, %d): got %q and %q, want %q and %q", test.text, test.code, enhanced, rest, test.enhanced, test.rest)
		}
	}
}

func TestNetwork(t *testing.T) {
	for _, test := range []struct{ addr, want string }{
		{"192.0.2.1", "192.0.2.1/32"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		if got := Network(netip.MustParseAddr(test.addr)).String(); got != test.want {
			t.Errorf("Network(%s): got %s, want %s", test.addr, got, test.want)
		}
	}
	if got := Network(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("Network of the zero Addr: got %v, want the zero Prefix", got)
	}
}

func TestDomain(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for _, test := range []struct{ in, want string }{ // want "": not a domain
		{"acme.example", "acme.example"},
		{"ACME.Example.", "acme.example"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"localhost", "localhost"},
		{"a_b.example", "a_b.example"},
		{label63 + ".example", label63 + ".example"},
		{label63 + "a.example", ""},
		{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a"},
		{strings.Repeat("a.", 127) + "a", ""},
		{"", ""},
		{".", ""},
		{"acme.example..", ""},
		{".acme.example", ""},
		{"acme..example", ""},
		{"-acme.example", ""},
		{"acme example", ""},
		{"acme.example\x00", ""},
		{"b\xfccher.example", ""},
		{"a\u200bb.example\u202e", ""},
	} {
		got, ok := Domain(test.in)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("Domain(%q): got %q, %v; want %q", test.in, got, ok, test.want)
		}
	}
}

func FuzzDomain(f *testing.F) {
	for _, s := range []string{"acme.example", "BÜCHER.example.", "a。b", "xn--a", "\u0130.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Domain(s)
		if !ok {
			return
		}
		if again, ok := Domain(got); !ok || again != got {
			t.Errorf("Domain(%q): got %q, and of that %q, %v", s, got, again, ok)
		}
		if !IsASCII(got) || got != strings.ToLower(got) || !IsHostname(got) {
			t.Errorf("Domain(%q): got %q, want a host name in lower-case ASCII", s, got)
		}
	})
}

func TestAddressLiteral(t *testing.T) {
	for _, test := range []struct{ in, want string }{ // want "": not an address literal
		{"[192.0.2.1]", "[192.0.2.1]"},
		{"[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"},
		{"[ipv6:::1]", "[IPv6:::1]"},
		{"[::1]", ""},
		{"[IPv6:192.0.2.1]", ""},
		{"[IPv6:fe80::1%eth0]", ""},
		{"[192.0.2.256]", ""},
		{"192.0.2.1", ""},
		{"[]", ""},
		{"[", ""},
		{"", ""},
	} {
		got, ok := AddressLiteral(test.in)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("AddressLiteral(%q): got %q, %v; want %q", test.in, got, ok, test.want)
		}
	}
}
