package suppress_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	day = 24 * time.Hour

	noSuchUser = "550 5.1.1 no such user"
)

// How many replies, a day apart, suppress an address.
func TestRepliesThatCount(t *testing.T) {
	for _, test := range []struct {
		reply string
		host  string
		want  int // 0: never
	}{
		{noSuchUser, "mx.example.net", 1},
		{"553 5.1.3 bad syntax", "mx.example.net", 1},
		{"550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found", "mx.example.net", 1},
		{"550 5.1.6 mailbox has moved", "mx.example.net", 1},
		{"550 5.1.2 the domain example.net doesn't exist or takes no mail", "", 1},
		{"556 5.1.10 the domain example.net takes no mail (null MX)", "", 1},
		{"550 5.2.1 the user you are trying to contact is receiving mail too quickly", "mx.example.net", 3},
		{"550 5.4.1 Recipient address rejected: Access denied", "mx.example.net", 3},
		{"550 No such user here", "mx.example.net", 3},
		{"551 user unknown", "mx.example.net", 3},
		{"550 5.4.1 no answer from host", "mx.example.net", 0},
		{"550 5.7.1 no such user, says our policy", "mx.example.net", 0},
		{"550 5.7.26 unauthenticated mail", "mx.example.net", 0},
		{"552 5.2.2 mailbox full", "mx.example.net", 0},
		{"554 5.6.0 malformed message", "mx.example.net", 0},
		{"550 message looks like spam", "mx.example.net", 0},
		{"554 no such user", "mx.example.net", 0},
		{"550 5.1.0 address rejected", "mx.example.net", 0},
		{"450 4.1.1 no such user", "mx.example.net", 0},
		{"550 5.1.1 made by this relay", "", 0},
		{"0", "mx.example.net", 0},
	} {
		t.Run(test.reply, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newList(t)
				for n := 1; n <= 4; n++ {
					l.learn(l.event(store.EventHardBounced, "bob@example.net", test.host, test.reply))
					if test.want > 0 && n >= test.want {
						l.refused("bob@example.net")
					} else {
						l.allowed("bob@example.net")
					}
					time.Sleep(day)
				}
			})
		})
	}
}

func TestOtherEventsTeachNothing(t *testing.T) {
	l := newList(t)
	for kind := store.EventAccepted; kind < 20; kind++ {
		if kind != store.EventHardBounced && kind != store.EventLateHardBounced {
			l.learn(l.event(kind, "bob@example.net", "mx.example.net", noSuchUser))
		}
	}
	for _, to := range []string{"", "bob", "bob@", "@example.net", "bob@exa mple.net", "b\xffb@example.net"} {
		l.learn(l.bounced(to, noSuchUser))
	}
	all, err := l.Store.ListSuppressions(t.Context(), "acme", store.SuppressionFilter{}, store.Page{})
	if err != nil || len(all) > 0 {
		t.Errorf("the Store has %+v, %v, want nothing", all, err)
	}
}

// Strikes are a day apart, whatever comes in between.
func TestStrikesAreADayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		strike := func() { l.learn(l.bounced("bob@example.net", "550 5.2.1 disabled")) }
		for range 50 {
			strike()
			time.Sleep(time.Hour)
		} // the hours 0, 24 and 48 count
		l.refused("bob@example.net")

		l = newList(t)
		for range 48 {
			strike()
			time.Sleep(time.Hour)
		}
		l.allowed("bob@example.net")
		l.learn(l.bounced("bob@example.net", noSuchUser)) // needs no strikes
		l.refused("bob@example.net")
	})
}

func TestStrikesExpireAndDeliveriesEndThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		for range 5 {
			l.learn(l.bounced("bob@example.net", "550 5.2.1 disabled"))
			time.Sleep(31 * day)
		}
		l.allowed("bob@example.net")
		for range 5 {
			l.learn(l.bounced("bob@example.net", "550 5.2.1 disabled"), l.bounced("bob@example.net", "550 5.2.1 disabled"))
			time.Sleep(2 * day)
			l.learn(l.bounced("bob@example.net", "550 5.2.1 disabled"))
			time.Sleep(2 * day)
			l.learn(l.delivered("bob@example.net"))
		}
		l.allowed("bob@example.net")
	})
}

// A past is what was delivered: a page for each activity, and a page of none before.
type past map[string]store.Activity

func (h past) Activities(_ context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
	a, ok := h[f.Recipient]
	switch {
	case f.Recipient == "fails@example.net":
		return store.ActivityPage{}, errors.New("no history today")
	case f.After == "":
		return store.ActivityPage{Next: "1"}, nil
	case !ok || tenant != "acme" || a.Received.Before(f.From) || len(f.States) != 1 || f.States[0] != store.ActivityDelivered:
		return store.ActivityPage{}, nil
	}
	return store.ActivityPage{List: []store.Activity{a}}, nil
}

// ActivitiesByKey returns the only recipient of a mail.
func (h past) ActivitiesByKey(_ context.Context, keys []store.ActivityKey) ([]store.Activity, error) {
	return []store.Activity{{Tenant: keys[0].Tenant, Mail: keys[0].Mail}}, nil
}

