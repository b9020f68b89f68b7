package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const listWords = "Deliveries lists the deliveries that match the filter, in the order of their keys."

const depthWords = "Depth returns how much the spool holds."

var spoolListPromises = []spoolPromise{
	{
		name:  "Deliveries/ByKey",
		words: listWords + " page.After is a Delivery's Key.",
		check: func(t *spooler) {
			want := t.fill()
			for _, limit := range []int{1, 3, 4, 100} {
				var got []string
				page := store.Page{Limit: limit}
				for {
					list, err := t.Deliveries(t.Context(), store.Filter{}, page)
					t.ok(err, "Deliveries(%+v)", page)
					if len(list) > limit {
						t.Errorf("Deliveries(%+v): got %d", page, len(list))
					}
					if len(list) == 0 || len(got) > len(want) {
						break
					}
					for _, l := range list {
						got = append(got, l.Delivery.Key())
					}
					page.After = got[len(got)-1]
				}
				if !slices.Equal(got, want) {
					t.Errorf("Deliveries by %d:\n got %q\nwant %q", limit, got, want)
				}
			}
		},
	},
	{
		name:  "Deliveries/AnyID",
		words: "An ID that no mail or node can have matches nothing, whatever its bytes are.",
		check: func(t *spooler) {
			t.fill()
			for _, id := range noIDs {
				for _, f := range []store.Filter{{Mail: id}, {Node: id}} {
					if list, err := t.Deliveries(t.Context(), f, store.Page{}); err != nil || len(list) > 0 {
						t.Errorf("Deliveries(%.40q): got %+v, %v, want none", fmt.Sprint(f), list, err)
					}
				}
			}
		},
	},
	{
		name:  "Deliveries/OfTheTenant",
		words: listWords + " page.After is a Delivery's Key.",
		check: func(t *spooler) {
			t.fill()
			for tenant, want := range map[store.TenantID][]string{
				acme: {"m1.00000", "m2.00000", "m2.00001"}, rival: {"m10.00000", "m10.00001", "m10.00002"}, "nobody": nil, "%": nil,
			} {
				list, err := t.Deliveries(t.Context(), store.Filter{Tenant: tenant}, store.Page{Limit: 3})
				t.ok(err, "Deliveries(%q)", tenant)
				var got []string
				for _, l := range list {
					got = append(got, l.Delivery.Key())
					if l.Mail.Tenant != tenant {
						t.Errorf("Deliveries(%q): got a mail of %q", tenant, l.Mail.Tenant)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("Deliveries(%q): got %q, want %q", tenant, got, want)
				}
			}
			list, err := t.Deliveries(t.Context(), store.Filter{Tenant: acme}, store.Page{After: "m2.00001", Limit: 3})
			t.ok(err, "Deliveries")
			if got := mails(list); !slices.Equal(got, []string{"m2", "m2", "m2"}) {
				t.Errorf("Deliveries of the second page: got %q", got)
			}
		},
	},
	{
		name:  "Deliveries/After",
		words: "page.After is a Delivery's Key.",
		check: func(t *spooler) {
			want := t.fill()
			after := map[string]string{ // what need not be there (any more)
				"m1.00000": "m10.00000", "m10.00000": "m10.00001", "m10.00002x": "m2.00000", "m10.99999": "m2.00000",
				"m11": "m2.00000", "m2": "m2.00000", "a": want[0], "m2.00010": "m2.00011", "m2.0001": "m2.00010", "z": "", "m2.00011": "",
			}
			for after, first := range after {
				list, err := t.Deliveries(t.Context(), store.Filter{}, store.Page{After: after})
				t.ok(err, "Deliveries after %q", after)
				got := ""
				if len(list) > 0 {
					got = list[0].Delivery.Key()
				}
				if got != first {
					t.Errorf("Deliveries after %q: got %q first, want %q", after, got, first)
				}
			}
		},
	},
	{
		name:  "Deliveries/DefaultLimit",
		words: "at most this many entries; zero or less means 100",
		check: func(t *spooler) {
			t.put("m1", defaultLimit+1)
			for _, limit := range []int{0, -1} {
				list, err := t.Deliveries(t.Context(), store.Filter{}, store.Page{Limit: limit})
				t.ok(err, "Deliveries")
				if len(list) != defaultLimit {
					t.Errorf("Deliveries with Limit %d: got %d, want %d", limit, len(list), defaultLimit)
				}
			}
		},
	},
	{
		name:  "Depth/Counts",
		words: depthWords,
		check: func(t *spooler) {
			t.deep(store.Depth{})
			t.put("m1", 3)
			second := newMail("m2")
			second.Received = day.Add(time.Hour)
			four := newDeliveries(4)
			four[3].Held = true
			t.putAs(second, four, "x")
			t.putAs(second, four, "x") // again: nothing new
			t.deep(store.Depth{Deliveries: 7, Held: 1, Oldest: day})
			leased := t.take(soon, 6)
			t.deep(store.Depth{Deliveries: 7, Held: 1, Oldest: day})
			held := later(leased[3], due)
			held.Held = true
			t.settle(done(leased[0]), later(leased[1], due), held)
			t.loses(done(leased[1]), held)
			t.deep(store.Depth{Deliveries: 6, Held: 2, Oldest: day})
			t.settle(done(deliveriesOf(t.all())[0]), done(leased[2]))
			t.deep(store.Depth{Deliveries: 4, Held: 2, Oldest: day.Add(time.Hour)})
			for _, d := range deliveriesOf(t.all()) {
				if d.Held {
					t.settle(later(d, due))
				}
			}
			t.deep(store.Depth{Deliveries: 4, Oldest: day.Add(time.Hour)})
			for _, d := range deliveriesOf(t.all()) {
				t.settle(done(d))
			}
			t.deep(store.Depth{})
		},
	},
	{
		name:  "Times/ToTheMicrosecond",
		words: "All times are UTC whole microseconds. Times come from the caller, except the time that Renew returns.",
		check: func(t *spooler) {
			times := []time.Time{
				{}, time.Unix(0, 0).UTC(), time.UnixMicro(1).UTC(), time.UnixMicro(-1).UTC(), day,
				time.Date(1815, time.December, 10, 0, 0, 0, 999_999_000, time.UTC),
				time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC),
			}
			for i, at := range times {
				m := newMail(fmt.Sprintf("m%d", i))
				m.Received = at
				d := newDeliveries(1)
				d[0].Next, d[0].Tried = at, at
				t.holds(m, t.putAs(m, d, strings.Repeat("x", i)), strings.Repeat("x", i))
			}
			for i, at := range times[4:] {
				got := t.take(at, 1)
				if len(got) != 1 || got[0].Tried != at {
					t.Fatalf("Lease at %v: got %+v", at, got)
				}
				o := later(got[0], times[i])
				t.settle(o)
				for _, d := range deliveriesOf(t.all()) {
					if d.Mail == got[0].Mail && (d.Next != times[i] || d.Tried != at) {
						t.Errorf("after Settle: got %+v, want it due at %v and tried at %v", d, times[i], at)
					}
				}
			}
		},
	},
}

// fill puts two mails of acme and one of rival and returns all keys in order.
func (t *spooler) fill() (keys []string) {
	t.Helper()
	t.put("m2", 12)
	t.put("m1", 1)
	of := newMail("m10") // its keys are between those of the others
	of.Tenant = rival
	t.putAs(of, newDeliveries(3), "x")
	t.lease(soon, 3)
	for _, m := range []struct {
		id string
		n  int
	}{{"m1", 1}, {"m10", 3}, {"m2", 12}} {
		for i := range m.n {
			keys = append(keys, fmt.Sprintf("%s.%05d", m.id, i))
		}
	}
	return keys
}

// defaultLimit is the size of a page whose Limit is zero or less.
var defaultLimit = store.Query{}.Size()
