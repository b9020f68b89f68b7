package domains_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// A domain sends once its records are seen, and for the grace after they have gone.
func TestStates(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		d := f.add(acme, "acme.example")
		if d.State != domains.Unverified || len(d.Records) != 4 || !strings.HasSuffix(d.Records[0].Value, ".gp1.dkim.relay.example") {
			t.Fatalf("got %+v", d)
		}
		f.sends(acme, "acme.example", false)
		remove := f.publish(d)
		sleep(2 * time.Minute)
		f.is(acme, "acme.example", domains.Verified)
		f.sends(acme, "acme.example", true)

		remove()
		sleep(8 * time.Hour) // the first look may be 6 hours and a tenth away
		f.is(acme, "acme.example", domains.Verified)
		f.publish(d)
		sleep(2 * time.Hour)
		remove() // two misses do not count after a look that found everything
		sleep(6 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		sleep(4 * time.Hour)
		f.is(acme, "acme.example", domains.Failing)
		f.sends(acme, "acme.example", true)
		sleep(68 * time.Hour)
		f.is(acme, "acme.example", domains.Failing)
		sleep(5 * time.Hour)
		f.is(acme, "acme.example", domains.Failed)
		sleep(15 * time.Second)
		f.sends(acme, "acme.example", false)
		f.publish(d)
		sleep(70 * time.Minute)
		f.is(acme, "acme.example", domains.Verified)
		f.sends(acme, "acme.example", true)
		if got, want := f.changes(), "acme verified, acme failing, acme failed, acme verified"; got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	})
}

// Only definite answers count: an outage of name servers changes no state, however long.
func TestOutageChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		d := f.add(acme, "acme.example")
		f.publish(d)
		sleep(2 * time.Minute)
		f.is(acme, "acme.example", domains.Verified)
		for _, r := range d.Records {
			f.dns.set(r.Name, "SERVFAIL")
		}
		sleep(3 * 24 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		if got := f.domain(acme, "acme.example").Records[0]; got.Status != domains.Unknown {
			t.Errorf("got record %+v, want it Unknown", got)
		}
		if keys, err := f.Keys(t.Context(), "acme.example"); len(keys) != 1 || err != nil {
			t.Errorf("Keys in an outage: got %d, %v, want the one that signed before", len(keys), err)
		}
		if got := f.changes(); got != "acme verified" {
			t.Errorf("told of %q", got)
		}
	})
}

// The product's own zone is broken: no domain fails and none is verified.
func TestOwnZoneBroken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.publish(f.add(acme, "acme.example"))
		sleep(2 * time.Minute)
		f.dns.set("*.gp1."+productZone, "TXT v=DKIM1; p=")
		remove := f.publish(f.add(acme, "new.example"))
		f.dns.set("gp1._domainkey.acme.example")
		sleep(30 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		f.dns.set("*.gp1."+productZone, record(sharedKey))
		f.dns.remove("*.gp2." + productZone) // of the key that comes next
		sleep(30 * time.Hour)
		f.is(acme, "acme.example", domains.Verified)
		f.is(acme, "new.example", domains.Unverified)
		remove()
	})
}

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

// A domain that was added again has other records, and its mail in the queue is signed
// for some days.
func TestDeletedDomain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		first := f.add(acme, "acme.example")
		f.publish(first)
		f.check(acme, "acme.example")
		if err := f.creds.Tenant(acme).DeleteDomain(t.Context(), "acme.example"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Domain(t.Context(), acme, "acme.example"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Domain of a deleted one: got error %v, want ErrNotFound", err)
		}
		sleep(3 * 24 * time.Hour)
		if keys, err := f.Keys(t.Context(), "acme.example"); len(keys) != 1 || err != nil {
			t.Errorf("Keys after three days: got %d, %v, want one", len(keys), err)
		}
		again := f.add(acme, "acme.example")
		if again.State != domains.Unverified || again.Records[0].Value == first.Records[0].Value {
			t.Errorf("added again: got %+v", again)
		}
		f.sends(acme, "acme.example", false)
		sleep(3 * 24 * time.Hour)
		if keys, err := f.Keys(t.Context(), "acme.example"); len(keys) != 0 || err != nil {
			t.Errorf("Keys after six days: got %d, %v, want none", len(keys), err)
		}
	})
}

// A product that knows the owners of its domains lets all of them send, but not as a
// domain that another tenant has proved.
func TestAllowUnverified(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.add(acme, "acme.example")
		second := f.add(rival, "acme.example")
		f.sends(acme, "acme.example", true)
		f.sends(rival, "acme.example", true)
		f.publish(second)
		f.check(rival, "acme.example")
		f.sends(rival, "acme.example", true)
		f.sends(acme, "acme.example", false)
	}, func(f *fixture) { f.AllowUnverified = true })
}

// The product is told of a change by another process if the one that made it ends.
func TestToldAtLeastOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		d := f.add(acme, "acme.example")
		f.publish(d)
		sleep(2 * time.Minute)
		list, err := f.store.DueSetups(t.Context(), time.Now().Add(24*time.Hour), time.Now(), 9)
		if err != nil || len(list) != 1 || list[0].Told != string(domains.Verified) {
			t.Fatalf("got %+v, %v", list, err)
		}
		list[0].Told = string(domains.Unverified) // as it was before OnChange returned
		if err := f.store.SetSetup(t.Context(), list[0]); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute)
		if got := f.changes(); got != "acme verified, acme verified" {
			t.Errorf("told of %q", got)
		}
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
