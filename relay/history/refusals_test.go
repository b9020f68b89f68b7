package history

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var shop = relay.Client{
	Remote:   netip.MustParseAddr("192.0.2.7"),
	Identity: credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u1"},
}

func refusedTo(to ...string) *relay.MessageRefused {
	return &relay.MessageRefused{Client: shop, From: "shop@acme.example", To: to, Field: relay.FieldRcptTo, Code: 550, Enhanced: "5.1.1", Reason: "no such user"}
}

// activities returns what the tenant sees, after everything was recorded and applied.
func activities(t *testing.T, h *History, f store.ActivityFilter) []store.Activity {
	t.Helper()
	if err := h.applyUntil(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.Limit = 10_000
	page, err := h.Tenant("acme").Activities(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return page.List
}

// The same refusal within an hour is one activity, recorded at once or not.
func TestSameRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store)}
		first := time.Now()
		for range 3 {
			for i := range 5 {
				e := refusedTo("bob@example.com")
				e.Remote = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				h.OnRelayEvent(e)
				time.Sleep(time.Second)
			}
			if err := h.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list := activities(t, h, store.ActivityFilter{})
		if len(list) != 1 {
			t.Fatalf("%d activities, want 1", len(list))
		}
		a := list[0]
		if a.Times != 15 || a.State != store.ActivityRejected || a.Recipient != "bob@example.com" || a.Field != "RCPT TO" ||
			a.Reply != (store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}) || a.Reason != "no such user" || !a.Received.Equal(first) || a.Updated.Sub(first) != 14*time.Second {
			t.Errorf("%+v", a)
		}
		if c := total(t, h.Store); c.Rejected != 15 || c.Accepted != 0 {
			t.Errorf("counts %+v, want 15 rejected", c)
		}
		if got := only(t, h, a.Mail); got.Times != 15 {
			t.Errorf("%+v, want 15 times", got)
		}

		time.Sleep(time.Hour)
		h.OnRelayEvent(refusedTo("bob@example.com"))
		if list := activities(t, h, store.ActivityFilter{}); len(list) != 2 {
			t.Errorf("%d activities an hour later, want 2", len(list))
		}
	})
}

// The event of a refusal that is published has the ID of its activity, so that it can be
// found: also those beyond MaxRefusals, and refused logins.
func TestIDOfRefusal(t *testing.T) {
	var published []store.Event
	h := &History{Store: new(memory.Store), MaxRefusals: 2, Publish: func(_ context.Context, events []store.Event) error {
		published = append(published, events...)
		return nil
	}}
	data := refusedTo("eve@example.com")
	data.ID, data.Field = "of the server", relay.FieldData
	h.OnRelayEvent(data)
	h.OnRelayEvent(&relay.LoginRefused{Client: shop, Cause: relay.CauseWrongPassword, Code: 535})
	h.OnRelayEvent(refusedTo("beyond@example.com"))
	list := activities(t, h, store.ActivityFilter{})
	if len(list) != 3 || len(published) != 3 {
		t.Fatalf("%d activities and %d events, want 3", len(list), len(published))
	}
	for _, e := range published {
		if got := only(t, h, e.Mail); got.Field != e.Field {
			t.Errorf("the ID of %+v leads to %+v", e, got.Activity)
		}
		if tenant, err := h.TenantOf(t.Context(), e.Mail); tenant != "acme" || err != nil {
			t.Errorf("%q, %v", tenant, err)
		}
	}
}

