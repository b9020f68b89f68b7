package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// filters has, for each field of a Filter, filters and the mails of laden that
// they match.
var filters = map[string][]struct {
	filter store.Filter
	want   []string
}{
	"Mail":        {{store.Filter{Mail: "m2"}, []string{"m2", "m2"}}, {store.Filter{Mail: "m"}, nil}},
	"Tenant":      {{store.Filter{Tenant: rival}, []string{"m3"}}, {store.Filter{Tenant: "Acme"}, nil}},
	"Domain":      {{store.Filter{Domain: rivalDomain}, []string{"m3"}}},
	"Username":    {{store.Filter{Username: "u3"}, []string{"m3"}}},
	"From":        {{store.Filter{From: "billing@" + acmeDomain}, []string{"m2", "m2"}}},
	"Recipient":   {{store.Filter{Recipient: "to1@example.net"}, []string{"m2"}}},
	"Destination": {{store.Filter{Destination: "two.example"}, []string{"m3"}}, {store.Filter{Destination: "example"}, nil}},
	"ToDestination": {
		{store.Filter{ToDestination: true}, []string{"m4"}},
		{store.Filter{ToDestination: true, Destination: "two.example"}, []string{"m3"}},
	},
	"Since": {
		{store.Filter{Since: day.Add(time.Hour)}, []string{"m3"}},
		{store.Filter{Since: day.Add(time.Hour + time.Microsecond)}, nil},
		{store.Filter{Since: day, Until: day.Add(time.Microsecond)}, []string{"m1", "m2", "m2", "m4"}},
	},
	"Until": {
		{store.Filter{Until: day.Add(time.Hour)}, []string{"m1", "m2", "m2", "m4"}},
		{store.Filter{Until: day.Add(time.Hour + time.Microsecond), Username: "u3"}, []string{"m3"}},
		{store.Filter{Until: day}, nil},
	},
	"State": {
		{store.Filter{State: store.StateHeld}, []string{"m2"}},
		{store.Filter{State: store.StateLeased}, []string{"m1"}},
		{store.Filter{State: store.StateWaiting}, []string{"m2", "m3", "m4"}},
	},
	"Node":   {{store.Filter{Node: node}, []string{"m1"}}, {store.Filter{Node: "n"}, nil}},
	"Reason": {{store.Filter{Reason: "GREYLISTED \xff"}, []string{"m3"}}, {store.Filter{Reason: "gr%"}, nil}},
	"all of them": {
		{store.Filter{}, []string{"m1", "m2", "m2", "m3", "m4"}},
		{store.Filter{Tenant: acme, State: store.StateWaiting, Recipient: "to0@example.net"}, []string{"m4"}},
		{store.Filter{Mail: "m3", Tenant: acme}, nil},
	},
}

