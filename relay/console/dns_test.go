package console_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A zone is a DNS that knows the records that were set.
type zone struct {
	mu    sync.Mutex
	texts map[string][]string // by name, with a dot at its end
}

func (z *zone) set(name string, texts ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.texts == nil {
		z.texts = make(map[string][]string)
	}
	z.texts[name+"."] = texts
}

func (z *zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if texts := z.texts[name]; len(texts) > 0 {
		return texts, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z *zone) LookupCNAME(_ context.Context, name string) (string, error) {
	return "", &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// withDNS adds the Manager of the domains' records to a fixture, each with a key of its
// own.
func (f *fixture) withDNS() *zone {
	z := new(zone)
	st := f.store.(*memory.Store)
	f.console.Domains = &domains.Manager{Store: st, Domains: st, Resolvers: []domains.Resolver{z}, Logger: f.console.Logger}
	return z
}

func TestDNSRecords(t *testing.T) {
	f := newFixture(t)
	z := f.withDNS()
	var changes []console.Change
	f.console.OnChange = func(_ *http.Request, c console.Change) { changes = append(changes, c) }
	page := f.get("domains/acme.example")
	f.want(page, 200, "Waiting for DNS records", "cannot send yet", "TXT record", "._domainkey.acme.example", "v=DKIM1; k=rsa; p=", "not looked up yet", "required", "Check now")
	d := must(f.console.Domains.Domain(t.Context(), "acme", "acme.example"))
	key := d.Records[0]
	short := strings.TrimSuffix(key.Name, ".acme.example")
	f.want(page, 200, ">"+short+"</code>", `aria-label="Copy name `+key.Name+`"`, `aria-label="Copy value of `+key.Name+`"`)
	f.want(f.get(""), 200, "Waiting for DNS records")

	z.set(key.Name+".acme.example", key.Value)
	f.want(f.post("domains/acme.example/check", nil), http.StatusSeeOther)
	f.want(f.get("domains/acme.example"), 200, "Found instead", key.Name+".acme.example", "enter the name without the domain", ">wrong</span>")
	f.want(f.get("domains/acme.example", french), 200, "saisissez le nom sans le domaine", ">incorrect</span>")

	z.set(key.Name, key.Value)
	f.console.Domains = nil
	f.withDNS().set(key.Name, key.Value) // another node, which has not looked yet
	if len(changes) != 1 || changes[0] != (console.Change{Action: console.CheckDomain, Tenant: "acme", Domain: "acme.example"}) {
		t.Errorf("got the changes %+v, want the check", changes)
	}
}

// The JSON of a domain has its records.
func TestDNSInJSON(t *testing.T) {
	f := newFixture(t)
	z := f.withDNS()
	d := must(f.console.Domains.Domain(t.Context(), "acme", "acme.example"))
	z.set(d.Records[0].Name, d.Records[0].Value)
	r, document := f.call("domains/acme.example/check", `{}`)
	f.want(r, 200)
	if document["state"] != "verified" || document["sends"] != true || document["until"] != nil {
		t.Errorf("got %v, want a verified domain", document)
	}
	f.want(f.get("domains/acme.example", program), 200, `"state":"verified"`, `"dns":{"state":"verified"`, `"status":"right"`, `"found":[]`)
	f.want(f.get("", program), 200, `"name":"acme.example"`, `"state":"verified"`)
	f.want(f.get("domains/acme.example"), 200, "The required records are there", "Replace the signing key")
	if page := f.get(""); strings.Contains(page.body, "need attention") {
		t.Error("got a domain that needs attention, want none")
	}
	r, document = f.call("domains/acme.example/rotate-key", `{}`)
	f.want(r, 200)
	if records := document["records"].([]any); len(records) != 3 {
		t.Errorf("got the records %v, want one more", records)
	}
}

// A domain of another tenant, and one without a Manager of records.
func TestDNSOfOthers(t *testing.T) {
	f := newFixture(t)
	f.want(f.post("domains/acme.example/check", nil), http.StatusNotFound)
	f.want(f.get("domains/acme.example", program), 200, `"dns":null`, `"state":null`)
	f = newFixture(t)
	f.withDNS()
	for _, path := range []string{"check", "rotate-key", "use-txt"} {
		f.want(f.post("domains/rival.example/"+path, nil), http.StatusNotFound)
		f.want(f.get("domains/acme.example/"+path), http.StatusMethodNotAllowed)
	}
}

// Domains with a problem come first: in the list if it is short, and above it otherwise.
func TestProblemsFirst(t *testing.T) {
	f := newFixture(t)
	z := f.withDNS()
	f.domain(f.acme, "zoo.example")
	d := must(f.console.Domains.Domain(t.Context(), "acme", "acme.example"))
	z.set(d.Records[0].Name, d.Records[0].Value)
	must(f.console.Domains.Check(t.Context(), "acme", "acme.example"))
	page := f.get("")
	f.want(page, 200, "zoo.example")
	if strings.Index(page.body, "zoo.example</bdi>") > strings.Index(page.body, "acme.example</bdi>") {
		t.Error("got zoo.example after acme.example, want it first: it does not send")
	}
	must(f.console.Domains.Domain(t.Context(), "acme", "zoo.example"))
	for i := range 60 {
		f.domain(f.acme, fmt.Sprintf("b%02d.example", i))
	}
	page = f.get("")
	f.want(page, 200, "These domains need attention")
	if first := strings.Index(page.body, "zoo.example</bdi>"); first < 0 || first > strings.Index(page.body, "acme.example</bdi>") {
		t.Error("got no zoo.example above the list, want it there")
	}
}
