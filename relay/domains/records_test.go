package domains_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// Each thing that an owner may publish has its status and reason.
func TestCNAMEs(t *testing.T) {
	const name = "gp1._domainkey.acme.example"
	hops := func(n int) func(*zone, string) {
		return func(z *zone, value string) {
			at := name
			for i := range n - 1 {
				next := fmt.Sprintf("h%d.acme.example", i)
				z.set(at, "CNAME "+next)
				at = next
			}
			z.set(at, "CNAME "+value)
		}
	}
	for what, test := range map[string]struct {
		set    func(z *zone, value string)
		status domains.Status
		reason string
	}{
		"nothing":         {func(*zone, string) {}, domains.Missing, "no such record yet"},
		"right":           {hops(1), domains.Right, ""},
		"upper case":      {func(z *zone, value string) { z.set(name, "CNAME "+strings.ToUpper(value)) }, domains.Right, ""},
		"eight hops":      {hops(8), domains.Right, ""},
		"nine hops":       {hops(9), domains.Wrong, "leads to another name"},
		"another token":   {func(z *zone, _ string) { z.set(name, "CNAME aaaa.gp1."+productZone) }, domains.Wrong, "leads to another name"},
		"another host":    {func(z *zone, _ string) { z.set(name, "CNAME www.acme.example"); z.set("www.acme.example", "A") }, domains.Wrong, "another name"},
		"a loop":          {func(z *zone, _ string) { z.set(name, "CNAME "+name) }, domains.Unknown, "no answer"},
		"flattened":       {func(z *zone, _ string) { z.set(name, record(sharedKey)) }, domains.Wrong, "flattening"},
		"another text":    {func(z *zone, _ string) { z.set(name, "TXT v=DKIM1; p=abc") }, domains.Wrong, "replace it by a CNAME"},
		"a host":          {func(z *zone, _ string) { z.set(name, "A") }, domains.Missing, "no such record yet"},
		"a wildcard":      {func(z *zone, value string) { z.set("*.acme.example", "CNAME "+value) }, domains.Right, ""},
		"domain twice":    {func(z *zone, value string) { z.set(name+".acme.example", "CNAME "+value) }, domains.Wrong, "adds the domain to the name"},
		"another twice":   {func(z *zone, _ string) { z.set(name+".acme.example", "CNAME www.acme.example") }, domains.Missing, "no such record yet"},
		"a failed server": {func(z *zone, _ string) { z.set(name, "SERVFAIL") }, domains.Unknown, "no answer"},
	} {
		f := newFixture(t)
		d := f.add(acme, "acme.example")
		test.set(f.dns, d.Records[0].Value)
		r := f.check(acme, "acme.example").Records[0]
		if r.Status != test.status || !strings.Contains(r.Reason, test.reason) {
			t.Errorf("%s: got %s, %q, found %q; want %s, %q", what, r.Status, r.Reason, r.Found, test.status, test.reason)
		}
	}
}

// A record counts as missing only if all resolvers say so, and as right if one does.
func TestSeveralResolvers(t *testing.T) {
	for _, test := range []struct {
		second string // what the second server says; the first has an old negative answer
		want   domains.Status
	}{{"right", domains.Right}, {"nothing", domains.Missing}, {"SERVFAIL", domains.Unknown}} {
		f := newFixture(t)
		other := newZone(map[string][]string{"*.gp1." + productZone: {record(sharedKey)}})
		f.Resolvers = append(f.Resolvers, other.resolver())
		d := f.add(acme, "acme.example")
		r := d.Records[0]
		switch test.second {
		case "right":
			other.set(r.Name, "CNAME "+r.Value)
		case "SERVFAIL":
			other.set(r.Name, "SERVFAIL")
		}
		if got := f.check(acme, "acme.example").Records[0]; got.Status != test.want {
			t.Errorf("the second server says %s: got %s, want %s", test.second, got.Status, test.want)
		}
	}
}

func ownKeys(f *fixture) {
	f.Zone, f.Shared, f.Secret = "", nil, credentials.NewPassword(strings.Repeat("s", 32))
}

