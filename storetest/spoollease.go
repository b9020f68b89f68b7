package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const leaseWords = "Lease hands out deliveries that are due at now, not held and not leased beyond now: at most limit of them, " +
	"and those first that have waited longest, since they were due or since their lease ended."

const hiddenWords = "They are leased until until, and hidden from every other call of Lease, by whatever process, until then."

var leasePromises = []spoolPromise{
	{
		name:  "Lease/Due",
		words: leaseWords,
		check: func(t *spooler) {
			put := t.put("m1", 1)
			if got := t.lease(due.Add(-time.Microsecond), 10); len(got) > 0 {
				t.Errorf("Lease before it is due: got %+v", got)
			}
			got := t.lease(due, 10)
			if len(got) != 1 || got[0].Mail != newMail("m1") {
				t.Fatalf("Lease: got %+v, want the mail %+v", got, newMail("m1"))
			}
			if got[0].Delivery.Lease == put[0].Lease {
				t.Errorf("Lease: got the token %d, which it had before", put[0].Lease)
			}
			put[0].Lease, put[0].LeasedUntil = got[0].Delivery.Lease, due.Add(time.Hour)
			t.same(deliveriesOf(got), put, "Lease")
			t.holds(newMail("m1"), put, content("m1"))
		},
	},
	{
		name:  "Lease/LongestFirst",
		words: leaseWords,
		check: func(t *spooler) {
			for i, minutes := range []int{30, 10, 20, 50, 40} {
				d := newDeliveries(1)
				d[0].Next = due.Add(time.Duration(minutes) * time.Minute)
				if minutes == 20 { // due for long, but leased until later than all
					d[0].Next, d[0].Lease, d[0].LeasedUntil = due, 1, due.Add(55*time.Minute)
				}
				t.putAs(newMail(fmt.Sprintf("m%d", i)), d, "x")
			}
			now := due.Add(time.Hour)
			for _, want := range [][]string{{"m1", "m0"}, {"m4", "m3"}, {"m2"}, nil} {
				if got := mails(t.lease(now, 2)); !slices.Equal(got, want) {
					t.Errorf("Lease: got %q, want %q", got, want)
				}
			}
		},
	},
	{
		name:  "Lease/Limit",
		words: leaseWords,
		check: func(t *spooler) {
			t.put("m1", 5)
			for _, c := range []struct{ limit, want int }{{0, 0}, {-1, 0}, {2, 2}, {100, 3}, {100, 0}} {
				if got := t.lease(soon, c.limit); len(got) != c.want {
					t.Errorf("Lease of at most %d: got %d, want %d", c.limit, len(got), c.want)
				}
			}
		},
	},
	{
		name:  "Lease/Held",
		words: leaseWords,
		check: func(t *spooler) {
			two := newDeliveries(2)
			two[0].Held = true
			put := t.putAs(newMail("m1"), two, "x")
			got := t.lease(soon.AddDate(100, 0, 0), 10)
			if len(got) != 1 || got[0].Delivery.N != 1 {
				t.Errorf("Lease: got %+v, want only the one that isn't held", got)
			}
			t.same(deliveriesOf(t.all())[:1], put[:1], "Deliveries")
		},
	},
	{
		name:  "Lease/Hides",
		words: hiddenWords,
		check: func(t *spooler) {
			t.put("m1", 3)
			until := soon.Add(time.Hour)
			first := t.lease(soon, 2)
			for _, c := range []struct {
				now  time.Time
				want int
			}{{soon, 1}, {until.Add(-time.Microsecond), 0}} {
				got, err := t.second().Lease(t.Context(), c.now, until, 10)
				t.ok(err, "Lease")
				if len(got) != c.want {
					t.Errorf("Lease at %v, with a lease until %v: got %+v, want %d", c.now, until, got, c.want)
				}
			}
			again := t.lease(until, 10)
			if len(again) != 3 {
				t.Fatalf("Lease when the leases have ended: got %d, want 3", len(again))
			}
			before := make(map[string]int64)
			for _, l := range first {
				before[l.Delivery.Key()] = l.Delivery.Lease
			}
			for _, l := range again {
				if token, ok := before[l.Delivery.Key()]; ok && token == l.Delivery.Lease {
					t.Errorf("Lease again: got the token %d, which it had before", token)
				}
			}
		},
	},
}

