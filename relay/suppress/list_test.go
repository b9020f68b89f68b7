package suppress_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// add adds what a person enters.
func (l *list) add(tenant store.TenantID, addrs ...string) {
	l.t.Helper()
	for _, addr := range addrs {
		if err := l.Add(l.t.Context(), tenant, addr, store.SuppressedByPerson, "asked us to"); err != nil {
			l.t.Fatalf("Add(%q): %v", addr, err)
		}
	}
}

func TestReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is the 1st of January 2000
		l := newList(t)
		l.learn(l.bounced("learned@example.net", noSuchUser), l.event(store.EventHardBounced, "gone@nowhere.example", "", "550 5.1.2 the domain doesn't exist"))
		for addr, source := range map[string]store.SuppressionSource{"person@example.net": store.SuppressedByPerson, "complaint@example.net": store.SuppressedByComplaint} {
			if err := l.Add(t.Context(), "acme", addr, source, "case\r\n12"); err != nil {
				t.Fatal(err)
			}
			if err := l.Add(t.Context(), "acme", "no."+addr, source, ""); err != nil {
				t.Fatal(err)
			}
		}
		for addr, want := range map[string]relay.ReplyError{
			"learned@example.net":      {Code: 550, Enhanced: "5.1.1", Text: ": mx.example.net replied 550 5.1.1 no such user"},
			"gone@nowhere.example":     {Code: 550, Enhanced: "5.1.1", Text: ": 550 5.1.2 the domain doesn't exist"},
			"person@example.net":       {Code: 550, Enhanced: "5.7.1", Text: ": case 12"},
			"no.person@example.net":    {Code: 550, Enhanced: "5.7.1", Text: ""},
			"complaint@example.net":    {Code: 550, Enhanced: "5.7.1", Text: ": complaint, case 12"},
			"no.complaint@example.net": {Code: 550, Enhanced: "5.7.1", Text: ": complaint"},
		} {
			want.Text = "<" + addr + "> is on the suppression list since 1 January 2000" + want.Text
			if got := ask(t, l.List, "acme", addr); got == nil || *got != want {
				t.Errorf("%s: got %+v, want %+v", addr, got, want)
			}
		}
	})
}

func TestTenantsHaveListsOfTheirOwn(t *testing.T) {
	l := newList(t)
	l.add("acme", "bob@example.net")
	l.learn(l.bounced("eve@example.net", noSuchUser))
	e := l.bounced("carol@example.net", noSuchUser)
	e.Tenant = "rival"
	l.learn(e)
	for _, addr := range []string{"bob@example.net", "eve@example.net"} {
		if r := ask(t, l.List, "rival", addr); r != nil {
			t.Errorf("the rival is told of %s: %v", addr, r)
		}
		if _, err := l.Get(t.Context(), "rival", addr); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(rival, %s): got error %v, want ErrNotFound", addr, err)
		}
		if err := l.Remove(t.Context(), "rival", addr); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "is not on the list") {
			t.Errorf("Remove(rival, %s): got error %v, want ErrNotFound with the address", addr, err)
		}
	}
	if n, err := l.RemoveAll(t.Context(), "rival", store.SuppressionFilter{Site: "example.net"}); n != 1 || err != nil {
		t.Errorf("RemoveAll(rival): got %d, %v, want 1", n, err)
	}
	l.refused("bob@example.net", "eve@example.net")
	l.allowed("carol@example.net")
}

// Which spellings are one address.
func TestSpellings(t *testing.T) {
	l := newList(t)
	l.add("acme", "Bob@Example.NET.", "ada@bücher.example", "Ü@example.net", `"a b"@example.net`, "x@[192.0.2.1]")
	l.refused("bob@example.net", "BOB@EXAMPLE.net", "Ada@xn--bcher-kva.example", "ada@BÜCHER.example", "Ü@example.net", `"A b"@example.net`, "x@[192.0.2.1]")
	l.allowed("bob+x@example.net", "b.ob@example.net", "bob@sub.example.net", "ü@example.net", "bob", "")
	got, err := l.Get(t.Context(), "acme", "BOB@example.NET")
	if err != nil || got.Address != "bob@example.net" {
		t.Errorf("Get: got %+v, %v, want bob@example.net", got, err)
	}
}

func TestAddAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		l.learn(l.bounced("bob@example.net", noSuchUser))
		since := time.Now()
		time.Sleep(time.Hour)
		l.add("acme", "bob@example.net")
		got, err := l.Get(t.Context(), "acme", "bob@example.net")
		if err != nil || !got.Since.Equal(since) || got.Source != store.SuppressedByPerson || !got.Until.IsZero() || got.Reason != "asked us to" {
			t.Errorf("got %+v, %v, want a person's since %v", got, err, since)
		}
		if err := l.Remove(t.Context(), "acme", "bob@example.net"); err != nil {
			t.Fatal(err)
		}
		if err := l.Remove(t.Context(), "acme", "bob@example.net"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Remove again: got error %v, want ErrNotFound", err)
		}
		l.allowed("bob@example.net")
		l.add("acme", "bob@example.net")
		if got, err := l.Get(t.Context(), "acme", "bob@example.net"); err != nil || !got.Since.Equal(time.Now()) {
			t.Errorf("got %+v, %v, want it since %v", got, err, time.Now())
		}
	})
}

// A person who removes an address begins at no strikes.
func TestRemoveForgetsStrikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		strike := func() {
			l.learn(l.bounced("bob@example.net", "550 5.2.1 disabled"))
			time.Sleep(day)
		}
		strike()
		strike()
		strike()
		l.refused("bob@example.net")
		if err := l.Remove(t.Context(), "acme", "bob@example.net"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		strike()
		strike()
		l.allowed("bob@example.net")
	})
}

// RemoveAll removes by site, reason, source and period, in lists of any length.
func TestRemoveAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		for i := range 2500 {
			addr := fmt.Sprintf("u%04d@big.example", i)
			l.learn(l.event(store.EventDelivered, "ok@big.example", "mx.big.example", "250 ok"), l.event(store.EventHardBounced, addr, "mx.big.example", noSuchUser))
		}
		l.add("acme", "person@big.example")
		outage := time.Now()
		time.Sleep(2 * time.Hour)
		l.learn(l.event(store.EventHardBounced, "bob@small.example", "mx.big.example", "550 5.1.1 Mailbox is GONE"), l.bounced("eve@example.net", noSuchUser))
		removeAll := func(f store.SuppressionFilter, want int) {
			t.Helper()
			if n, err := l.RemoveAll(t.Context(), "acme", f); err != nil || n != want {
				t.Errorf("RemoveAll(%+v): got %d, %v, want %d", f, n, err, want)
			}
		}
		removeAll(store.SuppressionFilter{Site: "other.example"}, 0)
		removeAll(store.SuppressionFilter{Reason: "mailbox is gone"}, 1)
		l.allowed("bob@small.example")
		removeAll(store.SuppressionFilter{Site: "big.example", Source: store.SuppressedByReply, From: outage.Add(-time.Hour), Until: outage.Add(time.Hour)}, 2500)
		l.refused("person@big.example", "eve@example.net")
		l.allowed("u0000@big.example", "u2499@big.example")
		removeAll(store.SuppressionFilter{Source: store.SuppressedByPerson}, 1)
		for _, f := range []store.SuppressionFilter{{}, {At: time.Now()}} {
			if n, err := l.RemoveAll(t.Context(), "acme", f); err == nil || n != 0 || !strings.Contains(err.Error(), "set a field") {
				t.Errorf("RemoveAll(%+v): got %d, %v, want an error that says to set a field", f, n, err)
			}
		}
		l.refused("eve@example.net")
	})
}

