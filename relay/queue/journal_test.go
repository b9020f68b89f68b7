package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// recording makes the queue of a bench record.
func recording(configure func(b *bench)) func(b *bench) {
	return func(b *bench) {
		b.q.Record = true
		b.q.Retry = func(int) time.Duration { return time.Minute }
		if configure != nil {
			configure(b)
		}
	}
}

// journal returns what was recorded, without IDs.
func (b *bench) journal() (list []store.Event) {
	b.Helper()
	records, err := b.spool.Records(b.Context(), 1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range records {
		for _, e := range r.Events {
			e.ID = ""
			list = append(list, e)
		}
	}
	return list
}

var kindNames = map[store.EventKind]string{
	store.EventAccepted: "accepted", store.EventWaiting: "waiting", store.EventDeferred: "deferred", store.EventDelivered: "delivered",
	store.EventSoftBounced: "soft", store.EventHardBounced: "hard", store.EventCanceled: "canceled",
}

// story returns what was recorded of a recipient, in order: the kind, the attempt
// and the reason of each event.
func (b *bench) story(recipient string) string {
	var words []string
	for _, e := range b.journal() {
		if e.Recipient == recipient {
			words = append(words, strings.TrimSpace(fmt.Sprintf("%s %d %s", kindNames[e.Kind], e.Attempt, e.Reason)))
		}
	}
	return strings.Join(words, ", ")
}

func (b *bench) wantStory(recipient, want string) {
	b.Helper()
	if got := b.story(recipient); got != want {
		b.Errorf("recorded of %s:\n got %q\nwant %q", recipient, got, want)
	}
}

func TestRecord(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			switch n := len(b.from("shop@acme.example")); {
			case m.From == "":
				return nil
			case n == 1:
				return refuse(m, reply(451, "4.2.0 greylisted"), "late", "never")
			case n == 2 || n == 3:
				return refuse(m, reply(550, "5.1.1 no such user"), "never")
			}
			return nil
		}
	}), func(b *bench) {
		m := message(1, "shop@acme.example", "now@example.com", "late@example.com", "never@example.com")
		m.Author, m.Subject, m.MessageID, m.Remote = "anna@acme.example", "Your order", "<1@acme.example>", netip.MustParseAddr("192.0.2.1")
		b.forward(m)
		b.pass(3 * minute)
		b.wantStory("now@example.com", "accepted 0, delivered 1")
		b.wantStory("late@example.com", "accepted 0, deferred 1 mx.test 451 4.2.0 greylisted, delivered 2")
		b.wantStory("never@example.com", "accepted 0, deferred 1 mx.test 451 4.2.0 greylisted, hard 2 mx.test 550 5.1.1 no such user")
		b.wantStory("shop@acme.example", "") // the bounce was sent, and is not recorded
		if len(b.from("")) != 1 {
			t.Error("the bounce was not sent")
		}
		accepted := b.journal()[1]
		want := store.Event{
			Kind: store.EventAccepted, Time: accepted.Time, Received: m.Received, Tenant: "acme", Domain: "acme.example", Username: "user1",
			Mail: m.ID, N: 1, From: "shop@acme.example", Author: "anna@acme.example", Recipient: "late@example.com", Subject: "Your order",
			MessageID: "<1@acme.example>", Remote: m.Remote, Size: m.Size(),
		}
		if accepted != want || accepted.Time.Sub(m.Received) > time.Second {
			t.Errorf("accepted:\n got %+v\nwant %+v", accepted, want)
		}
		next := make(map[string]time.Time)
		for _, e := range b.journal() {
			if e.Attempt == 2 && (next[e.Recipient].IsZero() || e.Time.Before(next[e.Recipient]) || e.Time.Sub(next[e.Recipient]) > time.Second) {
				t.Errorf("%s was tried again at %v, want at %v", e.Recipient, e.Time, next[e.Recipient])
			}
			next[e.Recipient] = e.NextAttempt
			if e.Kind != store.EventDeferred && !e.NextAttempt.IsZero() {
				t.Errorf("%+v has a NextAttempt", e)
			}
			if e.Kind == store.EventDelivered && (e.Reply != store.Reply{Code: 250, Text: "ok", Host: "mx.test"} || e.Mail != m.ID || e.Tenant != "acme" || e.Size != m.Size()) {
				t.Errorf("delivered: got %+v", e)
			}
		}
	})
}

func TestRecordNothing(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "r@example.com"))
		b.pass(time.Second)
		if got := b.journal(); len(got) > 0 {
			t.Errorf("without Record: got %+v", got)
		}
	})
}

// A report that is passed on to a sender is not recorded; mail of a user from the null
// reverse-path is, and so is mail of the product's own.
func TestRecordPassedOn(t *testing.T) {
	inBubble(t, recording(nil), func(b *bench) {
		passed := message(1, "", "shop@acme.example")
		passed.Identity.Username = ""
		receipt := message(2, "", "user@example.com")
		own := message(3, "news@acme.example", "own@example.com")
		own.Identity.Username = ""
		for _, m := range []*relay.Message{passed, receipt, own} {
			b.forward(m)
		}
		b.pass(time.Second)
		b.wantStory("shop@acme.example", "")
		b.wantStory("user@example.com", "accepted 0, delivered 1")
		b.wantStory("own@example.com", "accepted 0, delivered 1")
	})
}

