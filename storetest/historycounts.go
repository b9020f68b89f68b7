package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	sumWords    = "Counts sums up the counts of a tenant that match the filter, in the order of hours, domains and usernames."
	expireWords = "Expire removes activities that were received before a time, which it rounds down to a full day in UTC, and counts of hours before another time."
)

var countPromises = []historyPromise{
	{
		name:  "Counts/Add",
		words: "A count is added to the one of its tenant, hour, domain and username.",
		check: func(t *historian) {
			c := newCount(0)
			t.apply(store.Changes{Counts: []store.Count{c, newCount(1)}})
			less := store.Count{Tenant: c.Tenant, Hour: c.Hour, Domain: c.Domain, Username: c.Username, Accepted: -3, SoftBounced: 1}
			t.apply(store.Changes{Counts: []store.Count{less}})
			c.Accepted, c.SoftBounced = -2, 5
			by := store.CountFilter{By: store.ByUser}
			want := []store.Count{c, newCount(1)}
			want[0].Hour, want[1].Hour = time.Time{}, time.Time{}
			if got := t.sums(acme, by); !slices.Equal(got, want) {
				t.Errorf("Counts:\n got %+v\nwant %+v", got, want)
			}
		},
	},
	{
		name: "Counts/Groups",
		words: sumWords + " Of Hour, Domain and Username a sum has what f.By says, and its other two are zero; with ByUser it has the Domain too. " +
			"If no count matches there is no sum.",
		check: func(t *historian) {
			hours := t.fillCounts()
			t.sumsAre("", store.CountFilter{}, "- - - 31")
			t.sumsAre("hours", store.CountFilter{By: store.ByHour}, "0 - - 3", "1 - - 28")
			t.sumsAre("domains", store.CountFilter{By: store.ByDomain}, "- a.example - 21", "- b.example - 10")
			t.sumsAre("users", store.CountFilter{By: store.ByUser}, "- a.example u1 5", "- a.example u2 16", "- b.example u1 10")
			t.sumsAre("an hour on", store.CountFilter{From: hours[1], By: store.ByDomain}, "- a.example - 20", "- b.example - 8")
			t.sumsAre("until an hour", store.CountFilter{Until: hours[1], By: store.ByUser}, "- a.example u1 1", "- b.example u1 2")
			t.sumsAre("no hour", store.CountFilter{From: hours[1], Until: hours[1]})
			t.sumsAre("one hour", store.CountFilter{From: hours[0], Until: hours[1]}, "- - - 3")
			t.sumsAre("a domain", store.CountFilter{Domain: "a.example", By: store.ByHour}, "0 - - 1", "1 - - 20")
			t.sumsAre("a user", store.CountFilter{Username: "u1", By: store.ByDomain}, "- a.example - 5", "- b.example - 10")
			t.sumsAre("a user of a domain", store.CountFilter{Domain: "b.example", Username: "u1"}, "- - - 10")
			if got := t.sums("other", store.CountFilter{}); len(got) > 0 {
				t.Errorf("Counts of an unknown tenant: got %+v", got)
			}
			if got := t.sums(rival, store.CountFilter{}); len(got) != 1 || got[0].Accepted != 64 {
				t.Errorf("Counts of the other tenant: got %+v", got)
			}
		},
	},
	{
		name:  "Expire/Activities",
		words: expireWords,
		check: func(t *historian) {
			for i := range 5 {
				a := newActivity(fmt.Sprint("m", 4-i), 0)
				a.Received = day.AddDate(0, 0, 4-i)
				t.applies(a)
			}
			t.expires(0, day.Add(time.Hour).Truncate(24*time.Hour), time.Time{}, 100)
			t.expires(2, day.AddDate(0, 0, 2).Add(time.Hour/2), time.Time{}, 100) // in the middle of a day
			if got := t.list(acme, store.ActivityFilter{}); !slices.Equal(got, []string{"m4", "m3", "m2"}) {
				t.Errorf("Activities after Expire: got %q", got)
			}
			t.is(acme, "m1")
			t.expires(0, day.AddDate(0, 0, 2).Add(time.Hour/2), time.Time{}, 100)
			t.expires(3, day.AddDate(1, 0, 0), time.Time{}, 100)
		},
	},
	{
		name:  "Expire/Counts",
		words: expireWords,
		check: func(t *historian) {
			hours := t.fillCounts()
			t.expires(0, time.Time{}, hours[0], 100)
			t.expires(3, time.Time{}, hours[1], 100)
			t.sumsAre("hours", store.CountFilter{By: store.ByHour}, "1 - - 28")
		},
	},
	{
		name:  "Expire/Limit",
		words: "It removes at most limit of each, and returns how many in all. Records stay.",
		check: func(t *historian) {
			t.newest(10)
			hours := t.fillCounts()
			t.record(newEvent(store.EventRefused, "", 0))
			late := day.AddDate(1, 0, 0)
			t.expires(0, late, late, 0)
			t.expires(6, late, hours[1], 3)
			t.expires(6, late, late, 3)
			t.expires(4, late, late, 100)
			if got := len(t.waiting()); got != 1 {
				t.Errorf("Records after Expire: got %d events, want 1", got)
			}
		},
	},
}

// fillCounts applies counts of two hours, and returns the hours.
func (t *historian) fillCounts() (hours []time.Time) {
	t.Helper()
	hours = []time.Time{day.Truncate(time.Hour), day.Truncate(time.Hour).Add(time.Hour)}
	t.apply(store.Changes{Counts: []store.Count{
		{Tenant: acme, Hour: hours[0], Domain: "a.example", Username: "u1", Accepted: 1},
		{Tenant: acme, Hour: hours[0], Domain: "b.example", Username: "u1", Accepted: 2},
		{Tenant: acme, Hour: hours[1], Domain: "a.example", Username: "u1", Accepted: 4},
		{Tenant: acme, Hour: hours[1], Domain: "b.example", Username: "u1", Accepted: 8},
		{Tenant: acme, Hour: hours[1], Domain: "a.example", Username: "u2", Accepted: 16},
		{Tenant: rival, Hour: hours[0], Domain: "a.example", Username: "u1", Accepted: 64},
	}})
	return hours
}

// sumsAre checks the sums of acme. Each is the number of the hour, the domain, the
// username and Accepted.
func (t *historian) sumsAre(what string, f store.CountFilter, want ...string) {
	t.Helper()
	var got []string
	for _, c := range t.sums(acme, f) {
		if c.Tenant != acme {
			t.Errorf("Counts of %s: got one of the tenant %q", what, c.Tenant)
		}
		hour := "-"
		if !c.Hour.IsZero() {
			hour = fmt.Sprint(int(c.Hour.Sub(day.Truncate(time.Hour)).Hours()))
		}
		got = append(got, fmt.Sprintln(hour, dash(c.Domain), dash(c.Username), c.Accepted))
		got[len(got)-1] = strings.TrimSpace(got[len(got)-1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("Counts of %s:\n got %q\nwant %q", what, got, want)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// expires calls Expire.
func (t *historian) expires(want int, activities, counts time.Time, limit int) {
	t.Helper()
	got, err := t.Expire(t.Context(), activities, counts, limit)
	t.ok(err, "Expire")
	if got != want {
		t.Errorf("Expire(%v, %v, %d): got %d removed, want %d", activities, counts, limit, got, want)
	}
}