// Without a zone each domain has a key of its own, which can be replaced.
func TestOwnKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		d := f.add(acme, "acme.example")
		first := d.Records[0]
		if first.Type != "TXT" || !strings.HasPrefix(first.Value, "v=DKIM1; k=rsa; p=") || !first.Required {
			t.Fatalf("got %+v", first)
		}
		if err := f.allow(acme, "acme.example"); err == nil || !strings.Contains(err.Error(), first.Name+" needs the TXT record that was given to you") {
			t.Errorf("got %v", err)
		}
		signs := func(want ...string) {
			t.Helper()
			var got []string
			keys, err := f.Keys(t.Context(), new(relay.Message), "acme.example")
			for _, key := range keys {
				got = append(got, key.Selector+"._domainkey.acme.example")
			}
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("Keys: got %q, %v, want %q", got, err, want)
			}
		}
		signs()
		f.dns.set(first.Name, "TXT v=DKIM1; p=") // a key that was revoked
		if d = f.check(acme, "acme.example"); d.State != domains.Unverified || d.Records[0].Status != domains.Wrong {
			t.Fatalf("got %+v", d)
		}
		f.dns.set(first.Name)
		f.dns.set(first.Name+".acme.example", "TXT "+first.Value)
		sleep(10 * time.Second)
		if d = f.check(acme, "acme.example"); d.Records[0].Status != domains.Wrong || !strings.Contains(d.Records[0].Reason, "adds the domain to the name") {
			t.Fatalf("got %+v", d)
		}
		f.dns.set(first.Name, "TXT google-site-verification=x", "TXT v=DKIM1;k=rsa ; p="+first.Value[len("v=DKIM1; k=rsa; p="):])
		sleep(10 * time.Second)
		if d = f.check(acme, "acme.example"); d.State != domains.Verified {
			t.Fatalf("got %+v", d)
		}
		signs(first.Name)

		for range 2 { // the second call changes nothing
			if err := f.Rotate(t.Context(), acme, "acme.example"); err != nil {
				t.Fatal(err)
			}
		}
		d = f.domain(acme, "acme.example")
		if len(d.Records) != 4 || d.Records[0].Required || !d.Records[1].Required || d.Records[1].Name != first.Name {
			t.Fatalf("got %+v", d.Records)
		}
		sleep(24 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		signs(first.Name)
		f.dns.set(d.Records[0].Name, "TXT "+d.Records[0].Value)
		sleep(20 * time.Minute)
		signs(d.Records[0].Name)
		f.dns.set(first.Name)
		sleep(8 * 24 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		if d := f.domain(acme, "acme.example"); len(d.Records) != 3 || !d.Records[0].Required {
			t.Errorf("a week later: got %+v", d.Records)
		}
	}, ownKeys)
}

// A domain whose provider flattens CNAMEs gets a TXT record.
func TestUseTXT(t *testing.T) {
	f := newFixture(t)
	f.add(acme, "acme.example")
	if err := f.Rotate(t.Context(), acme, "acme.example"); !errors.Is(err, domains.ErrDelegated) {
		t.Errorf("Rotate: got %v, want ErrDelegated", err)
	}
	for range 2 {
		if err := f.UseTXT(t.Context(), acme, "acme.example"); err != nil {
			t.Fatal(err)
		}
	}
	d := f.domain(acme, "acme.example")
	f.publish(d)
	if d = f.check(acme, "acme.example"); d.State != domains.Verified || d.Records[0].Type != "TXT" {
		t.Errorf("got %+v", d)
	}
	other := f.add(acme, "other.example")
	f.publish(other)
	f.check(acme, "other.example")
	if err := f.UseTXT(t.Context(), acme, "other.example"); err == nil {
		t.Error("UseTXT of a verified domain: got no error")
	}
}

