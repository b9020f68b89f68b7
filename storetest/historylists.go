package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	activitiesWords = "Activities lists activities of a tenant, newest first: by Received, and those of the same time in an order that stays the same."
	filterWords     = "An activity matches if it matches every field that is not zero."
	recipientsWords = "Recipients returns the activities of one mail that match the filter, by N, with their Trail."
	pageWords       = "If Next is not empty there may be more, even if List is empty: a call looks at a bounded number of activities."
)

// newest applies n activities, each received a second after the one before, and
// returns their mails, newest first.
func (t *historian) newest(n int) (mails []string) {
	t.Helper()
	var c store.Changes
	for i := range n {
		a := newActivity(fmt.Sprintf("m%d", i), 0)
		a.Received = day.Add(time.Duration(i) * time.Second)
		c.Activities = append(c.Activities, store.ActivityChange{Activity: a})
		mails = append(mails, a.Mail)
	}
	slices.Reverse(c.Activities[:n/2])
	t.apply(c)
	slices.Reverse(mails)
	return mails
}

var activityPromises = []historyPromise{
	{
		name:  "Activities/AsGiven",
		words: changeWords + " An ActivityPage is a page of activities, newest first, without their Trail.",
		check: func(t *historian) {
			bare := store.Activity{Tenant: acme, Mail: "m0"}
			var want []store.Activity
			for i, text := range []string{"", " ", "Grüße, 🦄", "caf\xe9 \xff\xfe", "nul \x00 byte", "it's \\ \"quoted\"", strings.Repeat("\xff", 255)} {
				want = append(want, store.Activity{
					Tenant: acme, Mail: fmt.Sprint("m", i+1), N: i, Domain: text, Username: text, From: text, Author: text, Recipient: text,
					Subject: text, MessageID: text, Received: time.UnixMicro(int64(-i) - 1).UTC(), Size: int64(i) - 1, State: store.ActivityState(1 + i),
					Order: int64(i) << 58, Updated: time.UnixMicro(int64(i) - 3).UTC(), Attempt: i, NextAttempt: time.UnixMicro(int64(i) + 1).UTC(),
					Reply: store.Reply{Code: 550 + i, Enhanced: text, Text: text, Host: text}, Field: text, Reason: text, Times: i, Trail: text,
				})
			}
			long := want[len(want)-1]
			long.Mail, long.Received = strings.Repeat("m", 64), time.UnixMicro(-100).UTC()
			long.From, long.Recipient, long.MessageID = strings.Repeat("x", 1024), strings.Repeat("\xfe", 1024), strings.Repeat("é", 512)
			long.Reason, long.Reply.Text, long.Trail = strings.Repeat("r", 16_384), strings.Repeat("t", 1024), strings.Repeat("\x00", 1<<20)
			want = append(want, long, bare)
			t.applies(want...)
			for _, a := range want {
				t.is(acme, a.Mail, a)
				if got := t.list(acme, store.ActivityFilter{Recipient: a.Recipient, Until: a.Received.Add(1000), From: a.Received}); !slices.Equal(got, []string{a.Mail}) {
					t.Errorf("Activities of the recipient %.40q: got %q, want %q", a.Recipient, got, a.Mail)
				}
			}
			page, err := t.Activities(t.Context(), acme, store.ActivityFilter{})
			t.ok(err, "Activities")
			for i := range want {
				want[i].Trail = ""
			}
			if !slices.Equal(page.List, want) {
				t.Errorf("Activities:\n got %+.900v\nwant %+.900v", page.List, want)
			}
		},
	},
	{
		name:  "Activities/NewestFirst",
		words: activitiesWords,
		check: func(t *historian) {
			want := t.newest(60)
			if got := t.list(acme, store.ActivityFilter{}); !slices.Equal(got, want) {
				t.Errorf("Activities:\n got %q\nwant %q", got, want)
			}
			if got := t.list(acme, store.ActivityFilter{Recipient: "to0@example.net"}); !slices.Equal(got, want) {
				t.Errorf("Activities of a recipient:\n got %q\nwant %q", got, want)
			}
		},
	},
	{
		name:  "Activities/Tenant",
		words: activitiesWords,
		check: func(t *historian) {
			for i, tenant := range []store.TenantID{"acme", "Acme", "acme ", "acmé", "acme%"} {
				a := newActivity("m1", 0)
				a.Tenant, a.N = tenant, i
				t.applies(a)
				t.is(tenant, "m1", a)
				page, err := t.Activities(t.Context(), tenant, store.ActivityFilter{})
				t.ok(err, "Activities(%q)", tenant)
				if len(page.List) != 1 || page.List[0].Tenant != tenant {
					t.Errorf("Activities(%q): got %+v, want the one of that tenant", tenant, page.List)
				}
			}
			if got := t.list("other", store.ActivityFilter{}); len(got) > 0 {
				t.Errorf("Activities of an unknown tenant: got %q", got)
			}
			t.is("other", "m1")
		},
	},
	{
		name:  "Activities/Filters",
		words: filterWords + " The letters A to Z match in either case",
		check: func(t *historian) {
			change := []func(*store.Activity){
				func(a *store.Activity) { a.Domain = rivalDomain },
				func(a *store.Activity) { a.Username = "u2" },
				func(a *store.Activity) { a.Recipient = "Zoë@Example.org" },
				func(a *store.Activity) { a.From = "Needle@acme.example" },
				func(a *store.Activity) { a.Subject = "a 100% NEEDLE" },
				func(a *store.Activity) { a.State = store.ActivityHardBounced },
				func(a *store.Activity) { a.State = store.ActivitySoftBounced },
				func(a *store.Activity) { a.Reason, a.Trail, a.Author = "needle", "needle", "needle" },
			}
			for i, f := range change {
				a := newActivity(fmt.Sprint("m", i), i)
				a.Received = day.Add(time.Duration(i) * 24 * time.Hour)
				f(&a)
				t.applies(a)
			}
			for want, f := range map[string]store.ActivityFilter{
				"m0":    {Domain: rivalDomain},
				"m1":    {Username: "u2", Domain: acmeDomain},
				"m2":    {Recipient: "zoë@EXAMPLE.org"},
				"":      {Recipient: "zoË@example.org"},
				"m4 m3": {Contains: "nEEdLE"},
				"m4 ":   {Contains: "0% n"},
				"m2 ":   {Contains: "zoë@"},
				"m6 m5": {States: []store.ActivityState{store.ActivityHardBounced, store.ActivitySoftBounced}},
				"m6":    {States: []store.ActivityState{store.ActivityHardBounced, store.ActivitySoftBounced}, Contains: "to6@"},
				"m7 m6": {From: day.Add(6 * 24 * time.Hour)},
				"m1 m0": {Until: day.Add(2 * 24 * time.Hour)},
				"m3":    {From: day.Add(3 * 24 * time.Hour), Until: day.Add(3*24*time.Hour + time.Microsecond)},
				" ":     {Domain: rivalDomain, Username: "u2"},
				"  ":    {Contains: "no such text"},
				"   ":   {Domain: "ACME.example"},
				"m5":    {Recipient: "to5@example.net", States: []store.ActivityState{store.ActivityHardBounced}, Domain: acmeDomain, Username: "u1", From: day, Contains: "to5"},
				"    ":  {Recipient: "to5@example.net", Until: day.Add(time.Hour)},
			} {
				for _, limit := range []int{0, 1, 2} {
					f.Limit = limit
					if got := t.list(acme, f); strings.Join(got, " ") != strings.TrimSpace(want) {
						t.Errorf("Activities(%+v): got %q, want %q", f, got, want)
					}
				}
			}
		},
	},
	{
		name:  "Activities/Pages",
		words: pageWords + " Limit is the length of a page; zero or less means 100.",
		check: func(t *historian) {
			want := t.newest(250)
			f := store.ActivityFilter{}
			for _, size := range []int{0, 100, 1, 7, 249, 250, 1000, -1} {
				f.Limit = size
				page, err := t.Activities(t.Context(), acme, f)
				t.ok(err, "Activities")
				if size <= 0 {
					size = 100
				}
				if n := min(size, 250); len(page.List) != n || (page.Next == "") != (n == 250) {
					t.Errorf("Activities with the limit %d: got %d and Next %q", f.Limit, len(page.List), page.Next)
				}
				if size < 7 {
					continue
				}
				if got := t.list(acme, f); !slices.Equal(got, want) {
					t.Errorf("Activities in pages of %d:\n got %q\nwant %q", f.Limit, got, want)
				}
			}
		},
	},
	{
		name:  "Activities/PagesMeanwhile",
		words: pageWords + " " + activitiesWords,
		check: func(t *historian) {
			// All were received at once, so that only their order makes pages.
			var c store.Changes
			for i := range 60 {
				c.Activities = append(c.Activities, store.ActivityChange{Activity: newActivity(fmt.Sprint("m", i), 0)})
			}
			t.apply(c)
			for _, f := range []store.ActivityFilter{{Limit: 7}, {Limit: 7, Recipient: "to0@example.net"}, {Limit: 7, Contains: "order", Until: day.Add(1000)}} {
				seen := make(map[string]bool)
				for i := 0; ; i++ {
					page, err := t.Activities(t.Context(), acme, f)
					t.ok(err, "Activities")
					for _, a := range page.List {
						if seen[a.Mail] {
							t.Errorf("Activities(%+v): %s is on two pages", f, a.Mail)
						}
						seen[a.Mail] = true
					}
					if f.After = page.Next; f.After == "" || i > 100 {
						break
					}
					later := newActivity(fmt.Sprintf("later%d", i), 0)
					later.Received = day.Add(time.Hour)
					t.applies(later)
				}
				for i := range 60 {
					if !seen[fmt.Sprint("m", i)] {
						t.Fatalf("Activities(%+v): m%d is on no page", f, i)
					}
				}
			}
		},
	},
	{
		name:  "Activities/Many",
		words: pageWords,
		check: func(t *historian) {
			// A rare one is found, however many others are in between.
			var c store.Changes
			for i := range 12_000 {
				a := newActivity("m1", i)
				a.Received, a.Recipient, a.Trail = day.Add(time.Duration(i)*time.Second), "many@example.net", ""
				if i == 5 {
					a.Mail, a.State, a.Subject = "rare", store.ActivityCanceled, "a rare one"
				}
				c.Activities = append(c.Activities, store.ActivityChange{Activity: a})
			}
			t.apply(c)
			for _, f := range []store.ActivityFilter{
				{States: []store.ActivityState{store.ActivityCanceled}}, {Contains: "A Rare"}, {Recipient: "many@example.net", Contains: "rare"},
			} {
				if got := t.list(acme, f); !slices.Equal(got, []string{"rare"}) {
					t.Errorf("Activities(%+v): got %q, want the rare one", f, got)
				}
			}
		},
	},
	{
		name:  "Recipients/ByN",
		words: recipientsWords + " If none matches the list is empty, without an error.",
		check: func(t *historian) {
			var want []store.Activity
			for i := range 150 {
				want = append(want, newActivity("m1", i))
			}
			theirs := newActivity("m1", 7)
			theirs.Tenant = rival
			shuffled := append([]store.Activity{theirs, newActivity("m10", 0), newActivity("m", 0)}, want...)
			slices.Reverse(shuffled)
			t.applies(shuffled...)
			t.is(acme, "m1", want...)
			t.is(rival, "m1", theirs)
			t.is(acme, "m2")
			t.is(rival, "m10")
		},
	},
	{
		name:  "Recipients/Pages",
		words: recipientsWords + " Limit is the maximum number of activities; zero or less means 100.",
		check: func(t *historian) {
			all := t.hasRecipients(250)
			for _, size := range []int{0, -1, 1, 100, 249, 250, 1000} {
				var got []store.Activity
				for f := (store.RecipientFilter{Limit: size}); ; f.From = got[len(got)-1].N + 1 {
					page, err := t.Recipients(t.Context(), acme, "m1", f)
					t.ok(err, "Recipients(%+v)", f)
					if want := min(f.Size(), len(all)-len(got)); len(page) != want {
						t.Fatalf("Recipients(%+v): got %d, want %d", f, len(page), want)
					}
					if got = append(got, page...); len(page) == 0 || size == 1 && len(got) == 5 {
						break
					}
				}
				if !slices.Equal(got, all[:len(got)]) {
					t.Errorf("Recipients in pages of %d: got %+.300v", size, got)
				}
			}
		},
	},
	{
		name:  "Recipients/States",
		words: recipientsWords + " If States is empty, all states are selected.",
		check: func(t *historian) {
			all := t.hasRecipients(250)
			for _, f := range []store.RecipientFilter{
				{States: []store.ActivityState{store.ActivityPending}},
				{States: []store.ActivityState{store.ActivityPending, store.ActivityDeferred, store.ActivityPending}, From: 33, Limit: 7},
				{States: []store.ActivityState{store.ActivityRejected}},
			} {
				var want []store.Activity
				for _, a := range all {
					if a.N >= f.From && slices.Contains(f.States, a.State) && len(want) < f.Size() {
						want = append(want, a)
					}
				}
				got, err := t.Recipients(t.Context(), acme, "m1", f)
				t.ok(err, "Recipients(%+v)", f)
				if !slices.Equal(got, want) {
					t.Errorf("Recipients(%+v):\n got %+.300v\nwant %+.300v", f, got, want)
				}
			}
		},
	},
	{
		name:  "RecipientStates",
		words: "RecipientStates returns how many activities of one mail are in each state. A state of none is not in the map.",
		check: func(t *historian) {
			want := make(map[store.ActivityState]int)
			for _, a := range t.hasRecipients(250) {
				want[a.State]++
			}
			got, err := t.RecipientStates(t.Context(), acme, "m1")
			t.ok(err, "RecipientStates")
			if !maps.Equal(got, want) {
				t.Errorf("RecipientStates: got %v, want %v", got, want)
			}
			got, err = t.RecipientStates(t.Context(), rival, "m10")
			t.ok(err, "RecipientStates")
			if len(got) > 0 {
				t.Errorf("RecipientStates of no mail: got %v", got)
			}
		},
	},
	{
		name:  "TenantOf",
		words: "TenantOf returns the tenant that has activities of a mail. It is for operators, who have the mail's ID only. ErrNotFound: there are none.",
		check: func(t *historian) {
			theirs := newActivity("m2", 7)
			theirs.Tenant = rival
			t.applies(newActivity("m1", 0), newActivity("m1", 1), theirs)
			for mail, want := range map[string]store.TenantID{"m1": acme, "m2": rival} {
				got, err := t.TenantOf(t.Context(), mail)
				t.ok(err, "TenantOf(%q)", mail)
				if got != want {
					t.Errorf("TenantOf(%q): got %q, want %q", mail, got, want)
				}
			}
			for _, mail := range []string{"m", "m3", "M1", "m%", ""} {
				_, err := t.TenantOf(t.Context(), mail)
				t.fails(err, store.ErrNotFound, "TenantOf(%q)", mail)
			}
		},
	},
	{
		name: "ActivitiesByKey",
		words: "ActivitiesByKey returns the activities that have one of the keys, in any order, with their Trail. A key of no activity is left out. No key may be in the list twice. " +
			"It reads nothing else, however many recipients the mails have.",
		check: func(t *historian) {
			var all, want []store.Activity
			var keys []store.ActivityKey
			for i := range 1300 {
				a := newActivity(fmt.Sprintf("m%d", i/100), i%100)
				a.Trail = fmt.Sprint("trail of ", i)
				if all = append(all, a); i%2 == 0 {
					want = append(want, a)
					keys = append(keys, keyOf(&a))
				}
			}
			theirs := newActivity("m1", 0)
			theirs.Tenant, theirs.Trail = rival, ""
			t.applies(append(all, theirs)...)
			t.looksUp(keys, want...)
			t.looksUp(keys[:1], want[0])
			t.looksUp(nil)
			t.looksUp([]store.ActivityKey{keyOf(&theirs), keys[7], {Tenant: rival, Mail: "m1", N: 1}, {Tenant: acme, Mail: "M1"}, {Tenant: acme, Mail: "m1", N: -1}},
				theirs, want[7])
			t.looksUp([]store.ActivityKey{{Tenant: acme, Mail: "m99"}})
		},
	},
}

