package domains_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A product's page: a customer adds a domain, sees the records to publish, and presses
// "Check now".
func Example() {
	ctx := context.Background()
	private, err := dkim.GenerateRSA() // yours: from your secret manager
	if err != nil {
		log.Fatal(err)
	}
	st := new(memory.Store)
	dns := newZone(make(map[string][]string)) // yours: leave Resolvers out
	dom := &domains.Manager{
		Store: st, Domains: st, Logger: slog.New(slog.DiscardHandler),
		Zone: "dkim.relay.example", Shared: []dkim.Key{{Selector: "gp1", Signer: private}},
		Resolvers: []domains.Resolver{dns.resolver()},
	}
	records, err := dom.ZoneRecords()
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records { // once, by the product
		fmt.Println(r.Name, r.Type, strings.Split(r.Value, "p=")[0]+"p=…")
		dns.set(r.Name, r.Type+" "+r.Value)
	}

	acme := (&credentials.Manager{Store: st}).Tenant("acme")
	if _, err := acme.AddDomain(ctx, "acme.example"); err != nil {
		log.Fatal(err)
	}
	d, err := dom.Domain(ctx, "acme", "acme.example")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Name, "is", d.State)
	for _, r := range d.Records {
		_, value, _ := strings.Cut(r.Value, ".") // without the token, which is random
		fmt.Println(r.Name, r.Type, value, "required:", r.Required)
		dns.set(r.Name, r.Type+" "+r.Value) // what the owner does
	}
	if d, err = dom.Check(ctx, "acme", "acme.example"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Name, "is", d.State)
	// Output:
	// *.gp1.dkim.relay.example TXT v=DKIM1; k=rsa; p=…
	// *.gp2.dkim.relay.example TXT v=DKIM1; p=…
	// acme.example is unverified
	// gp1._domainkey.acme.example CNAME gp1.dkim.relay.example required: true
	// gp2._domainkey.acme.example CNAME gp2.dkim.relay.example required: true
	// _dmarc.acme.example TXT  required: false
	// acme.example is verified
}

func ExampleManager_AllowUser() {
	st := new(memory.Store)
	dom := &domains.Manager{Store: st, Domains: st}
	srv := &relay.Server{AllowUser: dom.AllowUser}
	signer := &dkim.Signer{Keys: dom.Keys}
	// … fill in the rest, start them, and run dom.Run.

	request := new(relay.PolicyRequest)
	request.Identity = credentials.Identity{Tenant: "acme", Domain: "acme.example"}
	if _, err := (&credentials.Manager{Store: st}).Tenant("acme").AddDomain(context.Background(), "acme.example"); err != nil {
		log.Fatal(err)
	}
	reply := srv.AllowUser(context.Background(), request)
	text, _, _ := strings.Cut(reply.Error(), ": gp") // the rest names the record
	fmt.Println(text)
	_ = signer
	// Output: relay: 550 5.7.1 acme.example is not verified
}
