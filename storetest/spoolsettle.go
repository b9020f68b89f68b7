package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const lostWords = "An outcome whose token is not the delivery's changes nothing and is returned as lost, in the order given."

var settlePromises = []spoolPromise{
	{
		name:  "Settle/EachRecipient",
		words: "Settle records outcomes: all of them or, with an error, none.",
		check: func(t *spooler) {
			put := t.put("m1", 4)
			l := t.take(soon, 3)
			tomorrow := soon.AddDate(0, 0, 1)
			t.settle(
				done(l[0]),
				store.Outcome{Mail: "m1", N: 1, Lease: l[1].Lease, Next: tomorrow, Attempts: 1, Delayed: true, Reason: "451 not now"},
				store.Outcome{Mail: "m1", N: 2, Lease: l[2].Lease, Next: tomorrow, Attempts: 9, Held: true, Idle: time.Hour, Reason: "unreadable"},
			)
			got := deliveriesOf(t.all())
			if len(got) != 3 {
				t.Fatalf("Deliveries: got %d, want 3", len(got))
			}
			for i := range got[:2] {
				if got[i].Lease == l[i+1].Lease {
					t.Errorf("after Settle the token %d is still good", got[i].Lease)
				}
			}
			put[1].Tried, put[2].Tried = soon, soon
			put[1].Lease, put[1].Next, put[1].Attempts, put[1].Delayed, put[1].Reason = got[0].Lease, tomorrow, 1, true, "451 not now"
			put[2].Lease, put[2].Next, put[2].Attempts, put[2].Held, put[2].Idle, put[2].Reason = got[1].Lease, tomorrow, 9, true, time.Hour, "unreadable"
			t.holds(newMail("m1"), put[1:], content("m1"))
			if got := mails(t.lease(tomorrow.Add(-time.Microsecond), 9)); len(got) != 1 {
				t.Errorf("Lease before Next: got %d, want the one that was never leased", len(got))
			}
			if got := t.lease(tomorrow, 9); len(got) != 1 || got[0].Delivery.N != 1 {
				t.Errorf("Lease at Next: got %+v, want the one that isn't held", got)
			}
		},
	},
	{
		name:  "Settle/AllOrNone",
		words: "Settle records outcomes: all of them or, with an error, none.",
		check: func(t *spooler) {
			t.put("m1", 3)
			l := t.take(soon, 3)
			before := t.all()
			long := later(l[1], due)
			long.Reason = strings.Repeat("x", 1<<20) // which an adapter may refuse
			_, err := t.Settle(t.Context(), []store.Outcome{done(l[0]), long, later(l[2], due)})
			got := t.all()
			if err != nil && !slices.Equal(got, before) {
				t.Errorf("after Settle failed with %v:\n got %+.9v\nwant %+.9v", err, got, before)
			}
			if err == nil && (len(got) != 2 || got[0].Delivery.Reason != long.Reason) {
				t.Errorf("after Settle: got %d deliveries, want two, one with a long reason", len(got))
			}
		},
	},
	{
		name:  "Settle/AnythingToNothing",
		words: "It is due at Next, no node has leased it, its Deaths are 0, and it has these:",
		check: func(t *spooler) {
			all := newDeliveries(1)
			all[0].Attempts, all[0].Delayed, all[0].Idle, all[0].Reason = 9, true, time.Hour, "451 not now"
			put := t.putAs(newMail("m1"), all, content("m1"))
			l := t.take(soon, 1)
			t.settle(store.Outcome{Mail: "m1", Lease: l[0].Lease, Next: due})
			put[0].Tried, put[0].Attempts, put[0].Delayed, put[0].Idle, put[0].Reason = soon, 0, false, 0, ""
			put[0].Lease = t.all()[0].Delivery.Lease
			t.holds(newMail("m1"), put, content("m1"))
		},
	},
	{
		name:  "Settle/LastOfTheMail",
		words: "With the last delivery of a mail the mail and its content are removed.",
		check: func(t *spooler) {
			for i, size := range []int64{100, 3 << 20} {
				m, other := newMail([]string{"m1", "m3"}[i]), newMail([]string{"m2", "m4"}[i])
				m.Size, other.Size = size, size
				t.ok(t.Put(t.Context(), m, newDeliveries(3), pattern(size)), "Put")
				leased := t.lease(soon, 3)
				t.ok(t.Put(t.Context(), other, newDeliveries(1), pattern(size)), "Put")
				for n, l := range leased {
					body, err := t.Body(t.Context(), m.ID)
					t.ok(err, "Body with %d of 3 settled", n)
					t.ok(equalStreams(body, pattern(size)), "the body with %d of 3 settled", n)
					t.ok(body.Close(), "Close")
					t.settle(done(l.Delivery))
				}
				t.gone(m.ID)
				t.settle(done(t.take(soon, 1)[0]))
				t.gone(other.ID)
				t.deep(store.Depth{})
			}
		},
	},
	{
		name:  "Settle/LostLease",
		words: lostWords,
		check: func(t *spooler) {
			t.put("m1", 3)
			mine := t.take(soon, 3)
			t.free(node)
			theirs := deliveriesOf(t.leaseAs(store.LeaseRequest{Node: "n2", Now: soon, Limit: 2, Deaths: 1}))
			before := t.all()
			t.loses(done(mine[0]), later(mine[1], due))
			if got := t.all(); !slices.Equal(got, before) {
				t.Errorf("Deliveries: got\n%+v, want\n%+v", got, before)
			}
			lost, err := t.Settle(t.Context(), []store.Outcome{done(mine[1]), done(theirs[1]), done(mine[0]), done(theirs[0])})
			t.ok(err, "Settle")
			if want := []store.Outcome{done(mine[1]), done(mine[0])}; !slices.Equal(lost, want) {
				t.Errorf("Settle: got lost %+v, want %+v", lost, want)
			}
			t.settle(done(t.all()[0].Delivery))
			t.gone("m1")
		},
	},
	{
		name:  "Settle/Settled",
		words: lostWords,
		check: func(t *spooler) {
			t.put("m1", 3)
			l := t.take(soon, 3)
			t.settle(done(l[0]), later(l[1], due))
			before := t.all()
			t.loses(later(l[0], due), done(l[0]), done(l[1]), later(l[1], soon))
			t.loses(store.Outcome{Mail: "m1", N: 7, Lease: 1, Done: true}, store.Outcome{Mail: "m1", N: -1, Lease: 1},
				store.Outcome{Mail: "m9", Lease: 1, Done: true}, store.Outcome{Done: true})
			if got := t.all(); !slices.Equal(got, before) {
				t.Errorf("Deliveries: got\n%+v, want\n%+v", got, before)
			}
		},
	},
	{
		name:  "Settle/TwiceInOneCall",
		words: lostWords,
		check: func(t *spooler) {
			t.put("m1", 3)
			l := t.take(soon, 3)
			outcomes := []store.Outcome{done(l[0]), later(l[1], due), later(l[0], due), done(l[1])}
			lost, err := t.Settle(t.Context(), outcomes)
			t.ok(err, "Settle")
			if !slices.Equal(lost, outcomes[2:]) {
				t.Errorf("Settle: got lost %+v, want the second outcome of each", lost)
			}
			if got := t.all(); len(got) != 2 || got[0].Delivery.N != 1 || got[0].Delivery.Attempts != 1 {
				t.Errorf("Deliveries: got %+v, want what the first outcomes say", got)
			}
		},
	},
	{
		name:  "Settle/Released",
		words: "A delivery that no node has leased is settled with the token that Deliveries shows. That is how a person holds, releases or cancels it.",
		check: func(t *spooler) {
			two := newDeliveries(3)
			two[0].Held, two[1].Held = true, true
			t.putAs(newMail("m1"), two, "x")
			listed := deliveriesOf(t.all())
			t.settle(done(listed[0]), store.Outcome{Mail: "m1", N: 1, Lease: listed[1].Lease, Next: soon, Attempts: 2})
			t.loses(done(listed[1]))
			got := t.lease(soon, 5)
			if len(got) != 2 || got[1].Delivery.N != 1 || got[1].Delivery.Attempts != 3 || got[1].Delivery.Held {
				t.Errorf("Lease after the release: got %+v", got)
			}
			t.loses(done(listed[2])) // it is leased now
		},
	},
	{
		name:  "Settle/None",
		words: "Settle records outcomes: all of them or, with an error, none.",
		check: func(t *spooler) { t.settle() },
	},
}

// deep checks the depth of the spool.
func (t *spooler) deep(want store.Depth) {
	t.Helper()
	got, err := t.Depth(t.Context())
	t.ok(err, "Depth")
	if got != want {
		t.Errorf("Depth: got %+v, want %+v", got, want)
	}
}
