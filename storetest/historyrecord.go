package storetest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing/iotest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	putWords    = "The events are recorded in the same step (see [History]). A Put that changes nothing records none."
	settleWords = "Event, unless it is zero, is recorded in the same step if the outcome is not lost (see [History])."
	onceWords   = "It is implemented by the adapter that is the [Spool], because the events of a Put or a Settle are kept in the same step: " +
		"each event once, and only if the rest of the step was done."
	wholeWords = "Records returns the oldest records: whole ones, with about limit events in all, and at least one record if there is any."
)

var recordPromises = []historyPromise{
	{
		name:  "Record/WhatApplyTakes",
		words: "An adapter that could not apply an event refuses to keep it, with an error of its own.",
		check: func(t *historian) {
			odd := newEvent(store.EventAccepted, "m1", -1<<31)
			odd.Time, odd.Received, odd.Size, odd.Attempt, odd.Reply.Code = time.Time{}, time.UnixMicro(-1<<55).UTC(), -1, 1<<31-1, -1
			odds := []store.Event{odd}
			for i, text := range noIDs {
				mail, tenant := newEvent(store.EventAccepted, text, i), newEvent(store.EventAccepted, "m1", i)
				tenant.Tenant = store.TenantID(text)
				odds = append(odds, mail, tenant)
			}
			for i := range odds {
				t.put(fmt.Sprintf("s%03d", i), 1)
			}
			taken := t.take(soon, len(odds))
			for i, e := range odds { // each may fail
				id := fmt.Sprintf("p%03d", i)
				t.Record(t.Context(), []store.Event{e})
				t.Put(t.Context(), newMail(id), newDeliveries(1), strings.NewReader(content(id)), e)
				o := done(taken[i])
				o.Event = e
				t.Settle(t.Context(), []store.Outcome{o})
			}
			for _, r := range t.records() {
				var c store.Changes
				for _, e := range r.Events {
					c.Activities = append(c.Activities, store.ActivityChange{Activity: store.Activity{
						Tenant: e.Tenant, Mail: e.Mail, N: e.N, Received: e.Received, Size: e.Size, Attempt: e.Attempt, Reply: e.Reply,
					}})
					c.Counts = append(c.Counts, store.Count{Tenant: e.Tenant, Hour: e.Received.Truncate(time.Hour), Accepted: 1, Bytes: e.Size})
				}
				t.ok(t.Apply(t.Context(), []string{r.ID}, c), "Apply of what was kept: %+v", r.Events)
			}
		},
	},
	{
		name:  "Put/Records",
		words: putWords + " Events wait in records until they are applied.",
		check: func(t *historian) {
			t.putWith("m1") // no events
			t.waits()
			first, second := events(store.EventAccepted, "m2", 3), events(store.EventAccepted, "m3", 1)
			t.putWith("m2", first...)
			t.putWith("m3", second...)
			t.waits(slices.Concat(first, second)...)
			t.holds(newMail("m2"), ofMail("m2", newDeliveries(3)), content("m2"))
		},
	},
	{
		name:  "Put/RecordsOnce",
		words: putWords + " " + onceWords,
		check: func(t *historian) {
			want := events(store.EventAccepted, "m1", 2)
			t.putWith("m1", want...)
			t.putWith("m1", want...) // as a caller does that did not get an answer
			other := newMail("m1")
			other.Size = 1
			t.fails(t.Put(t.Context(), other, newDeliveries(2), strings.NewReader("x"), want...), store.ErrTaken, "Put of another mail")
			t.waits(want...)

			second := events(store.EventAccepted, "m2", 1)
			t.race(func(st store.Spool, racer int) error {
				return st.Put(t.Context(), newMail("m2"), newDeliveries(1), strings.NewReader(content("m2")), second...)
			})
			t.waits(slices.Concat(want, second)...)
		},
	},
	{
		name:  "Put/FailsRecordsNothing",
		words: onceWords,
		check: func(t *historian) {
			broken := errors.New("broken")
			for _, size := range []int64{100, 100_000} {
				m := newMail("m1")
				m.Size = size
				body := io.MultiReader(pattern(size/2), iotest.ErrReader(broken))
				t.fails(t.Put(t.Context(), m, newDeliveries(2), body, events(store.EventAccepted, "m1", 2)...), broken, "Put from a reader that fails")
				if t.Put(t.Context(), m, nil, pattern(size), events(store.EventAccepted, "m1", 2)...) == nil {
					t.Error("Put without deliveries: got no error")
				}
			}
			t.waits()
		},
	},
	{
		name:  "Put/ManyRecipients",
		words: wholeWords + " An adapter may keep the events of several calls of Put, Settle and Record together, and those of a large call in several records.",
		check: func(t *historian) {
			want := events(store.EventAccepted, "m1", 30_000)
			m := newMail("m1")
			t.ok(t.Put(t.Context(), m, newDeliveries(len(want)), strings.NewReader(content("m1")), want...), "Put")
			t.waits(want...)
		},
	},
	{
		name:  "Settle/Records",
		words: settleWords,
		check: func(t *historian) {
			t.put("m1", 4)
			l := t.take(soon, 4)
			outcomes := []store.Outcome{done(l[0]), later(l[1], due), done(l[2]), done(l[3])}
			outcomes[0].Event = newEvent(store.EventDelivered, "m1", 0)
			outcomes[1].Event = newEvent(store.EventDeferred, "m1", 1)
			outcomes[3].Event = newEvent(store.EventHardBounced, "m1", 3)
			t.settle(outcomes...)
			t.waits(outcomes[0].Event, outcomes[1].Event, outcomes[3].Event)
		},
	},
	{
		name:  "Settle/LostRecordsNothing",
		words: settleWords,
		check: func(t *historian) {
			t.put("m1", 3)
			l := t.take(soon, 3)
			t.settle(done(l[0]))
			with := func(o store.Outcome, kind store.EventKind) store.Outcome {
				o.Event = newEvent(kind, o.Mail, o.N)
				return o
			}
			lost := with(done(l[0]), store.EventDelivered)
			t.loses(lost)
			t.waits()
			kept := []store.Outcome{with(done(l[1]), store.EventDelivered), with(later(l[2], due), store.EventDeferred)}
			again := []store.Outcome{with(done(l[1]), store.EventSoftBounced), with(done(l[2]), store.EventHardBounced)}
			got, err := t.Settle(t.Context(), []store.Outcome{kept[0], lost, kept[1], again[0], again[1]})
			t.ok(err, "Settle")
			if want := []store.Outcome{lost, again[0], again[1]}; !slices.Equal(got, want) {
				t.Errorf("Settle: got lost\n%+v, want\n%+v", got, want)
			}
			t.waits(kept[0].Event, kept[1].Event)
		},
	},
	{
		name:  "Settle/AllOrNone",
		words: onceWords,
		check: func(t *historian) {
			t.put("m1", 2)
			l := t.take(soon, 2)
			first, long := done(l[0]), later(l[1], due)
			first.Event = newEvent(store.EventDelivered, "m1", 0)
			long.Reason = strings.Repeat("x", 1<<20) // which an adapter may refuse
			long.Event = newEvent(store.EventDeferred, "m1", 1)
			if _, err := t.Settle(t.Context(), []store.Outcome{first, long}); err != nil {
				t.waits()
			} else {
				t.waits(first.Event, long.Event)
			}
		},
	},
	{
		name:  "Record/All",
		words: "Record keeps events that belong to no Put and no Settle: all of them or, with an error, none.",
		check: func(t *historian) {
			t.record()
			t.waits()
			refused := newEvent(store.EventRefused, "", 0)
			login := store.Event{Kind: store.EventLoginRefused, Time: day, Received: day, Tenant: rival, Field: "AUTH", Times: 17}
			t.record(refused, login)
			t.waits(refused, login)
		},
	},
	{
		name: "Record/AsGiven",
		words: "What is said of a Spool about atomic, durable and concurrent methods, contexts, times and texts holds here too. " +
			"A field that says nothing is zero.",
		check: func(t *historian) {
			want := awkwardEvents()
			t.record(want...)
			t.waits(want...)
			m := newMail("m1")
			t.ok(t.Put(t.Context(), m, newDeliveries(1), strings.NewReader(content("m1")), want...), "Put")
			t.waits(slices.Concat(want, want)...)
		},
	},
	{
		name:  "Records/IDs",
		words: "The [History] sets it and ignores the one it is given. It is the same each time the event is read.",
		check: func(t *historian) {
			given := events(store.EventAccepted, "m1", 3)
			for i := range given {
				given[i].ID = "mine"
			}
			t.putWith("m1", given...)
			t.record(given[0])
			seen := make(map[string]bool)
			first := t.records()
			for _, r := range first {
				checkID(t, r.ID, "")
				for _, e := range r.Events {
					checkID(t, e.ID, "_")
					if seen[e.ID] || e.ID == "mine" {
						t.Errorf("Records: the ID %q of an event is not new", e.ID)
					}
					seen[e.ID] = true
				}
			}
			if len(seen) != 4 {
				t.Errorf("Records: got %d events, want 4", len(seen))
			}
			sameRecords(t, t.records(), first)
			sameRecords(t, t.otherHistory().records(), first)
		},
	},
	{
		name:  "Records/OldestFirst",
		words: wholeWords,
		check: func(t *historian) {
			var want []store.Event
			for i := range 30 {
				e := newEvent(store.EventRefused, fmt.Sprint("m", i), i)
				want = append(want, e)
				t.record(e)
			}
			t.waits(want...)
			all := t.records()
			if !slices.IsSorted(ids(all)) {
				t.Errorf("Records: the IDs %q are not in order", ids(all))
			}
			some, err := t.Records(t.Context(), 7)
			t.ok(err, "Records")
			if n := len(some); n < 1 || n > 10 {
				t.Errorf("Records with a limit of 7 events: got %d records of one event", n)
			}
			sameRecords(t, some, all[:len(some)])
		},
	},
	{
		name:  "Records/Whole",
		words: wholeWords,
		check: func(t *historian) {
			t.putWith("m1", events(store.EventAccepted, "m1", 20)...)
			t.record(newEvent(store.EventRefused, "", 0))
			for _, limit := range []int{-1, 0, 1, 10} {
				some, err := t.Records(t.Context(), limit)
				t.ok(err, "Records")
				if len(some) != 1 || len(some[0].Events) != 20 {
					t.Errorf("Records with a limit of %d: got %d records, want the one of 20 events", limit, len(some))
				}
			}
		},
	},
	{
		name:  "Records/OfNoSpool",
		words: "A Spool keeps accepted mail until every recipient of it is settled. Depth returns how much the spool holds.",
		check: func(t *historian) {
			t.record(events(store.EventRefused, "m1", 3)...)
			t.deep(store.Depth{})
			if got := t.all(); len(got) > 0 {
				t.Errorf("Deliveries: got %+v, want none", got)
			}
			backlogs, err := t.Backlogs(t.Context())
			t.ok(err, "Backlogs")
			nodes, err := t.Nodes(t.Context())
			t.ok(err, "Nodes")
			if got := t.lease(soon.AddDate(1, 0, 0), 10); len(got)+len(backlogs)+len(nodes) > 0 {
				t.Errorf("got leased %+v, backlogs %+v and nodes %+v, want none", got, backlogs, nodes)
			}
			for _, r := range t.records() {
				t.gone(r.ID)
				t.loses(store.Outcome{Mail: r.ID, Done: true})
			}
			t.put("m1", 1)
			t.deep(store.Depth{Deliveries: 1, Oldest: day})
			t.settle(done(t.take(soon, 1)[0]))
			t.deep(store.Depth{})
			if got := len(t.waiting()); got != 3 {
				t.Errorf("Records: got %d events, want 3", got)
			}
		},
	},
}

