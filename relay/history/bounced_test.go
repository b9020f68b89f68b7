package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var noSuchUser = &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.example.com"}

func bounced(t *testing.T, h *History, recipient string, r *relay.ReplyError) {
	t.Helper()
	apply(t, h)
	if err := h.Bounced(t.Context(), "acme", "m1", recipient, r); err != nil {
		t.Fatal(err)
	}
	apply(t, h)
}

// apply applies everything that waits.
func apply(t *testing.T, h *History) {
	t.Helper()
	if err := h.applyUntil(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// A late bounce changes the state and the counts of the hour in which the message was
// accepted, and the trail shows both ends.
func TestBounced(t *testing.T) {
	for _, test := range []struct {
		name  string
		reply *relay.ReplyError
		state store.ActivityState
		kind  store.EventKind
	}{
		{"hard", noSuchUser, store.ActivityHardBounced, store.EventLateHardBounced},
		{"soft", &relay.ReplyError{Code: 452, Enhanced: "4.2.2", Text: "mailbox full"}, store.ActivitySoftBounced, store.EventLateSoftBounced},
		{"soft by its enhanced code", &relay.ReplyError{Code: 550, Enhanced: "4.2.2"}, store.ActivitySoftBounced, store.EventLateSoftBounced},
		{"soft by its code", &relay.ReplyError{Code: 450}, store.ActivitySoftBounced, store.EventLateSoftBounced},
		{"without codes", &relay.ReplyError{Text: "gone"}, store.ActivityHardBounced, store.EventLateHardBounced},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &History{Store: new(memory.Store)}
			put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
			bounced(t, h, "BOB0@example.com", test.reply)
			got := only(t, h, "m1")
			if got.State != test.state || got.Reply.Text != test.reply.Text || got.Reply.Host != test.reply.Host || got.Attempt != 1 {
				t.Errorf("%+v", got.Activity)
			}
			if n := len(got.Events); n != 3 || got.Events[1].Kind != store.EventDelivered || got.Events[2].Kind != test.kind {
				t.Errorf("%+v, want accepted, delivered, late", got.Events)
			}
			counts, err := h.Store.Counts(t.Context(), "acme", store.CountFilter{From: noon, Until: noon.Add(time.Hour)})
			if err != nil || len(counts) != 1 || counts[0].Delivered != 0 || counts[0].SoftBounced+counts[0].HardBounced != 1 {
				t.Errorf("%+v, %v, want one bounce in the hour of the message", counts, err)
			}
			before := got.Events
			bounced(t, h, "bob0@example.com", noSuchUser)
			if got := only(t, h, "m1"); len(got.Events) != len(before) || got.State != test.state {
				t.Errorf("the second report changed something: %+v", got)
			}
		})
	}
}

// A report changes nothing if the recipient is not delivered, or the mail is unknown.
func TestBouncedNothing(t *testing.T) {
	for _, kind := range []store.EventKind{store.EventSoftBounced, store.EventHardBounced, store.EventCanceled} {
		h := &History{Store: new(memory.Store)}
		put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(kind, 5).events...)
		bounced(t, h, "bob0@example.com", noSuchUser)
		if got := only(t, h, "m1"); got.State != stateOf(kind) || len(got.Events) != 2 {
			t.Errorf("after %d: %+v", kind, got)
		}
	}
	h := &History{Store: new(memory.Store)}
	put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	apply(t, h)
	for _, other := range []struct {
		tenant store.TenantID
		mail   string
	}{{"globex", "m1"}, {"", "m1"}, {"acme", "m2"}} {
		if err := h.Bounced(t.Context(), other.tenant, other.mail, "bob0@example.com", noSuchUser); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), other.mail) {
			t.Errorf("%+v: %v, want not found", other, err)
		}
	}
	if _, err := h.Tenant("globex").Mail(t.Context(), "m1", store.RecipientFilter{}); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if got := only(t, h, "m1"); got.State != store.ActivityDelivered {
		t.Errorf("%+v", got)
	}
}

