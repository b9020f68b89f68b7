package domains_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// The tenant that proves a domain has it. The claims of other tenants end at once.
func TestProofEndsOtherClaims(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		first := f.add(rival, "acme.example") // any tenant can add any domain
		second := f.add(acme, "acme.example")
		if first.Records[0].Value == second.Records[0].Value {
			t.Fatal("two claims have the same records")
		}
		f.publish(first)
		if d := f.check(rival, "acme.example"); d.State != domains.Verified {
			t.Fatalf("got %+v", d)
		}
		f.sends(rival, "acme.example", true)
		f.sends(acme, "acme.example", false)

		f.publish(second) // it was shown before the other tenant's proof
		sleep(2 * time.Minute)
		f.sends(rival, "acme.example", true)
		f.sends(acme, "acme.example", false)
		f.publish(f.domain(acme, "acme.example"))
		if d := f.check(acme, "acme.example"); d.State != domains.Verified {
			t.Fatalf("got %+v", d)
		}
		f.sends(rival, "acme.example", false)
		f.sends(acme, "acme.example", true)
		sleep(time.Minute)
		d := f.domain(rival, "acme.example")
		if d.State != domains.Unverified || d.Records[0].Value == first.Records[0].Value {
			t.Errorf("the old claim is %s and has its old records: %+v", d.State, d.Records[0])
		}
		if got, want := f.changes(), "rival verified, acme verified, rival unverified"; got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
		f.publish(first) // the old records prove nothing any more
		sleep(24 * time.Hour)
		f.sends(rival, "acme.example", false)
	})
}

// A tenant that proves a domain ends all older claims: their records prove nothing later,
// neither while they are published nor by an old answer. Records that are shown after
// that do.
func TestProofEndsOlderClaims(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		first := f.add(rival, "acme.example")
		f.publish(f.add(acme, "acme.example"))
		f.check(acme, "acme.example")
		f.publish(first)
		if d := f.check(rival, "acme.example"); d.State != domains.Unverified || d.Records[0].Value == first.Records[0].Value {
			t.Errorf("the older claim is %s with %+v, want new records", d.State, d.Records[0])
		}
		sleep(90 * time.Minute)
		f.sends(acme, "acme.example", true)
		f.sends(rival, "acme.example", false)
		if got := f.changes(); got != "acme verified" {
			t.Errorf("told of %q", got)
		}
		f.publish(f.domain(rival, "acme.example"))
		sleep(2 * time.Hour)
		f.sends(rival, "acme.example", true)
		f.sends(acme, "acme.example", false)
		if got := f.changes(); got != "rival verified, acme unverified" {
			t.Errorf("told of %q", got)
		}
	})
}

// A look at an older claim that is under way while another tenant proves the domain
// changes nothing.
func TestProofDuringLook(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		first, second := f.add(rival, "acme.example"), f.add(acme, "acme.example")
		old := newZone(map[string][]string{"*.gp1." + productZone: {record(sharedKey)}, "*.gp2." + productZone: {record(otherKey)}})
		for _, r := range first.Records[:2] {
			old.set(r.Name, "CNAME "+r.Value)
		}
		slow := &slowAnswers{Resolver: old.resolver()}
		other := &domains.Manager{
			Store: f.store, Domains: f.store, Zone: productZone, Shared: f.Shared, Resolvers: []domains.Resolver{slow}, Logger: f.Logger,
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := other.Check(t.Context(), rival, "acme.example"); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		f.publish(second)
		f.check(acme, "acme.example")
		wg.Wait()
		sleep(time.Minute)
		f.sends(acme, "acme.example", true)
		f.sends(rival, "acme.example", false)
	})
}

// A slowAnswers is a Resolver whose answers about CNAMEs take some seconds.
type slowAnswers struct{ domains.Resolver }

func (s *slowAnswers) LookupCNAME(ctx context.Context, name string) (string, error) {
	answer, err := s.Resolver.LookupCNAME(ctx, name)
	time.Sleep(3 * time.Second)
	return answer, err
}

// A domain that was deleted, added again and proved is told as verified, and its old
// entry is not told of at all.
func TestAddedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish(f.add(acme, "acme.example"))
		f.check(acme, "acme.example")
		if err := f.creds.Tenant(acme).DeleteDomain(t.Context(), "acme.example"); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		f.publish(f.add(acme, "acme.example"))
		f.check(acme, "acme.example")
		sleep(time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		if got := f.changes(); got != "acme verified, acme verified" {
			t.Errorf("told of %q", got)
		}
	})
}