// A refusal that no store can keep is dropped, and holds up no other.
func TestUnkeepableRefusal(t *testing.T) {
	st := &hooked{Store: new(memory.Store)}
	st.record = func(ctx context.Context, events []store.Event) error {
		for _, e := range events {
			if len(e.Tenant) > 255 || !utf8.ValidString(string(e.Tenant)) || strings.Contains(string(e.Tenant), "\x00") || max(len(e.Domain), len(e.Username)) > 1024 {
				return errStore
			}
		}
		return st.Store.Record(ctx, events)
	}
	var log bytes.Buffer
	h := &History{Store: st, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	wrong := []credentials.Identity{
		{Tenant: "a\xff"}, {Tenant: "a\x00"}, {Tenant: store.TenantID(strings.Repeat("a", 256))},
		{Tenant: "acme", Domain: strings.Repeat("a", 1025)}, {Tenant: "acme", Username: strings.Repeat("a", 1025)},
	}
	for _, id := range wrong {
		e := refusedTo("bob@example.com")
		e.Identity = id
		h.OnRelayEvent(e)
		h.OnRelayEvent(&relay.LoginRefused{Client: e.Client, Cause: relay.CauseWrongPassword, Code: 535})
	}
	h.OnRelayEvent(refusedTo("bob@example.com"))
	if list := activities(t, h, store.ActivityFilter{}); len(list) != 1 || list[0].Recipient != "bob@example.com" {
		t.Errorf("%+v, want the refusal of bob@example.com", list)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2*len(wrong) || log.Len() > 10*4096 {
		t.Errorf("the log has %d errors in %d bytes, want %d", n, log.Len(), 2*len(wrong))
	}
}

// Refusals that differ in what a person would look at are different activities.
func TestDifferentRefusals(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	h.OnRelayEvent(refusedTo("bob@example.com"))
	for _, change := range []func(*relay.MessageRefused){
		func(e *relay.MessageRefused) { e.Identity.Username = "u2" },
		func(e *relay.MessageRefused) { e.Field = relay.FieldFrom },
		func(e *relay.MessageRefused) { e.Code = 552 },
		func(e *relay.MessageRefused) { e.Reason = "too large" },
		func(e *relay.MessageRefused) { e.From = "crm@acme.example" },
		func(e *relay.MessageRefused) { e.To = []string{"eve@example.com"} },
		func(e *relay.MessageRefused) { e.To = nil },
		func(e *relay.MessageRefused) { e.Remote = netip.MustParseAddr("192.0.3.7") },
		func(e *relay.MessageRefused) { e.Remote = netip.MustParseAddr("2001:db8::7") },
	} {
		e := refusedTo("bob@example.com")
		change(e)
		h.OnRelayEvent(e)
	}
	e := refusedTo("bob@example.com")
	e.Identity.Tenant = "globex"
	h.OnRelayEvent(e)
	if list := activities(t, h, store.ActivityFilter{}); len(list) != 10 {
		t.Errorf("%d activities, want 10", len(list))
	}
}

// A login that was refused is kept if the user exists. It counts for no recipient, and
// says from which network it came.
func TestLoginRefused(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	unknown := relay.Client{Remote: shop.Remote}
	for _, e := range []relay.Event{
		&relay.LoginRefused{Client: shop, Cause: relay.CauseWrongPassword, Code: 535, Reason: "username or password is wrong"},
		&relay.LoginRefused{Client: shop, Cause: relay.CauseNoTLS, Code: 538, Reason: "use STARTTLS before AUTH"},
		&relay.LoginRefused{Client: shop, Cause: relay.CauseNetwork, Code: 535, Reason: "username or password is wrong"},
		&relay.LoginRefused{Client: unknown, Username: "nobody", Cause: relay.CauseUnknownUser, Code: 535},
		&relay.MessageRefused{Client: unknown, Field: relay.FieldMailFrom, Code: 530},
		&relay.CommandRefused{Client: shop, Code: 500},
		&relay.LoggedIn{Client: shop},
	} {
		h.OnRelayEvent(e)
	}
	list := activities(t, h, store.ActivityFilter{})
	if len(list) != 3 {
		t.Fatalf("%d activities, want 3: %+v", len(list), list)
	}
	reasons := list[0].Reason + "\n" + list[1].Reason + "\n" + list[2].Reason
	for _, want := range []string{"wrong password, from 192.0.2.0/24", "reset it, from 192.0.2.0/24", "network not allowed, from 192.0.2.0/24"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("the reasons are %q, want %q", reasons, want)
		}
	}
	for _, a := range list {
		if a.Field != "AUTH" || a.Username != "u1" || a.State != store.ActivityRejected || a.Times != 1 {
			t.Errorf("%+v", a)
		}
	}
	if c := total(t, h.Store); c != (store.Count{}) {
		t.Errorf("counts %+v, want none", c)
	}
}

// A login of a program of the product has no address, so its reason names no network.
func TestLoginRefusedWithoutAddress(t *testing.T) {
	h, client := &History{Store: new(memory.Store)}, shop
	client.Remote = netip.Addr{}
	h.OnRelayEvent(&relay.LoginRefused{Client: client, Cause: relay.CauseWrongPassword, Code: 535})
	if list := activities(t, h, store.ActivityFilter{}); len(list) != 1 || list[0].Reason != "wrong password" {
		t.Errorf("got %+v, want one activity with the reason \"wrong password\"", list)
	}
}

// A store may refuse texts that are too long. A function of the product that gives such
// a reason does not keep the refusals of others from being recorded.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	st := &hooked{Store: new(memory.Store)}
	st.record = func(ctx context.Context, events []store.Event) error {
		for _, e := range events {
			if len(e.From+e.Author+e.Recipient+e.Subject+e.MessageID+e.Field+e.Reason+e.Reply.Text+e.Reply.Host) > 10*1024 {
				return errStore
			}
		}
		return st.Store.Record(ctx, events)
	}
	h := &History{Store: st}
	h.OnRelayEvent(&relay.MessageRefused{Client: shop, From: long, To: []string{long}, Code: 550, Reason: long, MessageID: long})
	h.OnRelayEvent(&relay.LoginRefused{Client: shop, Cause: relay.CauseNotAllowed, Code: 535, Reason: long})
	h.OnRelayEvent(refusedTo("bob@example.com"))
	if got := activities(t, h, store.ActivityFilter{}); len(got) != 3 {
		t.Errorf("%d activities, want 3", len(got))
	}
}