// awkwardEvents returns events whose fields are hard to keep.
func awkwardEvents() (list []store.Event) {
	list = append(list, store.Event{Kind: store.EventRefused, Time: day, Received: day, Tenant: acme})
	for i, text := range []string{"", " ", "Grüße, 🦄", "caf\xe9 \xff\xfe", "nul \x00 byte", "line\r\nline", strings.Repeat("\xff", 255)} {
		list = append(list, store.Event{
			Kind: store.EventKind(1 + i), Time: time.UnixMicro(int64(i) - 3).UTC(), Received: time.Time{}, Tenant: rival, Domain: text, Username: text,
			Mail: "m1", N: i, From: text, Author: text, Recipient: text, Subject: text, MessageID: text, Remote: addr4, Size: int64(i) - 1,
			Attempt: i, NextAttempt: time.UnixMicro(int64(i) + 1).UTC(), Reply: store.Reply{Code: 550 + i, Enhanced: text, Text: text, Host: text}, Field: text, Reason: text, Times: i,
		})
	}
	long := list[len(list)-1]
	long.Reason, long.MessageID, long.From = strings.Repeat("\xff", 16_384), strings.Repeat("é", 512), strings.Repeat("x", 1024)
	long.Time = time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)
	list = append(list, long)
	for _, addr := range []string{"192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0", "::"} {
		e := long
		e.Remote, e.Size, e.N, e.Reason = netip.MustParseAddr(addr), 1<<62, store.MaxDeliveries, ""
		list = append(list, e)
	}
	return list
}

// checkID reports an ID that has other characters than letters, digits and extra.
func checkID(t *historian, id, extra string) {
	t.Helper()
	if id == "" || strings.Trim(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"+extra) != "" {
		t.Errorf("got the ID %q, want letters, digits and %q", id, extra)
	}
}

// sameRecords compares records.
func sameRecords(t *historian, got, want []store.Record) {
	t.Helper()
	equal := func(a, b store.Record) bool {
		return a.ID == b.ID && a.Damage == b.Damage && slices.Equal(a.Events, b.Events)
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("Records:\n got %+.5v\nwant %+.5v", got, want)
	}
}
