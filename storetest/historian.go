package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A historian is the history of one case, with the checks that cases have in
// common.
type historian struct {
	*spooler
	store.History
	openAnother func() store.History
}

func newHistorian(t *testing.T, open func() store.History) *historian {
	t.Helper()
	h := open()
	if h == nil {
		t.Fatal("the function that fresh returned opened nil")
	}
	sp, ok := h.(store.Spool)
	if !ok {
		t.Fatalf("%T is no store.Spool, but the events of a Put must be recorded in its step", h)
	}
	openSpool := func() store.Spool { return open().(store.Spool) }
	return &historian{spooler: &spooler{T: t, Spool: sp, open: openSpool}, History: h}
}

// otherHistory returns a historian of a second handle on the data.
func (t *historian) otherHistory() *historian {
	t.Helper()
	h := newHistorian(t.T, t.openAnother)
	h.openAnother = t.openAnother
	return h
}

// newEvent returns an event with something in each field that a Put records.
func newEvent(kind store.EventKind, mail string, n int) store.Event {
	return store.Event{
		Kind: kind, Time: day.Add(time.Second), Received: day, Tenant: acme, Domain: acmeDomain, Username: "u1",
		Mail: mail, N: n, From: "shop@" + acmeDomain, Author: "anna@" + acmeDomain, Recipient: fmt.Sprintf("to%d@example.net", n),
		Subject: "Your order", MessageID: "<1@" + acmeDomain + ">", Remote: addr6, Size: 4096,
		Grants: "g1 2 month/tenant/acme",
	}
}

// events returns an event of the kind for each of n recipients.
func events(kind store.EventKind, mail string, n int) []store.Event {
	list := make([]store.Event, n)
	for i := range list {
		list[i] = newEvent(kind, mail, i)
	}
	return list
}

// putWith puts a mail with one recipient for each event, and the events.
func (t *historian) putWith(id string, events ...store.Event) []store.Delivery {
	t.Helper()
	m, d := newMail(id), newDeliveries(max(1, len(events)))
	t.ok(t.Put(t.Context(), m, d, strings.NewReader(content(id)), events...), "Put(%q) with %d events", id, len(events))
	return ofMail(id, d)
}

// record records events.
func (t *historian) record(events ...store.Event) {
	t.Helper()
	t.ok(t.Record(t.Context(), events), "Record of %d events", len(events))
}

// records returns the records that wait.
func (t *historian) records() []store.Record {
	t.Helper()
	list, err := t.Records(t.Context(), 1_000_000)
	t.ok(err, "Records")
	return list
}

// waiting returns the events that wait, without their IDs.
func (t *historian) waiting() []store.Event {
	t.Helper()
	var all []store.Event
	for _, r := range t.records() {
		if r.Damage != "" {
			t.Errorf("Records: %s is damaged: %s", r.ID, r.Damage)
		}
		for _, e := range r.Events {
			e.ID = ""
			all = append(all, e)
		}
	}
	return all
}

// waits checks which events wait.
func (t *historian) waits(want ...store.Event) {
	t.Helper()
	got := t.waiting()
	if len(got) != len(want) {
		t.Errorf("Records: got %d events, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("Records: event %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// ids returns the IDs of records.
func ids(records []store.Record) (list []string) {
	for _, r := range records {
		list = append(list, r.ID)
	}
	return list
}

// apply applies changes and no records.
func (t *historian) apply(c store.Changes) {
	t.Helper()
	t.ok(t.Apply(t.Context(), nil, c), "Apply")
}

// applies applies activities, each with a change.
func (t *historian) applies(activities ...store.Activity) {
	t.Helper()
	var c store.Changes
	for _, a := range activities {
		c.Activities = append(c.Activities, store.ActivityChange{Activity: a})
	}
	t.apply(c)
}

// newActivity returns an activity with something in each field.
func newActivity(mail string, n int) store.Activity {
	return store.Activity{
		Tenant: acme, Mail: mail, N: n, Domain: acmeDomain, Username: "u1", From: "shop@" + acmeDomain, Author: "anna@" + acmeDomain,
		Recipient: fmt.Sprintf("to%d@example.net", n), Subject: "Your order", MessageID: "<1@" + acmeDomain + ">",
		Received: day, Size: 4096, State: store.ActivityDelivered, Order: 100, Updated: day.Add(time.Minute), Attempt: 2, NextAttempt: day.Add(time.Hour),
		Reply: store.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued", Host: "mx.example.net"}, Field: "To", Reason: "why",
		Times: 3, Trail: "trail;",
	}
}

// allRecipients selects all recipients of the mails of these cases.
var allRecipients = store.RecipientFilter{From: -1, Limit: 1 << 20}

// is checks the activities of a mail.
func (t *historian) is(tenant store.TenantID, mail string, want ...store.Activity) {
	t.Helper()
	got, err := t.Recipients(t.Context(), tenant, mail, allRecipients)
	t.ok(err, "Recipients(%q, %q)", tenant, mail)
	if !slices.Equal(got, want) {
		t.Errorf("Recipients(%q, %q):\n got %+v\nwant %+v", tenant, mail, got, want)
	}
}

// list returns the mails on all pages of a filter.
func (t *historian) list(tenant store.TenantID, f store.ActivityFilter) (mails []string) {
	t.Helper()
	for range 1000 {
		page, err := t.Activities(t.Context(), tenant, f)
		t.ok(err, "Activities(%q, %+v)", tenant, f)
		for _, a := range page.List {
			mails = append(mails, a.Mail)
		}
		if f.After = page.Next; f.After == "" {
			return mails
		}
	}
	t.Fatalf("Activities(%q, %+v): a thousand pages have no end", tenant, f)
	return nil
}

// sums returns the counts of a filter.
func (t *historian) sums(tenant store.TenantID, f store.CountFilter) []store.Count {
	t.Helper()
	list, err := t.Counts(t.Context(), tenant, f)
	t.ok(err, "Counts(%q, %+v)", tenant, f)
	return list
}