func TestAddressesArePages(t *testing.T) {
	l := newList(t)
	l.add("acme", "a@x.example", "c@x.example", "b@y.example")
	l.learn(l.bounced("d@x.example", "550 5.2.1 a strike only"))
	pages := func(f store.SuppressionFilter, page store.Page, want ...string) {
		t.Helper()
		list, err := l.Addresses(t.Context(), "acme", f, page)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, su := range list {
			got = append(got, su.Address)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Addresses(%+v, %+v): got %q, want %q", f, page, got, want)
		}
	}
	pages(store.SuppressionFilter{}, store.Page{}, "a@x.example", "b@y.example", "c@x.example")
	pages(store.SuppressionFilter{}, store.Page{Limit: 2}, "a@x.example", "b@y.example")
	pages(store.SuppressionFilter{}, store.Page{Limit: 2, After: "b@y.example"}, "c@x.example")
	pages(store.SuppressionFilter{Site: "x.example"}, store.Page{Search: "C@"}, "c@x.example")
}

func TestMistakesOfCallers(t *testing.T) {
	ctx := t.Context()
	l := newList(t)
	none := new(suppress.List)
	for want, err := range map[string]error{
		"use store.SuppressedByPerson":     l.Add(ctx, "acme", "bob@example.net", store.SuppressedByReply, ""),
		"List.Store is required":           none.Learn(ctx, nil),
		"suppress: List.Store is required": none.Add(ctx, "acme", "bob@example.net", store.SuppressedByPerson, ""),
		"Store is required":                second(none.Get(ctx, "acme", "bob@example.net")),
		"is required":                      second(none.Addresses(ctx, "acme", store.SuppressionFilter{}, store.Page{})),
		"required":                         none.Remove(ctx, "acme", "bob@example.net"),
		"Store is":                         none.AllowRecipient(ctx, &relay.PolicyRequest{Address: "bob@example.net"}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that contains %q", err, want)
		}
	}
	if err := l.Add(ctx, "acme", strings.Repeat("a", 250)+"@example.net", store.SuppressedByPerson, ""); err == nil {
		t.Error("Add of an address that is too long: got no error")
	}
}

func second[T any](_ T, err error) error { return err }

// failing is a Store that fails.
type failing struct{ store.Suppressions }

var errDown = errors.New("the database is down")

func (failing) Suppression(context.Context, store.TenantID, string) (store.Suppression, error) {
	return store.Suppression{}, errDown
}

func (failing) SuppressionsByKey(context.Context, []store.SuppressionKey) ([]store.Suppression, error) {
	return nil, errDown
}

func (failing) ListSuppressions(context.Context, store.TenantID, store.SuppressionFilter, store.Page) ([]store.Suppression, error) {
	return nil, errDown
}

// While the Store fails no recipient is allowed by mistake, and Learn can be repeated.
func TestStoreFails(t *testing.T) {
	l := newList(t)
	l.add("acme", "bob@example.net")
	l.allowed("eve@example.net")
	right := l.Store
	l.Store = failing{right}
	l.allowed("eve@example.net", "eve2@example.net") // from memory

	fresh := &suppress.List{Store: failing{right}}
	err := fresh.AllowRecipient(t.Context(), &relay.PolicyRequest{Address: "bob@example.net"})
	if !errors.Is(err, errDown) || errors.As(err, new(*relay.ReplyError)) {
		t.Errorf("AllowRecipient: got %v, want an error that is not a reply", err)
	}
	e := l.bounced("carol@example.net", noSuchUser)
	if err := l.Learn(t.Context(), []store.Event{e}); !errors.Is(err, errDown) {
		t.Errorf("Learn: got error %v, want %v", err, errDown)
	}
	l.Store = right
	l.learn(e)
	l.refused("bob@example.net", "carol@example.net")
}