var filterPromises = []spoolPromise{
	{
		name: "Deliveries/Filters",
		words: listWords + " page.Search is not used. A delivery matches if it matches every field that is not zero; the zero Filter matches all deliveries. " +
			"Texts are compared byte by byte, except where a field says otherwise.",
		check: func(t *spooler) {
			t.laden()
			for field := range reflect.TypeFor[store.Filter]().Fields() {
				if filters[field.Name] == nil {
					t.Errorf("the suite has no case for the field %s of a Filter", field.Name)
				}
			}
			for field, cases := range filters {
				for _, c := range cases {
					for _, limit := range []int{1, 100} {
						var got []string
						page := store.Page{Limit: limit, Search: "no such text"}
						for {
							list, err := t.Deliveries(t.Context(), c.filter, page)
							t.ok(err, "Deliveries(%+v)", c.filter)
							if got = append(got, mails(list)...); len(list) < limit {
								break
							}
							page.After = list[len(list)-1].Delivery.Key()
						}
						if !slices.Equal(got, c.want) {
							t.Errorf("%s: Deliveries(%+v) by %d: got %q, want %q", field, c.filter, limit, got, c.want)
						}
					}
				}
			}
		},
	},
	{
		name:  "Deliveries/FewOfMany",
		words: listWords,
		check: func(t *spooler) {
			many := newDeliveries(2500)
			for _, n := range []int{7, 1234, 2400} {
				many[n].Reason = "451 not now"
			}
			t.putAs(newMail("m1"), many, "x")
			list, err := t.Deliveries(t.Context(), store.Filter{Reason: "not now"}, store.Page{Limit: 2})
			t.ok(err, "Deliveries")
			if len(list) != 2 || list[1].Delivery.N != 1234 {
				t.Fatalf("Deliveries: got %d, want the two that match", len(list))
			}
			list, err = t.Deliveries(t.Context(), store.Filter{Reason: "not now"}, store.Page{Limit: 2, After: list[1].Delivery.Key()})
			t.ok(err, "Deliveries")
			if len(list) != 1 || list[0].Delivery.N != 2400 {
				t.Errorf("Deliveries of the second page: got %d, want the last one", len(list))
			}
		},
	},
	{
		name:  "Backlogs/ByLane",
		words: "Backlogs returns how much the spool holds of each lane, in the order of destinations and then tenants.",
		check: func(t *spooler) {
			t.laden()
			got, err := t.Backlogs(t.Context())
			t.ok(err, "Backlogs")
			want := []store.Backlog{
				{Lane: store.Lane{Tenant: acme}, Deliveries: 1, Oldest: day},
				{Lane: store.Lane{Destination: "example.net", Tenant: acme}, Deliveries: 3, Leased: 1, Held: 1, Oldest: day},
				{Lane: store.Lane{Destination: "two.example", Tenant: rival}, Deliveries: 1, Oldest: day.Add(time.Hour)},
			}
			if !slices.Equal(got, want) {
				t.Errorf("Backlogs:\n got %+v\nwant %+v", got, want)
			}
		},
	},
	{
		name: "Backlogs/Oldest",
		words: "Oldest is the Received of the mail with the least ID: IDs of relay.NewID sort by time. " +
			"The Oldest of each is that of its mail with the least ID.",
		check: func(t *spooler) {
			for i := range 3 { // the mail with the least ID is the last that was received
				m := newMail(fmt.Sprintf("m%d", i))
				m.Received = day.Add(-time.Duration(i) * time.Hour)
				d := newDeliveries(1)
				d[0].Held = i == 1
				if i == 2 {
					d[0].Node = node
				}
				t.putAs(m, d, "x")
			}
			t.deep(store.Depth{Deliveries: 3, Held: 1, Oldest: day})
			got, err := t.Backlogs(t.Context())
			t.ok(err, "Backlogs")
			want := []store.Backlog{{Lane: store.Lane{Destination: "example.net", Tenant: acme}, Deliveries: 3, Leased: 1, Held: 1, Oldest: day}}
			if !slices.Equal(got, want) {
				t.Errorf("Backlogs:\n got %+v\nwant %+v", got, want)
			}
		},
	},
}

// laden puts four mails that differ in what a filter can ask for.
func (t *spooler) laden() {
	t.Helper()
	one := newDeliveries(1)
	one[0].Node, one[0].Recipient = node, "first@example.net"
	t.putAs(newMail("m1"), one, "x")

	billing := newMail("m2")
	billing.From = "billing@" + acmeDomain
	two := newDeliveries(2)
	two[0].Held, two[0].Recipient = true, "bob@example.net"
	t.putAs(billing, two, "x")

	theirs := newMail("m3")
	theirs.Tenant, theirs.Domain, theirs.Username, theirs.Received = rival, rivalDomain, "u3", day.Add(time.Hour)
	one = newDeliveries(1)
	one[0].Destination, one[0].Reason, one[0].Recipient = "two.example", "451 Greylisted \xff, try later", "bob@two.example"
	t.putAs(theirs, one, "x")

	one = newDeliveries(1)
	one[0].Destination = ""
	t.putAs(newMail("m4"), one, "x")
}
