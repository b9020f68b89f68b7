package suppress_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A list is a List with what the tests need of it.
type list struct {
	*suppress.List
	t *testing.T
	n int // events made so far
}

func newList(t *testing.T) *list {
	return &list{List: &suppress.List{Store: new(memory.Store), Logger: slog.New(slog.DiscardHandler)}, t: t}
}

// event returns an event that happens now. A host other than "" is the server that
// replied.
func (l *list) event(kind store.EventKind, to, host, reply string) store.Event {
	l.n++
	now := time.Now().UTC().Truncate(time.Microsecond)
	e := store.Event{
		ID: fmt.Sprintf("event_%d", l.n), Kind: kind, Time: now, Received: now.Add(-time.Minute), Tenant: "acme", Domain: "acme.example",
		Username: "u1", Mail: fmt.Sprintf("mail%d", l.n), From: "shop@acme.example", Recipient: to, Attempt: 1,
	}
	e.Reply.Host = host
	fmt.Sscanf(reply, "%d", &e.Reply.Code)
	_, e.Reply.Text, _ = strings.Cut(reply, " ")
	if first, rest, _ := strings.Cut(e.Reply.Text, " "); strings.Count(first, ".") == 2 {
		e.Reply.Enhanced, e.Reply.Text = first, rest
	}
	return e
}

func (l *list) bounced(to, reply string) store.Event {
	return l.event(store.EventHardBounced, to, "mx.example.net", reply)
}

func (l *list) delivered(to string) store.Event {
	return l.event(store.EventDelivered, to, "mx.example.net", "250 2.0.0 ok")
}

func (l *list) learn(events ...store.Event) {
	l.t.Helper()
	if err := l.Learn(l.t.Context(), events); err != nil {
		l.t.Fatalf("Learn: %v", err)
	}
}

// ask asks whether a client of the tenant may send to an address.
func ask(t testing.TB, l *suppress.List, tenant store.TenantID, to string) *relay.ReplyError {
	t.Helper()
	r := &relay.PolicyRequest{Client: relay.Client{Identity: credentials.Identity{Tenant: tenant}}, Field: relay.FieldRcptTo, Address: to}
	err := l.AllowRecipient(context.Background(), r)
	if err == nil {
		return nil
	}
	var reply *relay.ReplyError
	if !errors.As(err, &reply) {
		t.Fatalf("AllowRecipient(%q): %v", to, err)
	}
	return reply
}

func (l *list) refused(to ...string) {
	l.t.Helper()
	for _, to := range to {
		if ask(l.t, l.List, "acme", to) == nil {
			l.t.Errorf("%s is allowed, want it refused", to)
		}
	}
}

func (l *list) allowed(to ...string) {
	l.t.Helper()
	for _, to := range to {
		if r := ask(l.t, l.List, "acme", to); r != nil {
			l.t.Errorf("%s is refused with %v, want it allowed", to, r)
		}
	}
}
