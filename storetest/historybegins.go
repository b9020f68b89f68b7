package storetest

import "github.com/gatepost-mail/gatepost/store"

const beginsWords = "It is a hint: it makes an adapter quicker, and never changes what is stored."

// beginsPromises are about the hint Begins of a change.
var beginsPromises = []historyPromise{{
	name:  "Apply/Begins",
	words: beginsWords,
	check: func(t *historian) {
		for _, begins := range [][2]bool{{true, true}, {true, false}, {false, true}} {
			mail := "m" + flag(begins[0]) + flag(begins[1])
			there, added := newActivity(mail, 0), newActivity(mail, 1)
			t.applies(there)
			next := there
			next.Order, next.State, next.Trail, next.Times = 101, store.ActivitySoftBounced, "more", 1
			c := changes(next, added)
			c.Activities[0].Begins, c.Activities[1].Begins = begins[0], begins[1]
			count := newCount(0)
			count.Domain = mail
			c.Counts = []store.Count{count}
			t.record(newEvent(store.EventAccepted, mail, 0))
			t.ok(t.Apply(t.Context(), ids(t.records()), c), "Apply with Begins %t and %t", begins[0], begins[1])
			want := next
			want.Trail, want.Times = there.Trail+next.Trail, there.Times+next.Times
			t.is(acme, mail, want, added)
			if got := t.sums(acme, store.CountFilter{Domain: mail}); len(got) != 1 || got[0].Accepted != count.Accepted {
				t.Errorf("Counts: got %+v, want %d accepted", got, count.Accepted)
			}
			t.waits()
		}
	},
}}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
