package storetest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

const recipientsWords = "Recipients returns the activities of one mail that match the filter, by N, with their Trail."

// recipientPromises are the cases about recipients of given mails.
var recipientPromises = []historyPromise{
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
		name:  "Recipients/Erased",
		words: recipientsWords + " If Erased is set, only erased activities are selected.",
		check: func(t *historian) {
			t.hasRecipients(250)
			if got, err := t.Recipients(t.Context(), acme, "m1", store.RecipientFilter{Erased: true}); err != nil || len(got) > 0 {
				t.Errorf("Recipients that are erased: got %+.300v, %v, want none", got, err)
			}
			for _, n := range []int{7, 203} {
				t.erases(1, newActivity("m1", n).Recipient)
			}
			for want, f := range map[string]store.RecipientFilter{
				"[7 203]": {Erased: true},
				"[203]":   {Erased: true, From: 8},
				"[7]":     {Erased: true, Limit: 1},
				"[]":      {Erased: true, States: []store.ActivityState{store.ActivityRejected}},
			} {
				list, err := t.Recipients(t.Context(), acme, "m1", f)
				t.ok(err, "Recipients(%+v)", f)
				ns := []int{}
				for _, a := range list {
					ns = append(ns, a.N)
				}
				if fmt.Sprint(ns) != want {
					t.Errorf("Recipients(%+v): got %v, want %s", f, ns, want)
				}
			}
		},
	},
	{
		name:  "Recipients/AnyID",
		words: "A method that is given the ID of a mail finds nothing if no mail can have that ID, whatever its bytes are.",
		check: func(t *historian) {
			a := newActivity("m1", 0)
			t.applies(a)
			for _, id := range noIDs {
				list, err := t.Recipients(t.Context(), acme, id, allRecipients)
				if err != nil || len(list) > 0 {
					t.Errorf("Recipients(%.20q): got %+v, %v, want none", id, list, err)
				}
				states, err := t.RecipientStates(t.Context(), acme, id)
				if err != nil || len(states) > 0 {
					t.Errorf("RecipientStates(%.20q): got %v, %v, want none", id, states, err)
				}
				_, err = t.TenantOf(t.Context(), id)
				t.fails(err, store.ErrNotFound, "TenantOf(%.20q)", id)
				list, err = t.ActivitiesByKey(t.Context(), []store.ActivityKey{{Tenant: acme, Mail: id}, {Tenant: acme, Mail: "m1"}})
				if err != nil || !slices.Equal(list, []store.Activity{a}) {
					t.Errorf("ActivitiesByKey(%.20q and m1): got %+v, %v, want m1", id, list, err)
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