func TestNoSubjects(t *testing.T) {
	inBubble(t, recording(func(b *bench) { b.q.NoSubjects = true }), func(b *bench) {
		m := message(1, "shop@acme.example", "r@example.com")
		m.Subject, m.Author = "Your diagnosis", "anna@acme.example"
		b.forward(m)
		b.pass(time.Second)
		for _, e := range b.journal() {
			if e.Subject != "" {
				t.Errorf("recorded the subject %q", e.Subject)
			}
		}
	})
}

// A Spool that is no History can't record.
func TestRecordNeedsHistory(t *testing.T) {
	q := &queue.Queue{Spool: struct{ store.Spool }{new(memory.Store)}, Next: new(sink), Record: true, Logger: quiet}
	err := q.Forward(t.Context(), message(1, "shop@acme.example", "r@example.com"))
	if err == nil || !strings.Contains(err.Error(), "Queue.Record is set, but the Spool") {
		t.Errorf("Forward: got %v", err)
	}
	if err := q.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not a store.History") {
		t.Errorf("Run: got %v", err)
	}
}

func TestRecordExpired(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.q.Expire = 10 * minute
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.From == "" {
				return nil
			}
			return reply(452, "mailbox full")
		}
	}), func(b *bench) {
		b.forward(message(1, "shop@acme.example", "r@example.com"))
		b.pass(20 * minute)
		got := b.story("r@example.com")
		if !strings.HasPrefix(got, "accepted 0, deferred 1 mx.test 452 mailbox full, deferred 2 ") || !strings.HasSuffix(got, ", soft 11 mx.test 452 mailbox full") {
			t.Errorf("recorded %q", got)
		}
	})
}

func TestRecordAdmin(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.From == "" {
				return nil
			}
			return reply(451, "not now")
		}
	}), func(b *bench) {
		a := &queue.Admin{Queue: b.q, By: "alice"}
		deferred := "accepted 0, deferred 1 mx.test 451 not now"
		for i, to := range []string{"a@example.com", "b@example.com", "c@example.com"} {
			b.forward(message(i, "shop@acme.example", to))
		}
		b.pass(time.Second)
		only := func(to string) queue.Selection { return queue.Selection{Filter: store.Filter{Recipient: to}} }
		one := queue.Changed{Done: 1}
		changes(t, "Hold", one, func() (queue.Changed, error) { return a.Hold(b.Context(), only("a@example.com"), "under review") })
		b.pass(time.Second)
		b.wantStory("a@example.com", deferred+", waiting 1 under review")
		changes(t, "Release", one, func() (queue.Changed, error) { return a.Release(b.Context(), only("a@example.com")) })
		b.pass(10 * time.Second)
		b.wantStory("a@example.com", deferred+", waiting 1 under review, waiting 1 released, deferred 2 mx.test 451 not now")
		changes(t, "Retry", one, func() (queue.Changed, error) { return a.Retry(b.Context(), only("b@example.com")) })
		b.pass(10 * time.Second)
		b.wantStory("b@example.com", deferred+", waiting 1 to be tried at once, deferred 2 mx.test 451 not now")
		changes(t, "Cancel", one, func() (queue.Changed, error) { return a.Cancel(b.Context(), only("b@example.com"), "spam", false) })
		changes(t, "Cancel", one, func() (queue.Changed, error) { return a.Cancel(b.Context(), only("c@example.com"), "spam", true) })
		b.wantStory("b@example.com", deferred+", waiting 1 to be tried at once, deferred 2 mx.test 451 not now, canceled 2 spam")
		b.wantStory("c@example.com", deferred+", canceled 1 spam")
		changes(t, "Cancel", one, func() (queue.Changed, error) { return a.Cancel(b.Context(), only("a@example.com"), "", false) })
	})
}

// A Cancel that cannot keep its bounce leaves deliveries held. That is recorded and told
// of those that were not held before.
func TestRecordLeftHeld(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error { return reply(451, "not now") }
	}), func(b *bench) {
		b.forward(message(1, "shop@acme.example", "a@example.com", "b@example.com"))
		b.pass(time.Second)
		a := &queue.Admin{Queue: b.q}
		changes(t, "Hold", queue.Changed{Done: 1}, func() (queue.Changed, error) {
			return a.Hold(b.Context(), queue.Selection{Filter: store.Filter{Recipient: "b@example.com"}}, "review")
		})
		full := &queue.Queue{Next: b.sink, Logger: quiet, OnEvent: b.events.add, Record: true, Spool: &fullSpool{b.spool}}
		a = &queue.Admin{Queue: full, By: "alice"}
		if got, err := a.Cancel(b.Context(), queue.Selection{All: true}, "spam", true); err == nil || got.Done != 0 {
			t.Errorf("Cancel: got %+v, %v, want an error", got, err)
		}
		b.wantStory("a@example.com", "accepted 0, deferred 1 mx.test 451 not now, waiting 1 cancelled: spam")
		b.wantStory("b@example.com", "accepted 0, deferred 1 mx.test 451 not now, waiting 1 review")
		if told := of[*queue.Held](b.events); len(told) != 2 || told[1].Recipient != "a@example.com" || told[1].By != "alice" {
			t.Errorf("told: %+v", told)
		}
	})
}