func TestDeliveredLatelyNeedsTwoRefusalsADayApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		h := make(past)
		l.History = h
		at := func(ago time.Duration) store.Activity {
			return store.Activity{Mail: "earlier", Received: time.Now().Add(-ago), Updated: time.Now().Add(-ago)}
		}
		h["lately@example.net"], h["long@example.net"] = at(29*day), at(31*day)
		all := []string{"lately@example.net", "long@example.net", "never@example.net"}
		bounce := func() {
			for _, to := range all {
				l.learn(l.bounced(to, noSuchUser))
			}
		}
		bounce()
		l.allowed(all[0])
		l.refused(all[1:]...)
		time.Sleep(23 * time.Hour)
		bounce()
		l.allowed(all[0])
		time.Sleep(time.Hour)
		bounce()
		l.refused(all...)

		if err := l.Learn(t.Context(), []store.Event{l.bounced("fails@example.net", noSuchUser)}); err == nil {
			t.Error("Learn returned no error although the History fails")
		}
		// A delivery that the History does not have yet.
		l.learn(l.delivered("soon@example.net"))
		took := l.delivered("soon@example.net")
		time.Sleep(time.Second)
		l.learn(took, l.bounced("soon@example.net", noSuchUser))
		l.allowed("soon@example.net")
	})
}

// A report about a message is not contradicted by the delivery of that message, or of
// another one to the server that reported.
func TestLateBounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		h := make(past)
		l.History = h
		late := func(to, reply string) store.Event {
			return l.event(store.EventLateHardBounced, to, "", reply)
		}
		e := late("bob@example.net", "0 5.1.1 unknown")
		e.Reply.Code = 0 // the report had no diagnostic code
		h["bob@example.net"] = store.Activity{Mail: e.Mail, Received: time.Now().Add(-time.Hour), Updated: time.Now().Add(-time.Hour)}
		l.learn(e)
		l.refused("bob@example.net")
		su, err := l.Get(t.Context(), "acme", "bob@example.net")
		if err != nil || su.Source != store.SuppressedByReport {
			t.Errorf("Get: got %+v, %v, want one by report", su, err)
		}
		time.Sleep(time.Hour)
		l.learn(l.delivered("bob@example.net"))
		l.refused("bob@example.net")

		took, report := l.delivered("carol@example.net"), late("carol@example.net", noSuchUser)
		time.Sleep(time.Second)
		report.Mail, report.Time = took.Mail, time.Now().UTC()
		l.learn(took, report)
		l.refused("carol@example.net")

		l.learn(late("eve@example.net", "550 5.7.1 blocked"), late("eve@example.net", "550 5.2.2 full"))
		l.allowed("eve@example.net")
	})
}

func TestLearnedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		l.learn(l.bounced("bob@example.net", noSuchUser))
		time.Sleep(30*day - time.Second)
		l.refused("bob@example.net")
		time.Sleep(time.Second)
		l.allowed("bob@example.net")
		if _, err := l.Get(t.Context(), "acme", "bob@example.net"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get of what has expired: got error %v, want ErrNotFound", err)
		}
		l.learn(l.bounced("bob@example.net", noSuchUser)) // and again
		l.refused("bob@example.net")
		time.Sleep(31 * day)
		l.learn()
		if _, err := l.Store.Suppression(t.Context(), "acme", "bob@example.net"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the Store keeps what has expired: got error %v, want ErrNotFound", err)
		}

		l = newList(t)
		l.Keep = time.Hour
		l.learn(l.bounced("bob@example.net", noSuchUser))
		l.refused("bob@example.net")
		time.Sleep(time.Hour)
		l.allowed("bob@example.net")
	})
}

func TestDeliveryRemovesWhatWasLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		early := l.delivered("bob@example.net")
		time.Sleep(time.Second)
		refusal := l.bounced("bob@example.net", noSuchUser)
		l.learn(refusal)
		l.learn(early)
		l.refused("bob@example.net")
		time.Sleep(time.Second)
		l.learn(l.delivered("BOB@example.net"))
		l.allowed("bob@example.net")
		l.learn(refusal) // it comes again
		l.allowed("bob@example.net")
	})
}

func TestEventsComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		first := l.bounced("bob@example.net", "550 5.2.1 disabled")
		other := l.bounced("eve@example.net", noSuchUser)
		for range 5 {
			l.learn(first, other, first)
			time.Sleep(2 * day)
		}
		l.allowed("bob@example.net")
		before, err := l.Get(t.Context(), "acme", "eve@example.net")
		if err != nil {
			t.Fatal(err)
		}
		l.learn(other)
		if after, err := l.Get(t.Context(), "acme", "eve@example.net"); err != nil || after != before {
			t.Errorf("after the event came again: got %+v, %v, want %+v", after, err, before)
		}
		// After a person has removed the address too.
		if err := l.Remove(t.Context(), "acme", "eve@example.net"); err != nil {
			t.Fatal(err)
		}
		l.learn(other)
		l.allowed("eve@example.net")
		time.Sleep(time.Second)
		l.learn(l.bounced("eve@example.net", noSuchUser))
		l.refused("eve@example.net")
	})
}

// An entry by a person or a complaint stays as it is.
func TestLearnLeavesWhatPeopleAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		for i, source := range []store.SuppressionSource{store.SuppressedByPerson, store.SuppressedByComplaint} {
			to := fmt.Sprintf("u%d@example.net", i)
			l.learn(l.bounced(to, noSuchUser))
			if err := l.Add(t.Context(), "acme", to, source, "asked us to"); err != nil {
				t.Fatal(err)
			}
			before, err := l.Get(t.Context(), "acme", to)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(400 * day)
			l.learn(l.bounced(to, noSuchUser), l.delivered(to))
			if after, err := l.Get(t.Context(), "acme", to); err != nil || after != before {
				t.Errorf("got %+v, %v, want %+v", after, err, before)
			}
			l.refused(to)
		}
	})
}