// A refused message shows its subject, unless it must not.
func TestNoSubjects(t *testing.T) {
	for _, without := range []bool{false, true} {
		h := &History{Store: new(memory.Store), NoSubjects: without}
		e := refusedTo("bob@example.com")
		e.Subject = "Your order"
		h.OnRelayEvent(e)
		if a := activities(t, h, store.ActivityFilter{})[0]; (a.Subject == "") != without {
			t.Errorf("NoSubjects %v: subject %q", without, a.Subject)
		}
	}
}

// A tenant has a bounded number of activities an hour, whatever is refused, and every
// refusal counts.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Store: new(memory.Store), MaxRefusals: 50}
		const n = 5000
		for i := range n {
			h.OnRelayEvent(refusedTo(fmt.Sprintf("bob%d@example.com", i)))
			if i%1000 == 0 {
				activities(t, h, store.ActivityFilter{})
			}
		}
		list := activities(t, h, store.ActivityFilter{})
		if len(list) != 51 {
			t.Errorf("%d activities, want 51", len(list))
		}
		times := 0
		for _, a := range list {
			times += a.Times
		}
		if c := total(t, h.Store); times != n || c.Rejected != n || c.Username != "" {
			t.Errorf("%d times in the list, %+v, want %d", times, c, n)
		}
		if counts, err := h.Tenant("acme").Users(t.Context(), Last(1, time.Now(), nil), ""); err != nil || len(counts) != 1 || counts[0].Username != "u1" {
			t.Errorf("%+v, %v, want all for u1", counts, err)
		}
		time.Sleep(time.Hour)
		h.OnRelayEvent(refusedTo("late@example.com"))
		if list := activities(t, h, store.ActivityFilter{Recipient: "late@example.com"}); len(list) != 1 {
			t.Error("the next hour has no room")
		}
	})
}