// A fullSpool has no room for mail.
type fullSpool struct{ *memory.Store }

func (fullSpool) Put(context.Context, store.Mail, []store.Delivery, io.Reader, ...store.Event) error {
	return store.ErrFull
}

// Mail that waits because its destination is suspended records that once, however
// often the destination is tried.
func TestRecordSuspended(t *testing.T) {
	var up atomic.Bool
	inBubble(t, recording(func(b *bench) {
		b.q.Destination = domainOf
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if up.Load() {
				return nil
			}
			time.Sleep(time.Second)
			return unreachable{}
		}
	}), func(b *bench) {
		for i := range 30 { // more than are tried at once
			b.forward(message(i, "shop@acme.example", fmt.Sprintf("r%d@down.example", i)))
		}
		b.pass(time.Hour)
		b.forward(message(50, "shop@acme.example", "new@down.example"))
		b.pass(time.Hour)
		waited := 0
		for i := range 30 {
			kinds := b.story(fmt.Sprintf("r%d@down.example", i))
			if n := strings.Count(kinds, "waiting"); n > 1 {
				t.Errorf("recorded of r%d: %q", i, kinds)
			} else {
				waited += n
			}
		}
		if waited < 10 {
			t.Errorf("%d of 30 recipients have recorded that they wait, want those that were not tried", waited)
		}
		if got := b.story("new@down.example"); !strings.HasPrefix(got, "accepted 0, waiting 0 connecting: refused") || strings.Count(got, "waiting") != 1 {
			t.Errorf("recorded of new mail: %q", got)
		}
		up.Store(true)
		b.pass(time.Hour)
		b.wantDepth(0)
	})
}

// A lostAnswers is a spool whose answers to Put and Settle are lost now and then,
// before or after the work was done.
type lostAnswers struct {
	*memory.Store
	calls atomic.Int64
}

func (s *lostAnswers) answer(do func() error) error {
	switch s.calls.Add(1) % 3 {
	case 0:
		return errCut
	case 1:
		return errors.Join(do(), errCut)
	}
	return do()
}

func (s *lostAnswers) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	return s.answer(func() error { return s.Store.Put(ctx, m, ds, body, events...) })
}

func (s *lostAnswers) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	err = s.answer(func() error {
		lost, err = s.Store.Settle(ctx, outcomes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

// What is called again because an answer was lost records each event once.
func TestRecordOnce(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.q.Spool = &lostAnswers{Store: b.spool}
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if strings.HasPrefix(m.To[0].Address, "late") && len(b.from(m.From)) == 1 {
				return reply(451, "not now")
			}
			return nil
		}
	}), func(b *bench) {
		taken := make(map[string]bool)
		for i := range 60 {
			to := fmt.Sprintf("%s%d@example.com", []string{"now", "late"}[i%2], i)
			err := b.q.Forward(b.Context(), message(i, fmt.Sprintf("s%d@acme.example", i), to))
			taken[to] = err == nil
			b.pass(time.Second)
		}
		b.pass(time.Hour)
		b.wantDepth(0)
		counts := make(map[string]map[store.EventKind]int)
		for _, e := range b.journal() {
			if counts[e.Recipient] == nil {
				counts[e.Recipient] = make(map[store.EventKind]int)
			}
			counts[e.Recipient][e.Kind]++
		}
		for to, ok := range taken {
			accepted, delivered := counts[to][store.EventAccepted], counts[to][store.EventDelivered]
			if accepted > 1 || delivered != accepted || ok && accepted != 1 {
				t.Errorf("%s, Forward succeeded %t: %d accepted and %d delivered", to, ok, accepted, delivered)
			}
		}
	})
}

// A delivery that is held because the process died with it is recorded as waiting.
func TestRecordKiller(t *testing.T) {
	inBubble(t, recording(nil), func(b *bench) {
		m := store.Mail{ID: "killer", Tenant: "acme", From: "shop@acme.example", Received: time.Now().UTC().Truncate(time.Microsecond), Size: int64(len(hello))}
		d := []store.Delivery{{Recipient: "r@example.com", Next: m.Received, Attempts: 5, Deaths: 5}}
		if err := b.spool.Put(b.Context(), m, d, strings.NewReader(hello)); err != nil {
			t.Fatal(err)
		}
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		b.start() // which looks for such deliveries
		b.pass(minute)
		b.pass(minute)
		if got := b.journal(); !slices.ContainsFunc(got, func(e store.Event) bool {
			return e.Kind == store.EventWaiting && strings.HasPrefix(e.Reason, "the process died")
		}) {
			t.Errorf("recorded %+v, want that it waits", got)
		}
	})
}
