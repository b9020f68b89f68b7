// Package domains lets a domain send only after its owner has proved it. Without it any
// tenant of a relay can add paypal.com and send as it.
//
// A [Manager] says which DNS records the owner publishes, looks whether they are there,
// and stands in four places of a relay:
//
//	creds := &credentials.Manager{Store: st, ClaimDomains: true}
//	dom := &domains.Manager{Store: st, Domains: st, Zone: "dkim.relay.example", Shared: keys}
//
//	srv := &relay.Server{…, AllowUser: dom.AllowUser}         // refuses at MAIL FROM
//	signer := &dkim.Signer{Keys: dom.Keys, Next: upstream}     // signs
//	err := dom.Run(ctx)                                        // looks, in the background
//	d, err := dom.Domain(ctx, "acme", "acme.example")          // your page: state and records
//
// A client of a domain that is not verified is told at MAIL FROM which records are missing,
// so that the person who sets it up sees it:
//
//	550 5.7.1 acme.example is not verified: gp1._domainkey.acme.example needs a CNAME
//	record that points to k3v9q2m8x7t4w5r6.gp1.dkim.relay.example (nothing was found);
//	gp2._domainkey.acme.example needs …; seen at 2026-11-29 14:05 UTC
//
// # Records
//
// With [Manager].Zone an owner publishes two CNAMEs, once. They lead to names in a zone of
// the product, which publishes two records that answer for all domains: see [Manager.ZoneRecords].
// Keys can then be replaced without the owners. Without Zone each domain has an RSA key of
// its own, which its owner publishes as a TXT record, and again after [Manager.Rotate].
//
// The names hold a token, or a key, of one tenant's domain. So a record proves that the
// owner meant this tenant. With ClaimDomains any number of tenants may add a domain of one
// name, so that no tenant keeps its owner out. The tenant that proves it has it, and the
// others get new records: what they had published or were shown proves nothing any more. No
// answer tells a tenant that another one has the domain.
//
// # States
//
// A domain is [Unverified], [Verified], [Failing] or [Failed]; Verified and Failing ones
// send. Only definite answers count: a record is missing if all [Manager].Resolvers say
// so, three times and an hour apart. An outage of name servers changes no state, and
// neither does a mistake in the product's own zone, which is logged as an error.
//
// # Cost
//
// AllowUser and Keys answer from memory for five seconds, and for ten while another
// goroutine asks the Store. Then Keys reads one row. AllowUser reads the domain, whose
// users the Store counts, and its setup. A million verified domains need 46 looks a
// second, by all processes together.
//
// docs/domains.md has the states, the times and the texts for the owners of domains.
package domains
