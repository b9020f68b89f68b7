package history

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A recipient that was only accepted is shown as pending after a minute, and found as
// such.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		l := newLife("m1", 0)
		l.base.Received = time.Now().UTC()
		put(t, h.Store, l.then(store.EventAccepted, 0).events...)
		find := func(states ...store.ActivityState) string {
			list := activities(t, h, store.ActivityFilter{States: states})
			if len(list) == 0 {
				return "none"
			}
			if list[0].State != only(t, h, "m1").State {
				t.Error("Mail and Activities differ")
			}
			return fmt.Sprint(list[0].State)
		}
		accepted, pending := fmt.Sprint(store.ActivityAccepted), fmt.Sprint(store.ActivityPending)
		for _, test := range []struct {
			states       []store.ActivityState
			first, later string
		}{
			{nil, accepted, pending},
			{[]store.ActivityState{store.ActivityAccepted}, accepted, "none"},
			{[]store.ActivityState{store.ActivityPending}, "none", pending},
			{[]store.ActivityState{store.ActivityPending, store.ActivityAccepted}, accepted, pending},
			{[]store.ActivityState{store.ActivityDelivered}, "none", "none"},
		} {
			if got := find(test.states...); got != test.first {
				t.Errorf("%v: %s at first, want %s", test.states, got, test.first)
			}
			time.Sleep(time.Minute)
			if got := find(test.states...); got != test.later {
				t.Errorf("%v: %s after a minute, want %s", test.states, got, test.later)
			}
			time.Sleep(-time.Minute)
			l.base.Received = time.Now().UTC()
			h = &History{Store: new(memory.Store)}
			l.events = nil
			put(t, h.Store, l.then(store.EventAccepted, 0).events...)
		}
	})
}

// A recipient of which nothing is known says why its destination or its tenant is
// suspended, as long as that is so.
func TestWhyItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		h := &History{Store: st, Destination: func(recipient string) string { return strings.SplitAfter(recipient, "@")[1] }}
		other, bare := newLife("m2", 0), newLife("m1", 0)
		bare.base.Received, other.base.Received = time.Now().UTC(), time.Now().UTC().Add(-time.Second)
		other.base.Recipient = "eve@example.net"
		events := append(bare.then(store.EventAccepted, 0).events, other.then(store.EventAccepted, 0).events...)
		events[0].Reason, events[1].Reason = "", ""
		put(t, st, events...)
		until := time.Now().UTC().Add(time.Hour)
		down := store.Suspension{Destination: "example.com", Reason: "no connection", Until: until}
		paused := store.Suspension{Tenant: "acme", By: "root", Reason: "unpaid"}
		says := func(reason string, next time.Time) {
			t.Helper()
			listed := activities(t, h, store.ActivityFilter{})
			got := only(t, h, "m1")
			if got.Reason != reason || !got.NextAttempt.Equal(next) || listed[0].Reason != reason || !listed[0].NextAttempt.Equal(next) {
				t.Errorf("%q, next %v, listed as %q, want %q, %v", got.Reason, got.NextAttempt, listed[0].Reason, reason, next)
			}
			if want := paused.Reason; listed[1].Reason != "" && listed[1].Reason != want {
				t.Errorf("another destination: %q", listed[1].Reason)
			}
		}
		suspend := func(s store.Suspension) {
			if err := st.Suspend(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		suspend(down)
		says("", time.Time{}) // it was only accepted so far
		time.Sleep(time.Minute)
		says("no connection", until)
		suspend(paused)
		says("unpaid", time.Time{})
		paused.Version, down.Version = 1, 1
		if err := errors.Join(st.Resume(t.Context(), paused), st.Resume(t.Context(), down)); err != nil {
			t.Fatal(err)
		}
		says("", time.Time{})
	})
}