// A late bounce needs a reply that refuses.
func TestBouncedMistakes(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	apply(t, h)
	for want, err := range map[string]error{
		"nil": h.Bounced(t.Context(), "acme", "m1", "bob0@example.com", nil),
		"250": h.Bounced(t.Context(), "acme", "m1", "bob0@example.com", &relay.ReplyError{Code: 250}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	apply(t, h)
	if got := only(t, h, "m1"); got.State != store.ActivityDelivered {
		t.Errorf("%+v", got.Activity)
	}
}

// A report that comes before the delivery is recorded gives the same as one after it.
func TestBouncedEarly(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5)
	put(t, h.Store, l.events[0])
	bounced(t, h, "bob0@example.com", noSuchUser)
	put(t, h.Store, l.events[1])
	h.applyUntil(t.Context(), time.Now().Add(time.Hour))
	if got := only(t, h, "m1"); got.State != store.ActivityHardBounced || len(got.Events) != 3 || got.Events[2].Kind != store.EventLateHardBounced {
		t.Errorf("%+v", got)
	}
	if c := total(t, h.Store); c.Delivered != 0 || c.HardBounced != 1 {
		t.Errorf("%+v", c)
	}
}

// A report about an address that the mail was not sent to is in the trail, and changes
// no state. A report without an address is about the only recipient.
func TestBouncedOther(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for n := range 2 {
		put(t, h.Store, newLife("m1", n).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	}
	var published []store.Event
	bounced(t, h, "member@example.com", noSuchUser)
	bounced(t, h, "", noSuchUser)
	page, err := h.Tenant("acme").Mail(t.Context(), "m1", store.RecipientFilter{})
	if err != nil || len(page.Recipients) != 2 {
		t.Fatal(page, err)
	}
	for _, r := range page.Recipients {
		published = append(published, r.Events...)
		if r.State != store.ActivityDelivered {
			t.Errorf("%+v", r.Activity)
		}
	}
	if e := published[2]; e.Kind != store.EventReported || e.Recipient != "bob0@example.com" || !strings.HasPrefix(e.Reason, "member@example.com: no such") {
		t.Errorf("%+v", e)
	}
	if c := total(t, h.Store); c.Delivered != 2 || c.HardBounced != 0 {
		t.Errorf("%+v", c)
	}

	h = &History{Store: new(memory.Store)}
	put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	bounced(t, h, "", noSuchUser)
	if got := only(t, h, "m1"); got.State != store.ActivityHardBounced {
		t.Errorf("%+v", got)
	}
}

// A report about an erased recipient brings nothing of it back, wherever it stands in
// the mail, into no trail and to no webhook.
func TestBouncedErased(t *testing.T) {
	reply := &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "<bob@example.com>: no such user", Host: "mx.example.com"}
	for _, test := range []struct{ n, recipients, published int }{{0, 1, 0}, {0, 3, 0}, {2, 3, 1}} {
		var published []store.Event
		h := &History{Store: new(memory.Store)}
		for n := range test.recipients {
			l := newLife("m1", n)
			if n == test.n {
				l.base.Recipient = "bob@example.com"
			}
			put(t, h.Store, l.then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
		}
		if n, err := h.Tenant("acme").Erase(t.Context(), "bob@example.com"); err != nil || n != 1 {
			t.Fatalf("erased %d, %v", n, err)
		}
		h.Publish = func(_ context.Context, events []store.Event) error {
			published = append(published, events...)
			return nil
		}
		bounced(t, h, "bob@example.com", reply)
		page, err := h.Tenant("acme").Mail(t.Context(), "m1", store.RecipientFilter{})
		if err != nil || len(page.Recipients) != test.recipients {
			t.Fatalf("%+v, %v", page, err)
		}
		if all := fmt.Sprintf("%+v %+v", page, published); strings.Contains(all, "bob@") || len(published) != test.published {
			t.Errorf("recipient %d of %d: got %s", test.n, test.recipients, all)
		}
		if got := total(t, h.Store); got.Delivered != int64(test.recipients) || got.HardBounced != 0 {
			t.Errorf("recipient %d of %d: %+v", test.n, test.recipients, got)
		}
	}
}

// Somebody who sends a report again and again does not make the trail grow without end.
func TestBouncedOften(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	put(t, h.Store, newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	text := &relay.ReplyError{Code: 550, Text: strings.Repeat("no ", 300)}
	for range 200 {
		bounced(t, h, "member@example.com", text)
	}
	if n := len(only(t, h, "m1").Events); n < 10 || n > 100 {
		t.Errorf("the trail has %d events, want about 64 KiB of them", n)
	}
	bounced(t, h, "bob0@example.com", noSuchUser)
	if got := only(t, h, "m1"); got.State != store.ActivityHardBounced {
		t.Errorf("a report about the recipient itself left the state %v", got.State)
	}
}

// Erase reaches what waits to be applied, and what comes later.
func TestErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDelivered, 5)
		put(t, h.Store, l.events[0])
		h.OnRelayEvent(refusedTo("Bob0@example.com"))
		n, err := h.Tenant("acme").Erase(t.Context(), "BOB0@example.com")
		if n != 2 || err != nil {
			t.Errorf("erased %d, %v, want 2", n, err)
		}
		put(t, h.Store, l.events[1])
		list := activities(t, h, store.ActivityFilter{})
		if len(list) != 2 {
			t.Fatalf("%d activities, want 2", len(list))
		}
		for _, a := range list {
			if !a.Erased || a.Recipient != "" || a.Reason != "" {
				t.Errorf("%+v", a)
			}
		}
		if got := only(t, h, "m1"); got.State != store.ActivityDelivered || len(got.Events) != 0 {
			t.Errorf("%+v", got)
		}
		if c := total(t, h.Store); c.Accepted != 1 || c.Delivered != 1 || c.Rejected != 1 {
			t.Errorf("%+v", c)
		}
		if n, err := h.Tenant("globex").Erase(t.Context(), "bob0@example.com"); n != 0 || err != nil {
			t.Errorf("another tenant erased %d, %v", n, err)
		}
	})
}

