package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	applyWords    = "Apply removes records and makes changes in one step."
	conflictWords = "It returns ErrConflict and does nothing if one of the records is not there any more, or if an activity's Order is not Was, " +
		"or if its Trail has not the length TrailWas."
	changeWords = "An activity that is not there is added. One that is there takes the state of a change with a greater Order, or with the same and a greater Attempt, " +
		"gets what it has empty, gets the Trail of the change behind its own, or with TrailWas in place of it, and has its Times added up. Its Received becomes the earlier one."
	erasedWords = "Erased means that the recipient was erased: Recipient, Reply.Text, Reason and Trail are empty and stay so, whatever is applied later."
)

var applyPromises = []historyPromise{
	{
		name:  "Apply/Removes",
		words: applyWords,
		check: func(t *historian) {
			for i := range 3 {
				t.record(newEvent(store.EventRefused, "", i))
			}
			all := t.records()
			t.ok(t.Apply(t.Context(), ids(all[1:]), changes(newActivity("m1", 0))), "Apply")
			sameRecords(t, t.records(), all[:1])
			t.is(acme, "m1", newActivity("m1", 0))
		},
	},
	{
		name:  "Apply/Once",
		words: conflictWords + " So each event counts once, on any number of nodes, whatever is killed when.",
		check: func(t *historian) {
			for i := range rounds {
				t.record(newEvent(store.EventRefused, "", i))
				records := ids(t.records())
				handles := []*historian{t, t.otherHistory()}
				var applied atomic.Int32
				t.race(func(_ store.Spool, racer int) error {
					err := handles[racer%2].Apply(t.Context(), records, store.Changes{Counts: []store.Count{newCount(0)}})
					if errors.Is(err, store.ErrConflict) {
						return nil
					}
					applied.Add(1)
					return err
				})
				if applied.Load() != 1 {
					t.Fatalf("%d of %d calls of Apply with the same record returned nil, want 1", applied.Load(), racers)
				}
				if got := t.sums(acme, store.CountFilter{}); len(got) != 1 || got[0].Accepted != int64(i+1) {
					t.Fatalf("Counts: got %+v, want %d accepted", got, i+1)
				}
			}
		},
	},
	{
		name:  "Apply/AllOrNothing",
		words: conflictWords,
		check: func(t *historian) {
			t.record(newEvent(store.EventRefused, "", 0))
			t.applies(newActivity("m0", 0))
			records := t.records()
			more := changes(newActivity("m1", 0))
			more.Counts = []store.Count{newCount(0)}
			nothing := func(records []string, c store.Changes, why string) {
				t.Helper()
				t.fails(t.Apply(t.Context(), records, c), store.ErrConflict, "Apply %s", why)
				if n := len(t.records()); n != 1 {
					t.Errorf("after Apply %s there are %d records, want 1", why, n)
				}
				t.is(acme, "m1")
				t.is(acme, "m0", newActivity("m0", 0))
				if got := t.sums(acme, store.CountFilter{}); len(got) > 0 {
					t.Errorf("after Apply %s there are counts: %+v", why, got)
				}
			}
			nothing([]string{records[0].ID, "nothing"}, more, "with a record that is not there")
			was := func(mail string, order int64) store.Changes {
				c := changes(newActivity("m1", 0), newActivity(mail, 0))
				c.Activities[1].Was, c.Counts = order, more.Counts
				return c
			}
			nothing(ids(records), was("m0", 99), "with another Was")
			nothing(ids(records), was("m2", 100), "with a Was of no activity")
			t.ok(t.Apply(t.Context(), ids(records), was("m0", 100)), "Apply with the right Was")
			t.waits()
		},
	},
	{
		name:  "Apply/GreaterOrder",
		words: changeWords + " Of two states of one activity the one with the greater Order stays, and of those with the same Order the one with the greater Attempt, whichever is applied first.",
		check: func(t *historian) {
			old, late := newActivity("m1", 0), newActivity("m1", 0)
			late.State, late.Order, late.Updated, late.Attempt = store.ActivityHardBounced, 200, day.Add(time.Hour), 7
			late.NextAttempt = time.Time{}
			late.Reply, late.Field, late.Reason = store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no", Host: "mx2.example.net"}, "From", "gone"
			late.Times, late.Trail = 0, ""
			want := late
			want.Times, want.Trail = old.Times, old.Trail
			t.applies(old)
			t.applies(late)
			t.is(acme, "m1", want)

			old.Mail, late.Mail, want.Mail = "m2", "m2", "m2"
			t.applies(late)
			t.applies(old)
			t.is(acme, "m2", want)
		},
	},
	{
		name:  "Apply/SameOrder",
		words: changeWords + " Of two states of one activity the one with the greater Order stays, and of those with the same Order the one with the greater Attempt, whichever is applied first.",
		check: func(t *historian) {
			second, third := newActivity("m1", 0), newActivity("m1", 0)
			third.Attempt, third.State, third.Updated, third.NextAttempt = 3, store.ActivityDeferred, day.Add(time.Hour), day.Add(3*time.Hour)
			third.Reply, third.Field, third.Reason = store.Reply{Code: 450, Enhanced: "4.2.2", Text: "full", Host: "mx3.example.net"}, "From", "busy"
			third.Times, third.Trail = 0, ""
			want := third
			want.Times, want.Trail = second.Times, second.Trail
			t.applies(second)
			t.applies(third)
			t.is(acme, "m1", want)
			same := third
			same.Reason, same.State = "another", store.ActivityPending
			t.applies(same) // of the same attempt the first stays
			t.is(acme, "m1", want)

			second.Mail, third.Mail, want.Mail = "m2", "m2", "m2"
			t.applies(third)
			t.applies(second)
			t.is(acme, "m2", want)
			third.Order, third.Attempt = second.Order-1, 9
			t.applies(third)
			t.is(acme, "m2", want)
		},
	},
	{
		name:  "Apply/FillsEmpty",
		words: changeWords,
		check: func(t *historian) {
			full := newActivity("m1", 0)
			bare := full
			bare.Domain, bare.Username, bare.From, bare.Author, bare.Recipient, bare.Subject, bare.MessageID, bare.Size = "", "", "", "", "", "", "", 0
			bare.Times, bare.Trail = 0, ""
			t.applies(bare)
			t.is(acme, "m1", bare)
			t.applies(full)
			t.is(acme, "m1", full)
			other := full
			other.Domain, other.Username, other.From, other.Author, other.Recipient, other.Subject, other.MessageID, other.Size = "x", "x", "x", "x", "x", "x", "x", 1
			other.Times, other.Trail = 0, ""
			t.applies(other)
			t.is(acme, "m1", full)
			if got := t.list(acme, store.ActivityFilter{Recipient: full.Recipient}); !slices.Equal(got, []string{"m1"}) {
				t.Errorf("Activities of the recipient that was filled in: got %q", got)
			}
		},
	},
	{
		name:  "Apply/Trail",
		words: changeWords,
		check: func(t *historian) {
			a := newActivity("m1", 0)
			a.Trail = "\x00\xff first"
			t.applies(a)
			next := a
			next.Order, next.Trail, next.Times = 1, "\xfe second\x00", 4
			t.applies(next)
			a.Trail, a.Times = a.Trail+next.Trail, 7
			t.is(acme, "m1", a)
			next.Trail, next.Times = strings.Repeat("\x80", 100_000), 0
			t.applies(next)
			a.Trail += next.Trail
			t.is(acme, "m1", a)
		},
	},
	{
		name:  "Apply/TrailWas",
		words: "TrailWas, if not 0, is the length in bytes that the activity's Trail must have before the change. Then the Trail of the change takes its place. " + conflictWords,
		check: func(t *historian) {
			a, other := newActivity("m1", 0), newActivity("m1", 1)
			a.Trail = "\x00\xff é first"
			t.applies(a, other)
			replace := func(was int, trail string) error {
				c := changes(a, other)
				c.Activities[0].Trail, c.Activities[0].TrailWas, c.Activities[0].Times = trail, was, 0
				c.Activities[1].Trail, c.Activities[1].Times = "", 0
				return t.Apply(t.Context(), nil, c)
			}
			for _, was := range []int{1, len(a.Trail) - 1, len(a.Trail) + 1} {
				t.fails(replace(was, "x"), store.ErrConflict, "Apply with TrailWas %d of a trail of %d bytes", was, len(a.Trail))
			}
			t.is(acme, "m1", a, other)
			t.ok(replace(len(a.Trail), "\xfe second"), "Apply with TrailWas")
			a.Trail = "\xfe second"
			t.is(acme, "m1", a, other)
			t.erases(1, a.Recipient)
			t.fails(replace(len(a.Trail), "x"), store.ErrConflict, "Apply with TrailWas of a recipient that was erased")
			t.is(acme, "m1", erasedOf(a), other)
			missing := changes(newActivity("m2", 0))
			missing.Activities[0].TrailWas = 6
			t.fails(t.Apply(t.Context(), nil, missing), store.ErrConflict, "Apply with TrailWas of no activity")
			t.is(acme, "m2")
		},
	},
	{
		name:  "Apply/Received",
		words: changeWords,
		check: func(t *historian) {
			a := newActivity("m1", 0)
			t.applies(a)
			for _, at := range []time.Time{day.AddDate(0, 0, -3), day.AddDate(0, 0, 1)} {
				next := a
				next.Received, next.Times, next.Trail = at, 0, ""
				t.applies(next)
			}
			a.Received = day.AddDate(0, 0, -3)
			t.is(acme, "m1", a)
			for _, f := range []store.ActivityFilter{{Until: day}, {Recipient: a.Recipient, Until: day}, {Recipient: a.Recipient}} {
				if got := t.list(acme, f); !slices.Equal(got, []string{"m1"}) {
					t.Errorf("Activities(%+v): got %q, want m1", f, got)
				}
			}
			if got := t.list(acme, store.ActivityFilter{From: day}); len(got) > 0 {
				t.Errorf("Activities since the later Received: got %q", got)
			}
		},
	},
	{
		name:  "Apply/ManyAtOnce",
		words: applyWords,
		check: func(t *historian) {
			var c store.Changes
			const n = 3000
			for i := range n {
				a := newActivity("m1", i)
				a.Order = 50
				c.Activities = append(c.Activities, store.ActivityChange{Activity: a})
				c.Counts = append(c.Counts, newCount(i))
			}
			for i := range n {
				t.record(newEvent(store.EventRefused, "", i))
				if i == 600 {
					break
				}
			}
			t.ok(t.Apply(t.Context(), ids(t.records()), c), "Apply")
			t.waits()
			for i := range c.Activities {
				c.Activities[i].Was, c.Activities[i].Order, c.Activities[i].Times, c.Activities[i].Trail = 50, 100, 0, ""
			}
			t.apply(c)
			got, err := t.Recipients(t.Context(), acme, "m1", allRecipients)
			t.ok(err, "Recipients")
			for i := range got {
				if got[i] != newActivity("m1", i) {
					t.Fatalf("Recipients: %d is %+v", i, got[i])
				}
			}
			if sums := t.sums(acme, store.CountFilter{}); len(got) != n || len(sums) != 1 || sums[0].Accepted != 2*n {
				t.Errorf("got %d activities and the sums %+v, want %d and %d accepted", len(got), sums, n, 2*n)
			}
		},
	},
	{
		name:  "Apply/AtTheSameTime",
		words: "What is said of a Spool about atomic, durable and concurrent methods, contexts, times and texts holds here too.",
		check: func(t *historian) {
			handles := []*historian{t, t.otherHistory()}
			t.race(func(_ store.Spool, racer int) error {
				for i := range rounds {
					c := changes(newActivity("m1", 0), newActivity("m1", 1), newActivity(fmt.Sprintf("m%dr%d", i, racer), 0))
					if racer%2 == 0 {
						slices.Reverse(c.Activities)
					}
					c.Counts = []store.Count{newCount(0), newCount(1)}
					if err := handles[racer%2].Apply(t.Context(), nil, c); err != nil {
						return err
					}
				}
				return nil
			})
			got, err := t.Recipients(t.Context(), acme, "m1", allRecipients)
			t.ok(err, "Recipients")
			const times = racers * rounds
			if len(got) != 2 || got[1].Times != 3*times || len(got[1].Trail) != times*len("trail;") {
				t.Errorf("Recipients: got %+.300v, want what %d changes make", got, times)
			}
			if sums := t.sums(acme, store.CountFilter{}); len(sums) != 1 || sums[0].Accepted != 2*times {
				t.Errorf("Counts: got %+v, want %d accepted", sums, 2*times)
			}
		},
	},
	{
		name:  "Erase/Recipient",
		words: "Erase erases a recipient (see Activity.Erased) from all activities of a tenant, and returns from how many. " + erasedWords,
		check: func(t *historian) {
			var others []store.Activity
			for i := range 3 {
				a := newActivity(fmt.Sprint("m", i), 0)
				a.Received = day.AddDate(0, 0, -40*i)
				others = append(others, newActivity(a.Mail, 1))
				t.applies(a, others[i])
			}
			theirs := newActivity("m9", 0)
			theirs.Tenant = rival
			t.applies(theirs)
			t.erases(3, "To0@Example.NET")
			t.erases(0, "to0@example.net")
			t.erases(0, "")
			for i := range 3 {
				a := newActivity(fmt.Sprint("m", i), 0)
				a.Received = day.AddDate(0, 0, -40*i)
				t.is(acme, a.Mail, erasedOf(a), others[i])
			}
			t.is(rival, "m9", theirs)
			if got := t.list(acme, store.ActivityFilter{Recipient: "to0@example.net"}); len(got) > 0 {
				t.Errorf("Activities of the erased recipient: got %q", got)
			}
		},
	},
	{
		name:  "Erase/Stays",
		words: erasedWords + " Its Erased is ignored.",
		check: func(t *historian) {
			a := newActivity("m1", 0)
			c := changes(a)
			c.Activities[0].Erased = true
			t.apply(c)
			t.is(acme, "m1", a)
			t.erases(1, a.Recipient)
			a.Order, a.State, a.Reply.Code = 300, store.ActivityHardBounced, 550
			t.applies(a)
			a.Times *= 2
			t.is(acme, "m1", erasedOf(a))
			if got := t.list(acme, store.ActivityFilter{Recipient: a.Recipient}); len(got) > 0 {
				t.Errorf("Activities of the erased recipient: got %q", got)
			}
			t.erases(0, a.Recipient)
		},
	},
	{
		name:  "Erase/Empty",
		words: "The letters A to Z match in either case. An empty recipient matches nothing.",
		check: func(t *historian) {
			a := newActivity("m1", 0)
			a.Recipient = ""
			t.applies(a)
			t.erases(0, "")
			t.is(acme, "m1", a)
		},
	},
}

func changes(activities ...store.Activity) (c store.Changes) {
	for _, a := range activities {
		c.Activities = append(c.Activities, store.ActivityChange{Activity: a})
	}
	return c
}

// newCount returns a count of acme's i-th user with something in each field.
func newCount(i int) store.Count {
	return store.Count{
		Tenant: acme, Hour: day.Truncate(time.Hour), Domain: acmeDomain, Username: fmt.Sprintf("u%04d", i),
		Accepted: 1, Delivered: 2, Deferred: 3, SoftBounced: 4, HardBounced: 5, Rejected: 6, Canceled: 7, Bytes: 1000,
	}
}

// erases erases a recipient of acme.
func (t *historian) erases(want int, recipient string) {
	t.Helper()
	got, err := t.Erase(t.Context(), acme, recipient)
	t.ok(err, "Erase(%q)", recipient)
	if got != want {
		t.Errorf("Erase(%q): got %d, want %d", recipient, got, want)
	}
}

// erasedOf is what is left of an activity.
func erasedOf(a store.Activity) store.Activity {
	a.Erased = true
	a.Recipient, a.Reply.Text, a.Reason, a.Trail = "", "", "", ""
	return a
}
