package mx

import (
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	for _, test := range []struct {
		name string
		txts []string
		want string
	}{
		{"as in the RFC", []string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{"no blanks", []string{"v=STSv1;id=1"}, "1"},
		{"many blanks", []string{"v=STSv1; \t id=1 \t; "}, "1"},
		{"an extension", []string{"v=STSv1; a.b-c_d=!x; id=1"}, "1"},
		{"among others", []string{"v=spf1 -all", "v=STSv1; id=1", "x"}, "1"},
		{"none", nil, ""},
		{"two", []string{"v=STSv1; id=1", "v=STSv1; id=1"}, ""},
		{"no id", []string{"v=STSv1;"}, ""},
		{"two ids", []string{"v=STSv1; id=1; id=2"}, ""},
		{"empty id", []string{"v=STSv1; id="}, ""},
		{"id with a hyphen", []string{"v=STSv1; id=a-b"}, ""},
		{"id of 33", []string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ""},
		{"another version", []string{"v=STSv2; id=1"}, ""},
		{"version not first", []string{"id=1; v=STSv1;"}, ""},
		{"in small letters", []string{"v=stsv1; id=1"}, ""},
		{"an empty field", []string{"v=STSv1;; id=1"}, ""},
		{"a field without a value", []string{"v=STSv1; x; id=1"}, ""},
		{"a blank in a value", []string{"v=STSv1; id=1; x=a b"}, ""},
	} {
		if got := parseRecord(test.txts); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParsePolicy(t *testing.T) {
	const head = "version: STSv1\nmode: enforce\nmax_age: 100\n"
	for _, test := range []struct {
		name, body string
		ok         bool
	}{
		{"LF", head + "mx: a.example\n", true},
		{"CRLF", strings.ReplaceAll(head, "\n", "\r\n") + "mx: a.example\r\n", true},
		{"no line end at the end", head + "mx: a.example", true},
		{"empty lines", "\n" + head + "\r\nmx: a.example\n\n", true},
		{"no blank after the colon", head + "mx:a.example", true},
		{"any order", "mx: a.example\n" + head, true},
		{"what is not known", head + "mx: a.example\nother: thing: x\n", true},
		{"again", head + "mx: a.example\nmode: none\nmax_age: x\n", true},
		{"empty", "", false},
		{"no version", "mode: enforce\nmax_age: 100\nmx: a.example", false},
		{"another version", "version: STSv2\nmode: enforce\nmax_age: 100\nmx: a.example", false},
		{"no mode", "version: STSv1\nmax_age: 100\nmx: a.example", false},
		{"another mode", "version: STSv1\nmode: Enforce\nmax_age: 100\nmx: a.example", false},
		{"no age", "version: STSv1\nmode: enforce\nmx: a.example", false},
		{"negative age", "version: STSv1\nmode: enforce\nmax_age: -1\nmx: a.example", false},
		{"age of a different kind", "version: STSv1\nmode: enforce\nmax_age: 1d\nmx: a.example", false},
		{"huge age", "version: STSv1\nmode: enforce\nmax_age: 99999999999\nmx: a.example", false},
		{"no hosts", head, false},
		{"an address for a host", head + "mx: 192.0.2.1", false},
		{"a wildcard inside", head + "mx: a.*.example", false},
		{"only a wildcard", head + "mx: *", false},
		{"half a wildcard", head + "mx: *a.example", false},
		{"two wildcards", head + "mx: *.*.example", false},
		{"no value", head + "mx:\n", false},
		{"no colon", head + "mx a.example", false},
		{"HTML", "<html>" + head + "mx: a.example", false},
		{"too many hosts", head + strings.Repeat("mx: a.example\n", maxPatterns+1), false},
		{"too large", head + "mx: a.example\n" + strings.Repeat("\n", maxPolicy), false},
	} {
		p, err := parsePolicy([]byte(test.body))
		if (err == nil) != test.ok {
			t.Errorf("%s: the error is %v", test.name, err)
		}
		if err == nil && (p.mode != enforce || p.maxAge != 100*time.Second || len(p.mx) != 1 || p.mx[0] != "a.example") {
			t.Errorf("%s: %+v", test.name, p)
		}
	}
}

func TestPolicyAgeIsAYearAtMost(t *testing.T) {
	p, err := parsePolicy([]byte("version: STSv1\nmode: none\nmax_age: 9999999999\n"))
	if err != nil || p.maxAge != 31557600*time.Second {
		t.Errorf("%v, %+v", err, p)
	}
}

func TestPolicyMatches(t *testing.T) {
	p := &policy{mx: []string{"mx.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mx.example.com":   true,
		"a.example.net":    true,
		"example.net":      false,
		"a.b.example.net":  false,
		"mx2.example.com":  false,
		"x.mx.example.com": false,
		"aexample.net":     false,
	} {
		if p.matches(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("version: STSv1\r\nmode: enforce\r\nmx: *.a.example\r\nmax_age: 86400\r\n"))
	f.Add([]byte("version: STSv1\nmode: none\nmax_age: 0\nx: y: z"))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePolicy(body)
		if err != nil {
			return
		}
		if p.maxAge < 0 || p.maxAge > maxPolicyAge*time.Second || len(p.mx) > maxPatterns {
			t.Errorf("out of bounds: %+v", p)
		}
		if p.mode != enforce && p.mode != testOnly && p.mode != "none" || p.mode != "none" && len(p.mx) == 0 {
			t.Errorf("incomplete: %+v", p)
		}
		for _, pattern := range p.mx {
			host, ok := hostName(strings.TrimPrefix(pattern, "*."))
			if !ok || strings.HasPrefix(host, "*") || !p.matches(strings.Replace(pattern, "*", "x", 1)) {
				t.Errorf("a strange pattern: %q", pattern)
			}
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=STSv1; id=20160831085700Z;", "v=spf1 -all")
	f.Add("v=STSv1; a=b; id=1", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		id := parseRecord([]string{a, b})
		if id == "" {
			return
		}
		if !recordID.MatchString(id) || !strings.Contains(a+"\n"+b, "id="+id) {
			t.Errorf("a strange id: %q", id)
		}
		if strings.HasPrefix(a, recordBeginsBy) == strings.HasPrefix(b, recordBeginsBy) {
			t.Error("not exactly one record")
		}
	})
}

func FuzzDestination(f *testing.F) {
	for _, s := range []string{"a@b.example", "a@[::1]", "a@BÜCHER.example.", "@", "a@1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		domain, refusal := domainOf(addr)
		if refusal != nil {
			return
		}
		if again, refusal := domainOf("x@" + domain); refusal != nil || again != domain || Destination(addr) != domain {
			t.Errorf("%q: %q, and then %q, %v", addr, domain, again, refusal)
		}
		if strings.ContainsAny(domain, " \r\n/:@?#[]") {
			t.Errorf("%q: %q", addr, domain)
		}
	})
}