// If what waits cannot be applied, Erase fails and says so.
func TestEraseFails(t *testing.T) {
	st := &hooked{Store: new(memory.Store)}
	put(t, st, sent(1)...)
	st.records = func(context.Context, int) ([]store.Record, error) { return nil, errStore }
	h := &History{Store: st}
	if _, err := h.Tenant("acme").Erase(t.Context(), "bob0@example.com"); !errors.Is(err, errStore) {
		t.Errorf("%v, want the store's error", err)
	}
}

// A step keeps only what it needs of mails with many recipients, however many of them
// have a bounce.
func TestManyRecipients(t *testing.T) {
	st := new(memory.Store)
	h := &History{Store: st}
	var ends []store.Event
	for mail := range 20 {
		for n := range 100 {
			l := newLife(fmt.Sprintf("m%d", mail), n).then(store.EventAccepted, 0).then(store.EventHardBounced, 5)
			put(t, st, l.events[0])
			if n == 50 {
				ends = append(ends, l.events[1])
			}
		}
	}
	if err := h.applyUntil(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	found, err := h.before(t.Context(), sorted([]store.Record{{Events: ends}}))
	if err != nil || len(found) != len(ends) {
		t.Errorf("%d activities are kept for %d events, %v", len(found), len(ends), err)
	}
}

// Erase waits for a Publish that hangs no longer than its context lasts.
func TestEraseWhilePublishHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		h := &History{Store: new(memory.Store), Publish: func(context.Context, []store.Event) error {
			<-hang
			return nil
		}}
		put(t, h.Store, sent(1)...)
		stop := start(t, h)
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		erased := make(chan error, 1)
		go func() {
			_, err := h.Tenant("acme").Erase(ctx, "bob0@example.com")
			erased <- err
		}()
		select {
		case err := <-erased:
			if err == nil {
				t.Error("erased, although events wait")
			}
		case <-time.After(10 * time.Second):
			t.Error("Erase hangs")
		}
		close(hang)
		stop()
	})
}