// A domain that was added again has the same Version as before, and is signed with its new
// key also by a process that remembers the old one.
func TestAddedAgainKeys(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		other := &domains.Manager{Store: f.store, Domains: f.store, Secret: f.Secret}
		for range 2 {
			d := f.add(acme, "acme.example")
			f.publish(d)
			f.check(acme, "acme.example")
			sleep(11 * time.Second)
			keys, err := other.Keys(t.Context(), new(relay.Message), "acme.example")
			if err != nil || len(keys) != 1 || keys[0].RecordName("acme.example") != d.Records[0].Name {
				t.Errorf("got %+v, %v, want the key at %s", keys, err, d.Records[0].Name)
			}
			if err := f.creds.Tenant(acme).DeleteDomain(t.Context(), "acme.example"); err != nil {
				t.Fatal(err)
			}
		}
	}, ownKeys)
}

// Another process learns of a change within ten seconds, also while the store is slow.
func TestTenSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.add(rival, "acme.example")
		f.publish(f.add(acme, "acme.example"))
		f.check(acme, "acme.example")
		st := &slowStore{Setups: f.store}
		other := &domains.Manager{Store: st, Domains: f.store, Zone: productZone, Shared: f.Shared}
		keys := func() int {
			list, err := other.Keys(t.Context(), new(relay.Message), "acme.example")
			if err != nil {
				t.Error(err)
			}
			return len(list)
		}
		if n := keys(); n != 1 {
			t.Fatalf("got %d keys, want one", n)
		}
		s, err := f.store.HoldingSetup(t.Context(), "acme.example")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.store.DropSetup(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		sleep(10*time.Second + time.Millisecond)
		st.wait.Store(int64(time.Minute))
		for range 2 { // the second finds the first waiting for the store
			go func() {
				if n := keys(); n != 0 {
					t.Errorf("after ten seconds: got %d keys, want none", n)
				}
			}()
			sleep(time.Second)
		}
		sleep(2 * time.Minute)
	})
}

// A slowStore is a Setups whose HoldingSetup takes a while.
type slowStore struct {
	store.Setups
	wait atomic.Int64
}

func (s *slowStore) HoldingSetup(ctx context.Context, domain string) (store.Setup, error) {
	time.Sleep(time.Duration(s.wait.Load()))
	return s.Setups.HoldingSetup(ctx, domain)
}

// Mail that a tenant has in the queue when another one proves its domain is not signed in
// the name of that one. Bounces about it are signed for the product's domain.
func TestKeysOfSender(t *testing.T) {
	f := newFixture(t)
	f.publish(f.add(acme, "acme.example"))
	f.check(acme, "acme.example")
	f.publish(f.add(acme, "relay.example"))
	f.check(acme, "relay.example")
	signs := func(tenant store.TenantID, domain string, want int) {
		t.Helper()
		m := &relay.Message{Identity: credentials.Identity{Tenant: tenant, Domain: "acme.example"}}
		if keys, err := f.Keys(t.Context(), m, domain); err != nil || len(keys) != want {
			t.Errorf("mail of %s, keys of %s: got %d, %v, want %d", tenant, domain, len(keys), err, want)
		}
	}
	signs(acme, "acme.example", 1)
	f.publish(f.add(rival, "acme.example"))
	f.check(rival, "acme.example")
	signs(acme, "acme.example", 0)
	signs(rival, "acme.example", 1)
	signs(rival, "relay.example", 1)
}

// The settings of a domain that was lost a moment ago are those of its new records.
func TestUseTXTAfterLoss(t *testing.T) {
	f := newFixture(t)
	f.add(acme, "acme.example")
	f.publish(f.add(rival, "acme.example"))
	f.check(rival, "acme.example")
	f.publish(f.domain(acme, "acme.example"))
	f.check(acme, "acme.example")
	if err := f.UseTXT(t.Context(), rival, "acme.example"); err != nil {
		t.Fatal(err)
	}
	d := f.domain(rival, "acme.example")
	f.publish(d)
	if d = f.check(rival, "acme.example"); d.State != domains.Verified || d.Records[0].Type != "TXT" {
		t.Errorf("got %+v", d)
	}
}
