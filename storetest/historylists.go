package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	activitiesWords = "Activities lists activities of a tenant, newest first: by Received, and those of the same time in an order that stays the same."
	filterWords     = "An activity matches if it matches every field that is not zero."
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
		name:  "Activities/RecipientForms",
		words: filterWords + " With more than two of them Activities returns an error.",
		check: func(t *historian) {
			for i, recipient := range []string{"bob@bücher.example", "Bob@xn--bcher-kva.example", "bob@bucher.example", "anna@bücher.example", ""} {
				a := newActivity(fmt.Sprint("m", i), i)
				a.Received, a.Recipient = day.Add(time.Duration(i)*24*time.Hour), recipient
				t.applies(a)
			}
			forms := []string{"bob@XN--BCHER-KVA.example", "bob@nowhere.example"}
			for want, f := range map[string]store.ActivityFilter{
				"m1 m0":          {Recipient: "bob@bücher.example", RecipientForms: forms},
				"m1":             {Recipient: "bob@bücher.example", RecipientForms: forms, From: day.Add(time.Hour)},
				"m0":             {Recipient: "bob@bücher.example", RecipientForms: forms[1:]},
				"m4 m3 m2 m1 m0": {RecipientForms: forms},
			} {
				for _, limit := range []int{0, 1} {
					f.Limit = limit
					if got := t.list(acme, f); strings.Join(got, " ") != want {
						t.Errorf("Activities(%+v): got %q, want %q", f, got, want)
					}
				}
			}
			if page, err := t.Activities(t.Context(), acme, store.ActivityFilter{Recipient: forms[0], RecipientForms: append(forms, forms[0])}); err == nil {
				t.Errorf("Activities with 3 forms of a recipient: got %+v, want an error", page)
			}
		},
	},
	{
		name:  "Activities/FarApart",
		words: filterWords + " Erase erases a recipient (see Activity.Erased) from all activities of a tenant, and returns from how many.",
		check: func(t *historian) {
			// The clock of a node may have been wrong by many years.
			var list []store.Activity
			for i, year := range []int{2106, day.Year(), 1970, 1066} {
				a := newActivity(fmt.Sprint("m", i), 0)
				a.Received = time.Date(year, 2, 7, 6, 28, 16, 0, time.UTC)
				list = append(list, a)
			}
			t.applies(list...)
			for _, limit := range []int{0, 1} {
				for want, f := range map[string]store.ActivityFilter{
					"m0 m1 m2 m3": {},
					"m1 m2":       {Until: list[0].Received, From: list[2].Received},
					"m2 m3":       {Until: list[1].Received},
					"m0":          {From: list[1].Received.Add(time.Microsecond)},
				} {
					f.Recipient, f.Limit = "to0@example.net", limit
					if got := t.list(acme, f); strings.Join(got, " ") != want {
						t.Errorf("Activities(%+v): got %q, want %q", f, got, want)
					}
				}
			}
			t.erases(4, "to0@example.net")
			for _, a := range list {
				t.is(acme, a.Mail, erasedOf(a))
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
}