// A key that was sealed with another secret, or moved to another domain, signs nothing.
func TestSecret(t *testing.T) {
	f := newFixture(t)
	f.Zone, f.Shared, f.Secret = "", nil, credentials.NewPassword(strings.Repeat("a", 32))
	f.publish(f.add(acme, "acme.example"))
	f.check(acme, "acme.example")
	if keys, err := f.Keys(t.Context(), new(relay.Message), "acme.example"); len(keys) != 1 || err != nil {
		t.Fatalf("Keys: got %d, %v", len(keys), err)
	}
	s, err := f.store.HoldingSetup(t.Context(), "acme.example")
	if err != nil || strings.Contains(s.Secrets, "PRIVATE") {
		t.Errorf("%v, the setup is %+v", err, s)
	}
	for secret, want := range map[string]string{"": "set Manager.Secret", strings.Repeat("b", 32): "another Manager.Secret", strings.Repeat("a", 32): ""} {
		m := &domains.Manager{Store: f.store, Domains: f.store, Secret: credentials.NewPassword(secret)}
		if keys, err := m.Keys(t.Context(), new(relay.Message), "acme.example"); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(keys) > 0) {
			t.Errorf("secret %q: got %d keys, %v, want error %q", secret, len(keys), err, want)
		}
	}
	moved := s
	moved.Tenant, moved.Version, moved.Holds = rival, 0, false
	if err := f.store.SetSetup(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	moved.Version, moved.Holds = 1, true
	if err := f.store.SetSetup(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	m := &domains.Manager{Store: f.store, Domains: f.store, Secret: credentials.NewPassword(strings.Repeat("a", 32))}
	if keys, err := m.Keys(t.Context(), new(relay.Message), "acme.example"); err == nil {
		t.Errorf("a key that was moved: got %d keys, want an error", len(keys))
	}
}

// The refusal names the records, what was seen, and when.
func TestRefusal(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		d := f.add(acme, "acme.example")
		const at = "; seen at 2000-01-01 00:00 UTC"
		refused := func(saw, sawSecond, when string) {
			t.Helper()
			want := "acme.example is not verified: gp1._domainkey.acme.example needs a CNAME record that points to " + d.Records[0].Value + saw +
				"; gp2._domainkey.acme.example needs a CNAME record that points to " + d.Records[1].Value + sawSecond + when
			err := f.allow(acme, "acme.example")
			var re *relay.ReplyError
			if !errors.As(err, &re) || re.Text != want {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		refused("", "", "; the DNS was not asked yet")
		f.check(acme, "acme.example")
		sleep(10 * time.Second)
		refused(" (nothing was found)", " (nothing was found)", at)
		sleep(30 * time.Second)
		refused(" (nothing was found)", " (nothing was found)", at) // until the next look
		f.dns.set(d.Records[0].Name, "CNAME other.example")
		f.dns.set("other.example", "A")
		f.check(acme, "acme.example")
		sleep(10 * time.Second)
		refused(" (found was other.example)", " (nothing was found)", at)
		f.dns.set(d.Records[0].Name, "SERVFAIL")
		f.check(acme, "acme.example")
		sleep(10 * time.Second)
		refused(" (the DNS gave no answer)", " (nothing was found)", at)
	})
}

// A refusal has room for the first record of a long domain, and counts the others.
func TestRefusalOfALongDomain(t *testing.T) {
	f := newFixture(t)
	name := strings.Repeat("a", 60) + "." + strings.Repeat("b", 40) + ".example"
	d := f.add(acme, name)
	err := f.allow(acme, name)
	var re *relay.ReplyError
	if !errors.As(err, &re) || len(re.Text) > 400 || !strings.Contains(re.Text, d.Records[0].Name+" needs a CNAME record that points to "+d.Records[0].Value+"; and 1 more; ") {
		t.Errorf("got %v", err)
	}
}

// Check looks once in ten seconds, however many callers there are.
func TestCheckAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.add(acme, "acme.example")
		f.check(acme, "acme.example")
		asked := f.dns.questions()
		for range 20 {
			go f.Check(t.Context(), acme, "acme.example")
		}
		synctest.Wait()
		if n := f.dns.questions() - asked; n != 0 {
			t.Errorf("got %d questions within ten seconds, want none", n)
		}
		time.Sleep(10 * time.Second)
		for range 20 {
			go f.Check(t.Context(), acme, "acme.example")
		}
		synctest.Wait()
		if n := f.dns.questions() - asked; n > asked {
			t.Errorf("20 callers at once: got %d questions, want those of one look, %d", n, asked)
		}
	})
}

// Reports go to the domain's own name once its record is seen.
func TestReturnPathOf(t *testing.T) {
	f := newFixture(t)
	d := f.add(acme, "acme.example")
	f.publish(d)
	if got, err := f.ReturnPathOf(t.Context(), "acme.example"); got != "" || err != nil {
		t.Errorf("before: got %q, %v", got, err)
	}
	f.dns.set("bounces.acme.example", "CNAME rp.relay.example")
	f.dns.set("rp.relay.example", "A")
	f.check(acme, "acme.example")
	if got, err := f.ReturnPathOf(t.Context(), "acme.example"); got != "bounces.acme.example" || err != nil {
		t.Errorf("after: got %q, %v", got, err)
	}
}

