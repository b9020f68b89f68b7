package domains_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
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
		if d := f.domain(acme, "acme.example"); !d.Until.Equal(d.Since.Add(72 * time.Hour)) {
			t.Errorf("got Until %v, want Grace after %v", d.Until, d.Since)
		}
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
		if keys, err := f.Keys(t.Context(), new(relay.Message), "acme.example"); len(keys) != 1 || err != nil {
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
		if keys, err := f.Keys(t.Context(), new(relay.Message), "acme.example"); len(keys) != 1 || err != nil {
			t.Errorf("Keys after three days: got %d, %v, want one", len(keys), err)
		}
		again := f.add(acme, "acme.example")
		if again.State != domains.Unverified || again.Records[0].Value == first.Records[0].Value {
			t.Errorf("added again: got %+v", again)
		}
		f.sends(acme, "acme.example", false)
		sleep(3 * 24 * time.Hour)
		if keys, err := f.Keys(t.Context(), new(relay.Message), "acme.example"); len(keys) != 0 || err != nil {
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
		if err := f.creds.Tenant(rival).DeleteDomain(t.Context(), "acme.example"); err != nil {
			t.Fatal(err)
		}
		sleep(10 * time.Second)
		f.sends(acme, "acme.example", true) // another tenant has had it, and deleted it
		f.add(rival, "acme.example")
		f.sends(acme, "acme.example", true)
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