// A domain is found in any form, and a recipient also if a person has copied more than the
// address.
func TestForms(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	l := newLife("m1", 0)
	l.base.Domain = "xn--bcher-kva.example"
	put(t, h.Store, l.then(store.EventAccepted, 0).events...)
	put(t, h.Store, newLife("m2", 1).then(store.EventAccepted, 0).events...)
	apply(t, h)
	acme, p := h.Tenant("acme"), Period{From: noon, Until: noon.Add(time.Hour)}
	for _, domain := range []string{"xn--bcher-kva.example", "BÜCHER.example", " bücher.example. ", "Xn--Bcher-KVA.example"} {
		s, err := acme.Statistics(t.Context(), p, domain, "")
		users, err2 := acme.Users(t.Context(), p, domain)
		if err := errors.Join(err, err2); err != nil || s.Total.Accepted != 1 || len(activities(t, h, store.ActivityFilter{Domain: domain})) != 1 || len(users) != 1 {
			t.Errorf("%q: %+v, %+v, %v", domain, s.Total, users, err)
		}
	}
	if list := activities(t, h, store.ActivityFilter{Domain: "not a domain"}); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	for _, recipient := range []string{"bob1@example.com", " Bob1@example.com\n", "<bob1@EXAMPLE.com>", " <bob1@example.com> "} {
		if list := activities(t, h, store.ActivityFilter{Recipient: recipient}); len(list) != 1 || list[0].Mail != "m2" {
			t.Errorf("%q: %+v", recipient, list)
		}
	}
	if list := activities(t, h, store.ActivityFilter{Recipient: "<>"}); len(list) != 0 {
		t.Errorf("<> finds %+v", list)
	}
	if n, err := acme.Erase(t.Context(), "<bob1@example.com>"); n != 1 || err != nil {
		t.Errorf("erased %d, %v, want 1", n, err)
	}
}

// A tenant reads of a suspended smarthost that it has a problem, and not which.
func TestSuspensionOfSmarthost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		h := &History{Store: st}
		l := newLife("m1", 0)
		l.base.Received = time.Now().UTC()
		events := l.then(store.EventAccepted, 0).events
		events[0].Reason = ""
		put(t, st, events...)
		if err := st.Suspend(t.Context(), store.Suspension{Reason: store.InternalReason + ": smarthost: smtp.internal: AUTH"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		activities(t, h, store.ActivityFilter{}) // applies the event
		if got := only(t, h, "m1"); got.Reason != store.InternalReason {
			t.Errorf("got the reason %q, want %q", got.Reason, store.InternalReason)
		}
	})
}

// An operator has the ID of a message, and finds its tenant.
func TestTenantOf(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	l := newLife("m1", 0)
	put(t, h.Store, l.then(store.EventAccepted, 0).events...)
	activities(t, h, store.ActivityFilter{}) // applies them
	if got, err := h.TenantOf(t.Context(), "m1"); err != nil || got != l.base.Tenant {
		t.Errorf("TenantOf: got %q, %v, want %q", got, err, l.base.Tenant)
	}
	if _, err := h.TenantOf(t.Context(), "m2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("TenantOf of no message: got error %v, want ErrNotFound", err)
	}
	if _, err := new(History).TenantOf(t.Context(), "m1"); err == nil {
		t.Error("TenantOf without a Store: no error")
	}
}