// Add writes what changes: the reason, but not the same one again.
func TestSameReasonAgain(t *testing.T) {
	l := newList(t)
	get := func() store.Suppression {
		su, err := l.Get(t.Context(), "acme", "bob@example.net")
		if err != nil {
			t.Fatal(err)
		}
		return su
	}
	l.add("acme", "bob@example.net")
	first := get()
	l.add("acme", "Bob@example.net")
	if again := get(); again != first {
		t.Errorf("after the same reason: got %+v, want %+v", again, first)
	}
	if err := l.Add(t.Context(), "acme", "bob@example.net", store.SuppressedByPerson, "moved"); err != nil {
		t.Fatal(err)
	}
	if now := get(); now.Reason != "moved" || now.Version != first.Version+1 || !now.Since.Equal(first.Since) {
		t.Errorf("after another reason: got %+v, want version %d with it", now, first.Version+1)
	}
}

// overtaken is a Store in which another caller is faster, three times.
type overtaken struct {
	store.Suppressions
	left int
}

func (s *overtaken) Suppress(ctx context.Context, list []store.Suppression) ([]store.Suppression, error) {
	if s.left > 0 {
		s.left--
		faster := slices.Clone(list)
		faster[0].Reason = fmt.Sprint("case ", s.left)
		if lost, err := s.Suppressions.Suppress(ctx, faster); err != nil || len(lost) > 0 {
			return lost, err
		}
	}
	return s.Suppressions.Suppress(ctx, list)
}

func TestAnotherCallerIsFaster(t *testing.T) {
	l := newList(t)
	st := &overtaken{Suppressions: l.Store, left: 3}
	l.Store = st
	l.add("acme", "bob@example.net")
	if st.left != 0 {
		t.Errorf("the Store was called again %d times, want 3", 3-st.left)
	}
	l.refused("bob@example.net")
}

// Callers who change one address at once do not undo each other's changes.
func TestAtOnce(t *testing.T) {
	st := new(memory.Store)
	lists := make([]*list, 4)
	for i := range lists {
		lists[i] = newList(t)
		lists[i].Store, lists[i].n = st, 1000*i
	}
	done := make(chan bool)
	for i, l := range lists {
		go func() {
			defer func() { done <- true }()
			for n := range 50 {
				addr := fmt.Sprintf("u%d@d%d.example", n, n)
				switch i {
				case 0:
					l.add("acme", addr)
				default:
					l.learn(l.event(store.EventHardBounced, addr, fmt.Sprintf("mx.d%d.example", n), noSuchUser), l.delivered(addr))
				}
				ask(t, l.List, "acme", addr)
			}
		}()
	}
	for range lists {
		<-done
	}
	all, err := lists[0].Addresses(t.Context(), "acme", store.SuppressionFilter{Source: store.SuppressedByPerson}, store.Page{})
	if err != nil || len(all) != 50 {
		t.Errorf("a person added 50 addresses, and %d are left (%v)", len(all), err)
	}
}

// An entry without a tenant would refuse nothing.
func TestAddNeedsTenant(t *testing.T) {
	sup := &suppress.List{Store: new(memory.Store)}
	if err := sup.Add(t.Context(), "", "bob@example.net", store.SuppressedByPerson, ""); err == nil || !strings.Contains(err.Error(), "tenant is empty") {
		t.Errorf("got error %v, want that the tenant is empty", err)
	}
}

// A text that is not an address is told apart from a failure of the store.
func TestNotAnAddress(t *testing.T) {
	sup := &suppress.List{Store: new(memory.Store)}
	for _, text := range []string{"", "bob", "@example.net", "bob@", "bob@exa mple.net", "bob\x00@example.net"} {
		_, getErr := sup.Get(t.Context(), "acme", text)
		for call, err := range map[string]error{
			"Add":    sup.Add(t.Context(), "acme", text, store.SuppressedByPerson, ""),
			"Remove": sup.Remove(t.Context(), "acme", text),
			"Get":    getErr,
		} {
			if !errors.Is(err, suppress.ErrAddress) {
				t.Errorf("%s of %q returns %v, want ErrAddress", call, text, err)
			}
		}
	}
	if err := sup.Remove(t.Context(), "acme", "bob@example.net"); !errors.Is(err, store.ErrNotFound) || errors.Is(err, suppress.ErrAddress) {
		t.Errorf("Remove of an address that is not on the list returns %v, want ErrNotFound", err)
	}
}