// A client with PIPELINING sends DATA before it knows that its recipient was refused.
// The reply to that does not count once more.
func TestOutOfOrder(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	h.OnRelayEvent(refusedTo("bob@example.com"))
	h.OnRelayEvent(&relay.MessageRefused{Client: shop, From: "shop@acme.example", Field: relay.FieldData, Code: 503, Reason: "no recipient was accepted"})
	if list := activities(t, h, store.ActivityFilter{}); len(list) != 1 || list[0].Recipient != "bob@example.com" {
		t.Errorf("%d activities, want that of bob@example.com", len(list))
	}
	if c := total(t, h.Store); c.Rejected != 1 {
		t.Errorf("%d rejected, want 1", c.Rejected)
	}
}

// A message to many recipients that is refused does not use up the hour.
func TestRefusedToMany(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	var to []string
	for i := range 5000 {
		to = append(to, fmt.Sprintf("bob%d@example.com", i))
	}
	h.OnRelayEvent(refusedTo(to...))
	if list := activities(t, h, store.ActivityFilter{}); len(list) != maxOfMessage+1 {
		t.Errorf("%d activities, want %d", len(list), maxOfMessage+1)
	}
	if c := total(t, h.Store); c.Rejected != 5000 {
		t.Errorf("%d rejected, want 5000", c.Rejected)
	}
}

// If many tenants have many refusals, each still has some of its own.
func TestManyTenants(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for tenant := range maxKept/1000 + 5 {
		for i := range 1000 {
			e := refusedTo(fmt.Sprintf("bob%d@example.com", i))
			e.Identity.Tenant = store.TenantID(fmt.Sprintf("t%d", tenant))
			h.OnRelayEvent(e)
		}
		h.gathered.waiting = nil
	}
	if want := maxKept + 5*fewKept; h.gathered.total != want {
		t.Errorf("%d refusals are remembered, want %d", h.gathered.total, want)
	}
}

// Memory is bounded while the store fails, whatever is refused for how many users.
func TestGathererBounded(t *testing.T) {
	st := &hooked{Store: new(memory.Store), record: func(context.Context, []store.Event) error { return errStore }}
	h := &History{Store: st, Logger: slog.New(slog.DiscardHandler)}
	for i := range 2*maxWaiting + 1000 {
		e := refusedTo(fmt.Sprintf("bob%d@example.com", i))
		e.Identity.Tenant = store.TenantID(fmt.Sprintf("t%d", i))
		h.OnRelayEvent(e)
		if i == maxWaiting {
			if err := h.flush(t.Context()); err == nil {
				t.Fatal("flush succeeded")
			}
		}
	}
	if n := len(h.gathered.waiting); n != 2*maxWaiting {
		t.Errorf("%d wait, want %d", n, 2*maxWaiting)
	}
	if h.gathered.lost != 1000 {
		t.Errorf("%d lost, want 1000", h.gathered.lost)
	}
}

// OnRelayEvent does not wait for the store. At its end Run records what was gathered.
func TestGatheredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &hooked{Store: new(memory.Store)}
		st.record = func(ctx context.Context, events []store.Event) error {
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			return st.Store.Record(ctx, events)
		}
		h := &History{Store: st}
		stop := start(t, h)
		for range 3 {
			began := time.Now()
			h.OnRelayEvent(refusedTo("bob@example.com"))
			if time.Since(began) > 0 {
				t.Error("OnRelayEvent waited")
			}
			time.Sleep(1100 * time.Millisecond)
		}
		stop()
		if len(h.gathered.waiting) > 0 {
			t.Error("Run ended before everything was recorded")
		}
		if list := activities(t, h, store.ActivityFilter{}); len(list) != 1 || list[0].Times != 3 {
			t.Errorf("%+v, want one with 3 times", list)
		}
	})
}
