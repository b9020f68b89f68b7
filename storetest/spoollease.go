package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const leaseWords = "Lease leases deliveries to a node and returns them: those that are due, not held, not leased and have no Deaths, " +
	"unless the request says otherwise."

const hiddenWords = "No other call of Lease, in any process, returns them before they are settled or their node is removed."

const turnWords = "Tenants take turns: if the limit is too small for all that is due, each tenant gets an equal share, " +
	"and what one does not need goes to the others. So do the destinations of one tenant. " +
	"Within a lane the deliveries that are due longest come first. " +
	"The turns go on from call to call, so each lane of a tenant is served once before any is served again."

// otherProcess is how long Lease may leave out what another process has put. Tests of
// wrong spools shorten it.
var otherProcess = 20 * time.Second

var leasePromises = []spoolPromise{
	{
		name:  "Lease/Due",
		words: leaseWords + " Each gets a new token, one more Attempt, and r.Now as Tried.",
		check: func(t *spooler) {
			one := newDeliveries(1)
			one[0].Attempts = 6
			put := t.putAs(newMail("m1"), one, content("m1"))
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
			put[0].Node, put[0].Lease, put[0].Tried, put[0].Attempts = node, got[0].Delivery.Lease, due, 7
			t.same(deliveriesOf(got), put, "Lease")
			t.holds(newMail("m1"), put, content("m1"))
		},
	},
	{
		name:  "Lease/LongestFirst",
		words: turnWords,
		check: func(t *spooler) {
			for i, minutes := range []int{30, 10, 20, 50, 40} {
				d := newDeliveries(1)
				d[0].Next = due.Add(time.Duration(minutes) * time.Minute)
				t.putAs(newMail(fmt.Sprintf("m%d", i)), d, "x")
			}
			now := due.Add(time.Hour)
			for _, want := range [][]string{{"m1", "m2"}, {"m0", "m4"}, {"m3"}, nil} {
				if got := mails(t.lease(now, 2)); !slices.Equal(got, want) {
					t.Errorf("Lease: got %q, want %q", got, want)
				}
			}
		},
	},
	{
		name:  "Lease/Tenants",
		words: turnWords,
		check: func(t *spooler) {
			t.put("m1", 100)
			for i, tenant := range []store.TenantID{rival, "third"} {
				m := newMail(fmt.Sprintf("m%d", i+2))
				m.Tenant = tenant
				t.putAs(m, newDeliveries([]int{100, 2}[i]), "x")
			}
			got := make(map[string]int)
			for _, id := range mails(t.lease(soon, 30)) {
				got[id]++
			}
			if got["m1"] != 14 || got["m2"] != 14 || got["m3"] != 2 {
				t.Errorf("Lease of 30, of which the third tenant needs 2: got %v of each, want 14, 14 and 2", got)
			}
			if got := t.lease(soon, 1000); len(got) != 172 {
				t.Errorf("Lease of the rest: got %d, want 172", len(got))
			}
		},
	},
	{
		name:  "Lease/Destinations",
		words: turnWords,
		check: func(t *spooler) {
			for i, destination := range []string{"one.example", "two.example", ""} {
				d := newDeliveries([]int{100, 100, 2}[i])
				for n := range d {
					d[n].Destination = destination
				}
				t.putAs(newMail(fmt.Sprintf("m%d", i+1)), d, "x")
			}
			got := make(map[string]int)
			for _, id := range mails(t.lease(soon, 30)) {
				got[id]++
			}
			if got["m1"] != 14 || got["m2"] != 14 || got["m3"] != 2 {
				t.Errorf("Lease of 30, of which one destination needs 2: got %v of each, want 14, 14 and 2", got)
			}
		},
	},
	{
		name:  "Lease/ManyLanes",
		words: turnWords,
		check: func(t *spooler) {
			const lanes = 1200
			d := newDeliveries(lanes)
			for n := range d {
				d[n].Destination = fmt.Sprintf("d%04d.example", n)
			}
			t.putAs(newMail("m1"), d, "x")
			small := newMail("m2")
			small.Tenant = rival
			t.putAs(small, newDeliveries(1), "x")
			if got := mails(t.lease(soon, 2)); !slices.Contains(got, "m2") {
				t.Errorf("Lease of 2: got %q, want one of each tenant", got)
			}
			if got := t.lease(soon, 2*lanes); len(got) != lanes-1 {
				t.Errorf("Lease of the rest: got %d, want %d", len(got), lanes-1)
			}
		},
	},
	{
		name:  "Lease/EachLane",
		words: turnWords,
		check: func(t *spooler) {
			const lanes = 60
			d := newDeliveries(3 * lanes)
			for n := range d {
				d[n].Destination = fmt.Sprintf("d%02d.example", n%lanes)
			}
			t.putAs(newMail("m1"), d, "x")
			for turn := range 3 {
				got := make(map[string]bool)
				for range lanes / 2 {
					for _, l := range t.lease(soon, 2) {
						got[l.Delivery.Destination] = true
					}
				}
				if len(got) != lanes {
					t.Errorf("turn %d of %d calls of Lease, of 2 each: got %d of %d destinations", turn+1, lanes/2, len(got), lanes)
				}
			}
		},
	},
	{
		name:  "Lease/EachTenant",
		words: turnWords,
		check: func(t *spooler) {
			const tenants = 20
			for i := range tenants {
				m := newMail(fmt.Sprintf("m%d", i))
				m.Tenant = store.TenantID(m.ID)
				t.putAs(m, newDeliveries(2), "x")
			}
			for turn := range 2 {
				got := make(map[string]bool)
				for range tenants {
					for _, id := range mails(t.lease(soon, 1)) {
						got[id] = true
					}
				}
				if len(got) != tenants {
					t.Errorf("turn %d of %d calls of Lease, of 1 each: got %d of %d tenants", turn+1, tenants, len(got), tenants)
				}
			}
		},
	},
	{
		name: "Lease/OtherProcess",
		words: "If more than 500 lanes have waiting deliveries, a call may leave out some that another process has put, settled or released. " +
			"Later calls return them.",
		check: func(t *spooler) {
			many := newDeliveries(1200)
			for n := range many {
				many[n].Destination, many[n].Next = fmt.Sprintf("d%04d.example", n), soon.Add(time.Hour)
			}
			t.putAs(newMail("m1"), many, "x")
			if got := t.lease(soon, 10); len(got) > 0 {
				t.Fatalf("Lease when nothing is due: got %q", mails(got))
			}
			one := newDeliveries(1)
			one[0].Destination = "e.example"
			m2 := newMail("m2")
			m2.Size = 1
			t.ok(t.second().Put(t.Context(), m2, one, strings.NewReader("x")), "Put")
			began := time.Now()
			for len(t.lease(soon, 10)) == 0 {
				if time.Since(began) > otherProcess {
					t.Fatalf("Lease: does not return what another process has put %v ago", otherProcess)
				}
			}
		},
	},
	{
		name:  "Lease/Resumed",
		words: "Deliveries of a suspended tenant or to a suspended destination are not leased.",
		check: func(t *spooler) {
			t.mixed()
			for _, s := range []store.Suspension{{Destination: "one.example"}, {Tenant: acme}, {Destination: "two.example"}} {
				t.ok(t.Suspend(t.Context(), s), "Suspend(%+v)", s)
				if got := t.lease(soon, 1); len(got) != 1 || got[0].Mail.Tenant == s.Tenant || got[0].Delivery.Destination == s.Destination {
					t.Errorf("Lease of 1 with %+v: got %+v", s, got)
				}
				s.Version = 1
				t.ok(t.Resume(t.Context(), s), "Resume(%+v)", s)
			}
			if got := t.lease(soon, 9); len(got) != 1 {
				t.Errorf("Lease when nothing is suspended: got %q, want the last", mails(got))
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
			first := t.lease(soon, 2)
			for _, want := range []int{1, 0} {
				got, err := t.second().Lease(t.Context(), store.LeaseRequest{Node: "n2", Now: soon.AddDate(9, 0, 0), Limit: 10})
				t.ok(err, "Lease")
				if len(got) != want {
					t.Errorf("Lease by another node: got %+v, want %d", got, want)
				}
			}
			t.settle(later(first[0].Delivery, soon))
			if got := t.lease(soon, 10); len(got) != 1 || got[0].Delivery.Lease == first[0].Delivery.Lease {
				t.Errorf("Lease of what was settled: got %+v, want it with a new token", got)
			}
		},
	},
	{
		name:  "Lease/Skip",
		words: "Skip names lanes that the node wants nothing of for now.",
		check: func(t *spooler) {
			t.put("m1", 2)
			other := newMail("m2")
			other.Tenant = rival
			t.putAs(other, newDeliveries(1), "x")
			skip := []store.Lane{{Destination: "example.net", Tenant: acme}, {Destination: "", Tenant: rival}}
			if got := mails(t.leaseAs(store.LeaseRequest{Node: node, Now: soon, Limit: 10, Skip: skip})); !slices.Equal(got, []string{"m2"}) {
				t.Errorf("Lease that skips a lane: got %q, want m2", got)
			}
			if got := t.lease(soon, 10); len(got) != 2 {
				t.Errorf("Lease that skips nothing: got %d, want 2", len(got))
			}
		},
	},
	{
		name:  "Lease/Suspended",
		words: "Deliveries of a suspended tenant or to a suspended destination are not leased.",
		check: func(t *spooler) {
			t.mixed()
			for _, s := range []store.Suspension{{Destination: "one.example"}, {Tenant: rival}} {
				t.ok(t.Suspend(t.Context(), s), "Suspend(%+v)", s)
			}
			got, err := t.second().Lease(t.Context(), store.LeaseRequest{Node: node, Now: soon, Limit: 100})
			t.ok(err, "Lease")
			if got := mails(got); !slices.Equal(got, []string{"atwo"}) {
				t.Errorf("Lease with a destination and a tenant suspended: got %q, want atwo", got)
			}
			for _, s := range []store.Suspension{{Destination: "one.example", Version: 1}, {Tenant: rival, Version: 1}} {
				t.ok(t.Resume(t.Context(), s), "Resume(%+v)", s)
			}
			if got := t.lease(soon, 100); len(got) != 3 {
				t.Errorf("Lease when nothing is suspended: got %q, want the other three", mails(got))
			}
		},
	},
	{
		name:  "Lease/Probe",
		words: "Probe asks for deliveries to Destination only, and ignores a Suspension of that destination.",
		check: func(t *spooler) {
			t.mixed()
			for _, s := range []store.Suspension{{Destination: "one.example"}, {Tenant: rival}} {
				t.ok(t.Suspend(t.Context(), s), "Suspend(%+v)", s)
			}
			probe := store.LeaseRequest{Node: node, Now: soon, Limit: 10, Probe: true, Destination: "one.example"}
			if got := mails(t.leaseAs(probe)); !slices.Equal(got, []string{"aone"}) {
				t.Errorf("Lease of a probe: got %q, want aone, because the other tenant is suspended", got)
			}
			probe.Destination = ""
			if got := mails(t.leaseAs(probe)); len(got) > 0 {
				t.Errorf("Lease of a probe to a destination without mail: got %q", got)
			}
		},
	},
	{
		name: "Lease/Received",
		words: "Received, if not zero, asks only for deliveries for which the Mail's Received plus Idle is then or before. Such deliveries are leased whatever their Next is. " +
			"Undelayed asks only for deliveries without Delayed.",
		check: func(t *spooler) {
			for i, age := range []time.Duration{0, time.Hour, 2 * time.Hour} {
				m := newMail(fmt.Sprintf("m%d", i))
				m.Received = day.Add(-age)
				two := newDeliveries(2)
				two[0].Next, two[1].Next, two[1].Delayed = soon.AddDate(1, 0, 0), soon.AddDate(1, 0, 0), true
				t.putAs(m, two, "x")
			}
			held := newMail("m3")
			held.Received = day.Add(-2 * time.Hour)
			one := newDeliveries(1)
			one[0].Idle = time.Hour + time.Microsecond
			t.putAs(held, one, "x")
			r := store.LeaseRequest{Node: node, Now: soon, Limit: 10, Received: day.Add(-time.Hour), Undelayed: true}
			got := t.leaseAs(r)
			if ids := mails(got); !slices.Equal(slices.Sorted(slices.Values(ids)), []string{"m1", "m2"}) || got[0].Delivery.Delayed || got[1].Delivery.Delayed {
				t.Errorf("Lease of mail that is an hour old, without Delayed: got %+v", got)
			}
			r.Undelayed, r.Limit = false, 1
			for range 2 {
				if got := t.leaseAs(r); len(got) != 1 || got[0].Mail.ID != "m1" && got[0].Mail.ID != "m2" {
					t.Errorf("Lease of mail that is an hour old: got %+v", got)
				}
			}
			if got := t.leaseAs(r); len(got) > 0 {
				t.Errorf("Lease of mail that is an hour old, when all is leased: got %+v", got)
			}
		},
	},
	{
		name: "Lease/Deaths",
		words: "Deaths, if not 0, asks for deliveries with exactly so many Deaths, and only for those. " +
			"They are leased whatever their Next is, and from suspended destinations and tenants too.",
		check: func(t *spooler) {
			t.put("m1", 4)
			t.take(soon, 4)
			t.free(node)
			t.ok(t.Suspend(t.Context(), store.Suspension{Destination: "example.net"}), "Suspend")
			leased := func(deaths, limit int) int {
				return len(t.leaseAs(store.LeaseRequest{Node: node, Now: due.AddDate(-1, 0, 0), Limit: limit, Deaths: deaths}))
			}
			if a, b := leased(2, 9), leased(1, 3); a != 0 || b != 3 {
				t.Errorf("Lease of 2 deaths and of 1: got %d and %d, want 0 and 3", a, b)
			}
			t.free(node)
			t.put("m2", 1)
			if a, b, c := leased(3, 9), leased(2, 9), leased(1, 9); a != 0 || b != 3 || c != 1 {
				t.Errorf("Lease of 3, 2 and 1 deaths: got %d, %d and %d, want 0, 3 and 1", a, b, c)
			}
		},
	},
}

// mixed puts a mail of each of two tenants to each of two destinations.
func (t *spooler) mixed() {
	t.Helper()
	for _, tenant := range []store.TenantID{acme, rival} {
		for _, destination := range []string{"one", "two"} {
			m := newMail(string(tenant[:1]) + destination)
			m.Tenant = tenant
			d := newDeliveries(1)
			d[0].Destination = destination + ".example"
			t.putAs(m, d, "x")
		}
	}
}
