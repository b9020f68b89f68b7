package domains_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
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

const productZone = "dkim.relay.example"

var sharedKey, otherKey = func() (dkim.Key, dkim.Key) {
	a, err := dkim.GenerateRSA()
	b, err2 := dkim.GenerateRSA()
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	return dkim.Key{Selector: "gp1", Signer: a}, dkim.Key{Selector: "gp2", Signer: b}
}()

func record(key dkim.Key) string {
	list, err := key.Record()
	if err != nil {
		panic(err)
	}
	return "TXT " + strings.Join(list, "")
}

// A fixture is a Manager with a store and a DNS of its own.
type fixture struct {
	*testing.T
	*domains.Manager
	store *memory.Store
	creds *credentials.Manager
	dns   *zone

	mu   sync.Mutex
	told []string // the changes of state
}

// newFixture returns one whose Manager has a zone, which answers.
func newFixture(t *testing.T) *fixture {
	f := &fixture{T: t, store: new(memory.Store)}
	f.dns = newZone(map[string][]string{"*.gp1." + productZone: {record(sharedKey)}, "*.gp2." + productZone: {record(otherKey)}})
	f.creds = &credentials.Manager{Store: f.store, ClaimDomains: true, Logger: slog.New(slog.DiscardHandler)}
	f.Manager = &domains.Manager{
		Store: f.store, Domains: f.store, Zone: productZone, Shared: []dkim.Key{sharedKey}, ReturnPath: "rp.relay.example",
		Resolvers: []domains.Resolver{f.dns.resolver()}, Logger: slog.New(slog.DiscardHandler),
		OnChange: func(_ context.Context, d domains.Domain) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.told = append(f.told, string(d.Tenant)+" "+string(d.State))
		},
	}
	return f
}

// add adds a domain and returns what its owner has to publish.
func (f *fixture) add(tenant store.TenantID, name string) domains.Domain {
	f.Helper()
	if _, err := f.creds.Tenant(tenant).AddDomain(f.Context(), name); err != nil {
		f.Fatal(err)
	}
	return f.domain(tenant, name)
}

func (f *fixture) domain(tenant store.TenantID, name string) domains.Domain {
	f.Helper()
	d, err := f.Domain(f.Context(), tenant, name)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// check looks now.
func (f *fixture) check(tenant store.TenantID, name string) domains.Domain {
	f.Helper()
	d, err := f.Check(f.Context(), tenant, name)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// publish publishes the required records of a domain, and returns how to remove them.
func (f *fixture) publish(d domains.Domain) (remove func()) {
	for _, r := range d.Records {
		if r.Required {
			f.dns.set(r.Name, r.Type+" "+r.Value)
		}
	}
	return func() {
		for _, r := range d.Records {
			f.dns.set(r.Name)
		}
	}
}

// allow asks whether a user may send, as the relay does.
func (f *fixture) allow(tenant store.TenantID, domain string) error {
	r := new(relay.PolicyRequest)
	r.Identity = credentials.Identity{Tenant: tenant, Domain: domain}
	return f.AllowUser(f.Context(), r)
}

// sends checks whether a user may send.
func (f *fixture) sends(tenant store.TenantID, domain string, want bool) {
	f.Helper()
	err := f.allow(tenant, domain)
	var re *relay.ReplyError
	if want != (err == nil) || err != nil && (!errors.As(err, &re) || re.Code != 550 || re.Enhanced != "5.7.1") {
		f.Errorf("AllowUser of %s for %s: got %v, want allowed: %t", tenant, domain, err, want)
	}
}

// is checks the state of a domain.
func (f *fixture) is(tenant store.TenantID, name string, want domains.State) {
	f.Helper()
	if d := f.domain(tenant, name); d.State != want {
		f.Errorf("%s of %s is %s, want %s: %+v", name, tenant, d.State, want, d.Records)
	}
}

// changes returns the changes of state that the product was told of since the last call.
func (f *fixture) changes() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := strings.Join(f.told, ", ")
	f.told = nil
	return list
}

// resolverReady makes what Go's resolver shares outside of a bubble.
var resolverReady = sync.OnceFunc(func() {
	_, _ = newZone(nil).resolver().LookupCNAME(context.Background(), "a.example.")
})

// bubble runs a test in virtual time, with Run of the Manager, whose settings change may
// change first.
func bubble(t *testing.T, test func(t *testing.T, f *fixture), change ...func(*fixture)) {
	resolverReady()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, c := range change {
			c(f)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Manager.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		defer stop()
		test(t, f)
	})
}

const acme, rival = store.TenantID("acme"), store.TenantID("rival")

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