const renewWords = "It returns those whose lease the caller no longer holds, in the order given; with them nothing is done."

var renewPromises = []spoolPromise{
	{
		name:  "Renew/Extends",
		words: "Renew extends leases until until; of each Delivery it looks at Mail, N and Lease.",
		check: func(t *spooler) {
			put := t.put("m1", 3)
			var keys []store.Delivery
			for _, l := range t.lease(soon, 2) {
				keys = append(keys, store.Delivery{Mail: l.Delivery.Mail, N: l.Delivery.N, Lease: l.Delivery.Lease})
			}
			until := soon.Add(48 * time.Hour)
			lost, err := t.second().Renew(t.Context(), keys, until)
			t.ok(err, "Renew")
			t.same(lost, nil, "Renew")
			for i := range put[:2] {
				put[i].Lease, put[i].LeasedUntil = keys[i].Lease, until
			}
			t.holds(newMail("m1"), put, content("m1"))
			if got := t.lease(until.Add(-time.Microsecond), 10); len(got) != 1 {
				t.Errorf("Lease before the end: got %d, want the one that wasn't leased", len(got))
			}
			if got := t.lease(until, 10); len(got) != 2 {
				t.Errorf("Lease at the end: got %d, want 2", len(got))
			}
		},
	},
	{
		name:  "Renew/Lost",
		words: renewWords,
		check: func(t *spooler) {
			t.put("m1", 5)
			l := t.take(soon, 4)
			stolen := t.take(l[0].LeasedUntil, 5) // by somebody else, as the time is up
			if len(stolen) != 5 {
				t.Fatalf("Lease when the leases have ended: got %d, want 5", len(stolen))
			}
			t.settle(done(stolen[1]), later(stolen[2], due))
			unknown := []store.Delivery{{Mail: "m2", Lease: 1}, {Mail: "m1", N: 5, Lease: 1}, {Mail: "m1", N: -1, Lease: 1}}
			ask := slices.Concat([]store.Delivery{stolen[0]}, l[:4], unknown, stolen[3:])
			lost, err := t.Renew(t.Context(), ask, soon.Add(99*time.Hour))
			t.ok(err, "Renew")
			t.same(lost, slices.Concat(l[:4], unknown), "Renew")
			for _, d := range deliveriesOf(t.all()) {
				renewed := d.LeasedUntil.Equal(soon.Add(99 * time.Hour))
				if want := d.N != 2; renewed != want {
					t.Errorf("renewed: %t, want %t, of %+v", renewed, want, d)
				}
			}
		},
	},
	{
		name:  "Renew/Held",
		words: leaseWords,
		check: func(t *spooler) {
			two := newDeliveries(2)
			for n := range two {
				two[n].Held, two[n].Lease, two[n].LeasedUntil = n == 0, 1, soon
			}
			put := t.putAs(newMail("m1"), two, "x")
			until := soon.Add(time.Hour)
			lost, err := t.Renew(t.Context(), put, until)
			t.ok(err, "Renew")
			t.same(lost, nil, "Renew")
			if got := t.lease(until.AddDate(100, 0, 0), 10); len(got) != 1 || got[0].Delivery.N != 1 {
				t.Errorf("Lease: got %+v, want only the one that isn't held", got)
			}
			put[0].LeasedUntil = until
			t.same(deliveriesOf(t.all())[:1], put[:1], "Deliveries")
		},
	},
	{
		name:  "Renew/None",
		words: renewWords,
		check: func(t *spooler) {
			lost, err := t.Renew(t.Context(), nil, soon)
			t.ok(err, "Renew of nothing")
			t.same(lost, nil, "Renew of nothing")
		},
	},
}
