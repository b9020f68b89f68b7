package consoletest_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A zone is a DNS that has the records that were set.
type zone struct {
	mu     sync.Mutex
	cnames map[string]string
	texts  map[string][]string
}

// set sets the value of a record.
func (z *zone) set(kind, name, value string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if kind == "CNAME" {
		z.cnames[name+"."] = value + "."
	} else {
		z.texts[name+"."] = []string{value}
	}
}

func (z *zone) LookupCNAME(_ context.Context, name string) (string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if to, ok := z.cnames[name]; ok {
		return to, nil
	}
	return "", &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for wildcard, texts := range z.texts {
		if name == wildcard || strings.HasPrefix(wildcard, "*.") && strings.HasSuffix(name, wildcard[1:]) {
			return texts, nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// withDNS returns a function for start that proves domains with CNAMEs into a zone of the
// product.
func withDNS(t *testing.T) (*zone, func(*relaytest.Relay, *console.Handler)) {
	t.Helper()
	signer, err := dkim.GenerateRSA()
	if err != nil {
		t.Fatal(err)
	}
	key := dkim.Key{Selector: "gp1", Signer: signer}
	record, err := key.Record()
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{cnames: make(map[string]string), texts: map[string][]string{"*.gp1.dkim.relay.example.": {strings.Join(record, "")}, "*.gp2.dkim.relay.example.": {"v=DKIM1; p="}}}
	return z, func(r *relaytest.Relay, h *console.Handler) {
		h.Domains = &domains.Manager{
			Store: new(memory.Store), Domains: r.Credentials.Store, Zone: "dkim.relay.example", Shared: []dkim.Key{key},
			ReturnPath: "rp.relay.example", Resolvers: []domains.Resolver{z},
		}
	}
}

// TestDNS publishes the records of a domain as its owner does: one of them wrongly at
// first, then all. The page says what is wrong and what to do, and in the end that the
// domain sends.
func TestDNS(t *testing.T) {
	services.OnlyLong(t)
	for name, l := range sorted(map[string]look{
		"wide": {}, "dark": {dark: true}, "phone": {width: 360, height: 740}, "narrow": {width: 320, height: 640}, "french": {language: "fr"}, "script-off": {noScript: true},
	}) {
		t.Run(name, func(t *testing.T) {
			z, set := withDNS(t)
			p, b := start(t, set), open(t, l)
			see := func(screen string) {
				t.Helper()
				if !l.noScript {
					b.accessible(screen)
				}
				b.shoot("dns-" + name + "-" + screen)
			}
			check := map[bool]string{false: "Check now", true: "Vérifier maintenant"}[l.language == "fr"]
			b.goTo(p.url + "domains/" + p.Domain)
			b.heading(p.Domain)
			see("1-waits")
			records := readRecords(b)
			if len(records) != 4 {
				t.Fatalf("got the records %v, want four", records)
			}
			first := records[0]
			z.set(first.kind, first.name+"."+p.Domain, first.value)
			b.press(check)
			b.until(`document.querySelector(".gatepost-found")`)
			if found := b.text(".gatepost-found"); found != first.name+"."+p.Domain {
				t.Errorf("got %q as what was found, want the name with the domain twice", found)
			}
			see("2-wrong")
			b.goTo(p.url)
			see("3-list")

			z, set = withDNS(t) // another product, which has not looked yet
			p = start(t, set)
			b.goTo(p.url + "domains/" + p.Domain)
			for _, r := range readRecords(b) {
				z.set(r.kind, r.name, r.value)
			}
			b.press(check)
			b.until(`document.querySelector(".gatepost-dns h2 .gatepost-good")`)
			see("4-sends")
			b.goTo(p.url)
			see("5-list")
		})
	}
}

// A published is a record as the page shows it.
type published struct{ kind, name, value string }

func readRecords(b *tab) (records []published) {
	b.Helper()
	for _, r := range eval[[][]string](b, `[...document.querySelectorAll(".gatepost-records > li")].map(li =>
		[li.querySelector("h3").textContent.includes("CNAME") ? "CNAME" : "TXT", li.querySelector("[id^=gatepost-name-]").textContent, li.querySelector("[id^=gatepost-value-]").textContent])`) {
		records = append(records, published{r[0], r[1], r[2]})
	}
	return records
}
