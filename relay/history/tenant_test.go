package history

import (
	"errors"
	"fmt"
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
	if _, err := h.Tenant("acme").Mail(t.Context(), "m04"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the mail of another tenant: %v", err)
	}
}

// Without a Store every method says so.
func TestNoStore(t *testing.T) {
	h := new(History)
	acme := h.Tenant("acme")
	var errs []error
	_, err := h.Backlog(t.Context())
	errs = append(errs, err)
	_, err = acme.Activities(t.Context(), store.ActivityFilter{})
	errs = append(errs, err)
	_, err = acme.Mail(t.Context(), "m1")
	errs = append(errs, err)
	_, err = acme.Erase(t.Context(), "bob@example.com")
	errs = append(errs, err)
	_, err = acme.Statistics(t.Context(), Last(1, noon, nil), "", "")
	errs = append(errs, err, h.Bounced(t.Context(), "acme", "m1", "", noSuchUser))
	for i, err := range errs {
		if !errors.Is(err, errNoStore) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