// hasRecipients applies a mail m1 with n recipients in some states, and mails of other
// names and tenants beside it. It returns the recipients.
func (t *historian) hasRecipients(n int) (list []store.Activity) {
	t.Helper()
	for i := range n {
		a := newActivity("m1", i)
		a.State = store.ActivityPending + store.ActivityState(i%3)
		list = append(list, a)
	}
	theirs := newActivity("m1", 1)
	theirs.Tenant = rival
	t.applies(append([]store.Activity{theirs, newActivity("m10", 3), newActivity("m", 0)}, list...)...)
	return list
}

func keyOf(a *store.Activity) store.ActivityKey {
	return store.ActivityKey{Tenant: a.Tenant, Mail: a.Mail, N: a.N}
}

// looksUp checks what ActivitiesByKey returns for keys.
func (t *historian) looksUp(keys []store.ActivityKey, want ...store.Activity) {
	t.Helper()
	got, err := t.ActivitiesByKey(t.Context(), keys)
	t.ok(err, "ActivitiesByKey")
	found := make(map[store.ActivityKey]store.Activity)
	for _, a := range got {
		found[keyOf(&a)] = a
	}
	if len(got) != len(want) || len(found) != len(want) {
		t.Errorf("ActivitiesByKey of %d keys: got %d activities, %d of them different, want %d", len(keys), len(got), len(found), len(want))
	}
	for _, a := range want {
		if found[keyOf(&a)] != a {
			t.Errorf("ActivitiesByKey:\n got %+v\nwant %+v", found[keyOf(&a)], a)
		}
	}
}
