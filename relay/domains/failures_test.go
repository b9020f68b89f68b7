package domains_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
)

// An OnChange that panics or takes too long is called again, and other domains are looked
// at meanwhile.
func TestOnChangeFails(t *testing.T) {
	calls := 0
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish(f.add(acme, "acme.example"))
		f.publish(f.add(rival, "rival.example"))
		sleep(10 * time.Minute)
		f.is(acme, "acme.example", domains.Verified)
		f.is(rival, "rival.example", domains.Verified)
		if got := f.changes(); calls != 3 || got != "rival verified, acme verified" {
			t.Errorf("told of %q after %d calls for acme", got, calls)
		}
	}, func(f *fixture) {
		next := f.OnChange
		f.OnChange = func(ctx context.Context, d domains.Domain) {
			if d.Tenant == acme {
				switch calls++; calls {
				case 1:
					panic("no mail server")
				case 2:
					<-ctx.Done()
					return
				}
			}
			next(ctx, d)
		}
	})
}

// A badResolver panics for one domain.
type badResolver struct {
	domains.Resolver
	name string
}

func (r *badResolver) LookupCNAME(ctx context.Context, name string) (string, error) {
	if name == r.name {
		panic("bad resolver")
	}
	return r.Resolver.LookupCNAME(ctx, name)
}

// A panic in a Resolver ends one look only.
func TestResolverPanics(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish(f.add(acme, "acme.example"))
		f.publish(f.add(rival, "rival.example"))
		sleep(10 * time.Minute)
		f.is(acme, "acme.example", domains.Unverified)
		f.is(rival, "rival.example", domains.Verified)
		if _, err := f.Check(t.Context(), acme, "acme.example"); err == nil {
			t.Error("Check: got no error")
		}
	}, func(f *fixture) {
		f.Resolvers = []domains.Resolver{&badResolver{f.dns.resolver(), "gp1._domainkey.acme.example."}}
	})
}

// A deafResolver answers only when the context ends.
type deafResolver struct{}

func (deafResolver) LookupCNAME(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func (deafResolver) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Check takes up to 40 seconds, however many records and resolvers there are.
func TestCheckTakesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.Selectors = []string{"gp1", "gp2", "gp3"}
		f.Resolvers = []domains.Resolver{deafResolver{}, deafResolver{}}
		f.add(acme, "acme.example")
		start := time.Now()
		d, err := f.Check(t.Context(), acme, "acme.example")
		if took := time.Since(start); err != nil || took > 40*time.Second || d.State != domains.Unverified {
			t.Errorf("got %+v, %v after %v, want at most 40 s", d, err, took)
		}
	})
}

// If the product forgets its zone, no domain with CNAMEs changes its state.
func TestZoneForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish(f.add(acme, "acme.example"))
		sleep(2 * time.Minute)
		f.is(acme, "acme.example", domains.Verified)
		other := &domains.Manager{
			Store: f.store, Domains: f.store, Shared: []dkim.Key{sharedKey}, Resolvers: f.Resolvers, Logger: f.Logger,
		}
		for range 5 {
			sleep(time.Hour)
			if d, err := other.Check(t.Context(), acme, "acme.example"); err != nil || d.State != domains.Verified {
				t.Fatalf("without a zone: got %s, %v", d.State, err)
			}
		}
	})
}