// Pages list each activity of the tenant once, newest first, and none of another.
func TestPages(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for i := range 25 {
		l := newLife(fmt.Sprintf("m%02d", i), 0)
		l.base.Received = noon.Add(time.Duration(i) * time.Minute)
		if i%5 == 4 {
			l.base.Tenant = "globex"
		}
		put(t, h.Store, l.then(store.EventAccepted, 0).events...)
	}
	activities(t, h, store.ActivityFilter{})
	seen := 0
	last := noon.Add(time.Hour)
	for f := (store.ActivityFilter{Limit: 7}); ; {
		page, err := h.Tenant("acme").Activities(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.List {
			if seen++; !a.Received.Before(last) || a.Tenant != "acme" {
				t.Errorf("%s of %s comes after %v", a.Mail, a.Tenant, last)
			}
			last = a.Received
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	if seen != 20 {
		t.Errorf("%d activities, want 20", seen)
	}
	if _, err := h.Tenant("acme").Mail(t.Context(), "m04", store.RecipientFilter{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the mail of another tenant: %v", err)
	}
}

// Pages of a mail list each recipient once, as Activities shows it. MailStates counts them.
func TestMailPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		acme := h.Tenant("acme")
		for n := range 250 {
			l := newLife("m1", n)
			l.base.Received = time.Now().UTC()
			if l.then(store.EventAccepted, 0); n%10 == 9 {
				l.then(store.EventDelivered, 1)
			}
			put(t, h.Store, l.events...)
		}
		activities(t, h, store.ActivityFilter{})
		lists := func(want int, states ...store.ActivityState) {
			t.Helper()
			var got []Recipient
			for f := (store.RecipientFilter{States: states, Limit: 40}); ; {
				page, err := acme.Mail(t.Context(), "m1", f)
				if err != nil || len(page.Recipients) > 40 {
					t.Fatal(len(page.Recipients), err)
				}
				got = append(got, page.Recipients...)
				if f.From = page.Next; f.From == 0 {
					break
				}
			}
			if len(got) != want {
				t.Errorf("%v: %d recipients, want %d", states, len(got), want)
			}
			for i := range got {
				if i > 0 && got[i].N <= got[i-1].N || len(got[i].Events) == 0 || len(states) > 0 && got[i].State != states[0] {
					t.Errorf("%v: recipient %d is %+v", states, i, got[i])
				}
			}
		}
		counts := func(want string) {
			t.Helper()
			if got, err := acme.MailStates(t.Context(), "m1"); fmt.Sprint(got) != want || err != nil {
				t.Errorf("%v, %v, want %s", got, err, want)
			}
		}
		lists(250)
		lists(25, store.ActivityDelivered)
		lists(225, store.ActivityAccepted)
		lists(0, store.ActivityPending)
		counts("map[accepted:225 delivered:25]")
		time.Sleep(time.Minute)
		lists(0, store.ActivityAccepted)
		lists(225, store.ActivityPending)
		counts("map[pending:225 delivered:25]")

		page, err := acme.Mail(t.Context(), "m1", store.RecipientFilter{From: 250})
		if err != nil || len(page.Recipients) != 0 || page.Next != 0 {
			t.Errorf("behind the last: %+v, %v", page, err)
		}
		page, err = acme.Mail(t.Context(), "m1", store.RecipientFilter{Limit: math.MaxInt})
		if err != nil || len(page.Recipients) != 250 || page.Next != 0 {
			t.Errorf("%d of %v, next %d, %v", len(page.Recipients), 250, page.Next, err)
		}
		_, err = acme.Mail(t.Context(), "m2", store.RecipientFilter{})
		_, stateErr := h.Tenant("globex").MailStates(t.Context(), "m1")
		if !errors.Is(err, store.ErrNotFound) || !errors.Is(stateErr, store.ErrNotFound) {
			t.Errorf("%v, %v, want not found", err, stateErr)
		}
	})
}

// Without a Store every method says so.
func TestNoStore(t *testing.T) {
	h := new(History)
	_, err := h.Backlog(t.Context())
	errs := append(askAll(t, h.Tenant("acme")), err, h.Bounced(t.Context(), "acme", "m1", "", noSuchUser))
	for i, err := range errs {
		if !errors.Is(err, errNoStore) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// An empty tenant is a mistake of the caller, not one without mail.
func TestNoTenant(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for i, err := range askAll(t, h.Tenant("")) {
		if !errors.Is(err, errNoTenant) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// askAll returns the errors of all methods of a Tenant.
func askAll(t *testing.T, acme Tenant) (errs []error) {
	_, err := acme.Activities(t.Context(), store.ActivityFilter{})
	errs = append(errs, err)
	_, err = acme.Mail(t.Context(), "m1", store.RecipientFilter{})
	errs = append(errs, err)
	_, err = acme.MailStates(t.Context(), "m1")
	errs = append(errs, err)
	_, err = acme.Erase(t.Context(), "bob@example.com")
	errs = append(errs, err)
	_, err = acme.Statistics(t.Context(), Last(1, noon, nil), "", "")
	errs = append(errs, err)
	_, err = acme.Domains(t.Context(), Last(1, noon, nil))
	errs = append(errs, err)
	_, err = acme.Users(t.Context(), Last(1, noon, nil), "")
	return append(errs, err)
}
