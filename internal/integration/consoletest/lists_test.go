package consoletest_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// A person pages, sorts, filters and searches lists, and learns that a limit is reached.
func TestLists(t *testing.T) {
	services.OnlyLong(t)
	for name, l := range sorted(map[string]look{
		"wide": {}, "dark": {dark: true}, "phone": {width: 360, height: 740}, "narrow": {width: 320, height: 640}, "french": {language: "fr"}, "script-off": {noScript: true},
	}) {
		t.Run(name, func(t *testing.T) {
			p := start(t, func(r *relaytest.Relay, _ *console.Handler) { fillLists(t, r) })
			b := open(t, l)
			see := func(screen string) {
				t.Helper()
				if !l.noScript {
					b.accessible(screen)
					b.shoot(name + "-" + screen)
				}
			}
			b.goTo(p.url)
			see("lists-1-domains")
			b.goTo(p.url + "?search=muller")
			see("lists-2-search")
			b.goTo(p.url + "domains/" + p.Domain)
			see("lists-3-users")
			if l.language == "fr" {
				b.goTo(p.url + "domains/" + p.Domain + "?never=true&search=outil&limit=3")
				see("lists-4-filtered")
				return
			}
			b.follow("Next page", p.Domain)
			see("lists-4-second")
			b.follow("Previous page", p.Domain)
			b.follow("Last connection", p.Domain)
			see("lists-5-by-connection")
			b.follow("Show only what never connected", p.Domain)
			see("lists-6-never")
			b.goTo(p.url)
			b.fill("Add a domain", "third.example")
			b.press("Add domain")
			b.until(`document.querySelector(".gatepost-error")?.textContent.includes("as many domains as you may have")`)
			see("lists-7-limit")
		})
	}
}

// fillLists adds a second domain and users of both, of which some have connected.
func fillLists(t *testing.T, r *relaytest.Relay) {
	t.Helper()
	r.Credentials.Limits = func(context.Context, store.TenantID) (int, int, error) { return 2, 500, nil }
	acme := r.Credentials.Tenant(r.Tenant)
	if _, err := acme.AddDomain(t.Context(), "müller.example"); err != nil {
		t.Fatal(err)
	}
	add := func(domain, name string, i int) {
		u := store.User{Tenant: r.Tenant, Domain: domain, Username: fmt.Sprintf("smtp%016d", i), Name: name, Generation: 1, Created: time.Now().UTC().Truncate(time.Microsecond)}
		if err := r.Credentials.Store.AddUser(t.Context(), u, "no hash", 0); err != nil {
			t.Fatal(err)
		}
		if err := acme.RenameUser(t.Context(), u.Username, name); err != nil { // folds the name
			t.Fatal(err)
		}
		if i%3 > 0 {
			at := time.Now().UTC().Add(-time.Duration(i*i) * time.Hour).Truncate(time.Microsecond)
			if err := r.Credentials.Store.RecordLogin(t.Context(), u.Username, 1, at, netip.MustParseAddr("192.0.2.1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 60 {
		add(r.Domain, fmt.Sprintf("Outil %02d", i), i)
	}
	add("xn--mller-kva.example", "Müllers Kasse", 61)
}