// A DMARC policy of the registered domain counts, and so does any policy.
func TestPolicy(t *testing.T) {
	for records, want := range map[string]domains.Status{
		"": domains.Missing, "_dmarc.news.acme.co.uk TXT v=DMARC1; p=reject": domains.Right, "_dmarc.acme.co.uk TXT v=DMARC1;p=none": domains.Right,
		"_dmarc.co.uk TXT v=DMARC1; p=none": domains.Missing, "_dmarc.news.acme.co.uk TXT hello": domains.Missing,
	} {
		f := newFixture(t)
		f.add(acme, "news.acme.co.uk")
		name, value, _ := strings.Cut(records, " ")
		f.dns.set(name, value)
		if got := f.check(acme, "news.acme.co.uk").Records[3]; got.Status != want {
			t.Errorf("%q: got %+v, want %s", records, got, want)
		}
	}
}

// Report says what is met and what to publish.
func TestReport(t *testing.T) {
	f := newFixture(t)
	d := f.add(acme, "acme.example")
	self := errors.New("mx: 192.0.2.1 has no reverse entry (PTR)")
	from := domains.Sender{Resolver: f.dns.resolver(), CheckSelf: func(context.Context, ...netip.Addr) error { return self }}
	report := func() (met string, text string) {
		t.Helper()
		lines, err := f.Report(t.Context(), acme, "acme.example", from)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			met += map[bool]string{true: "+", false: "-"}[l.Met]
			text += l.Text + "\n"
		}
		return met, text
	}
	met, text := report()
	for _, want := range []string{d.Records[0].Value, "publish bounces.acme.example CNAME rp.relay.example", "_dmarc.acme.example TXT v=DMARC1; p=none", "\n192.0.2.1 has no reverse"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %q in it", text, want)
		}
	}
	f.publish(d)
	f.dns.set("bounces.acme.example", "CNAME rp.relay.example")
	f.dns.set("rp.relay.example", "A", "TXT v=spf1 -all")
	f.dns.set("_dmarc.acme.example", "TXT v=DMARC1; p=none")
	self = nil
	s, err := f.store.Setup(t.Context(), "acme.example", acme, setupTime(f))
	if err != nil {
		t.Fatal(err)
	}
	s.Checked = s.Checked.Add(-time.Minute)
	if err := f.store.SetSetup(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if again, text := report(); met != "-----" || again != "+++++" {
		t.Errorf("got %s, then %s, want none and then all\n%s", met, again, text)
	}
}

func setupTime(f *fixture) time.Time {
	d, err := f.store.Domain(f.Context(), acme, "acme.example")
	if err != nil {
		f.Fatal(err)
	}
	return d.Created
}

// A Manager that cannot work says why.
func TestSettings(t *testing.T) {
	st := new(memory.Store)
	for want, m := range map[string]*domains.Manager{
		"Manager.Store is required":     {},
		"Manager.Domains is required":   {Store: st},
		"is not a host name":            {Store: st, Domains: st, Zone: "Dkim.Relay.example."},
		"needs a key in Manager.Shared": {Store: st, Domains: st, Zone: productZone},
		"not one of Manager.Selectors":  {Store: st, Domains: st, Zone: productZone, Shared: []dkim.Key{{Selector: "x", Signer: sharedKey.Signer}}},
		"leave it empty":                {Store: st, Domains: st, Zone: productZone, Shared: []dkim.Key{{Selector: "gp1", Signer: sharedKey.Signer, Domain: "a.example"}}},
		"no key":                        {Store: st, Domains: st, Zone: productZone, Shared: []dkim.Key{{Selector: "gp1"}}},
		"has 3 bytes":                   {Store: st, Domains: st, Secret: credentials.NewPassword("abc")},
	} {
		if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := m.Domain(t.Context(), acme, "acme.example"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Domain: got %v, want %q", err, want)
		}
	}
	m := &domains.Manager{Store: st, Domains: st, Zone: productZone, Shared: []dkim.Key{sharedKey}}
	if list, err := m.ZoneRecords(); err != nil || len(list) != 2 || list[1].Value != "v=DKIM1; p=" || list[0].Name != "*.gp1."+productZone || "TXT "+list[0].Value != record(sharedKey) {
		t.Errorf("ZoneRecords: got %+v, %v", list, err)
	}
	if _, err := m.Domain(t.Context(), acme, "https://acme.example/"); err == nil || !strings.Contains(err.Error(), "web address") {
		t.Errorf("a web address: got %v", err)
	}
	if _, err := m.Domain(t.Context(), acme, "other.example"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown domain: got %v, want ErrNotFound", err)
	}
	var _ domains.Resolver = new(net.Resolver)
}
