package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// adminBench has a queue with six deferred deliveries, of which one is being sent.
func adminBench(t *testing.T, f func(b *bench, a *queue.Admin)) {
	inBubble(t, func(b *bench) {
		b.q.Destination = domainOf
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			switch {
			case strings.HasPrefix(m.To[0].Address, "sending"):
				time.Sleep(20 * minute)
			case m.From != "" && len(b.from(m.From)) < 20:
				return reply(451, "greylisted")
			}
			return nil
		}
	}, func(b *bench) {
		b.q.Retry = nil
		for i, to := range []string{"a@one.example", "b@one.example", "a@two.example"} {
			b.forward(message(i, "shop@acme.example", to))
			b.forward(ofTenant("rival", message(10+i, "shop@rival.example", to)))
		}
		b.forward(message(20, "shop@acme.example", "sending@one.example"))
		b.pass(time.Second)
		f(b, &queue.Admin{Queue: b.q, By: "alice"})
		b.pass(30 * minute)
	})
}

func acmeTo(destination string) queue.Selection {
	return queue.Selection{Filter: store.Filter{Tenant: "acme", Destination: destination}}
}

// changes calls a method and checks what it says that it changed.
func changes(t *testing.T, name string, want queue.Changed, f func() (queue.Changed, error)) {
	t.Helper()
	got, err := f()
	got.After = ""
	if err != nil || got != want {
		t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
	}
}

func TestAdminFilters(t *testing.T) {
	adminBench(t, func(b *bench, a *queue.Admin) {
		for _, c := range []struct {
			filter store.Filter
			want   int
		}{
			{store.Filter{}, 7}, {store.Filter{Tenant: "rival"}, 3}, {store.Filter{Destination: "two.example"}, 2},
			{store.Filter{Recipient: "b@one.example"}, 2}, {store.Filter{From: "shop@rival.example", Destination: "one.example"}, 2},
			{store.Filter{State: store.StateLeased}, 1}, {store.Filter{State: store.StateWaiting}, 6}, {store.Filter{Reason: "Greylisted"}, 6},
		} {
			if n, err := a.Count(b.Context(), c.filter); err != nil || n != c.want {
				b.Errorf("Count(%+v): got %d, %v, want %d", c.filter, n, err, c.want)
			}
		}
		list, err := a.List(b.Context(), store.Filter{Tenant: "rival"}, store.Page{Limit: 2})
		if err != nil || len(list) != 2 || list[0].Mail.From != "shop@rival.example" {
			b.Errorf("List: got %+v, %v", list, err)
		}
		backlogs, err := a.Backlogs(b.Context())
		if err != nil || len(backlogs) != 4 || backlogs[0].Deliveries != 3 || backlogs[0].Leased != 1 {
			b.Errorf("Backlogs: got %+v, %v", backlogs, err)
		}
	})
}

func TestAdminAll(t *testing.T) {
	adminBench(t, func(b *bench, a *queue.Admin) {
		for name, f := range map[string]func(queue.Selection) (queue.Changed, error){
			"Retry":   func(s queue.Selection) (queue.Changed, error) { return a.Retry(b.Context(), s) },
			"Hold":    func(s queue.Selection) (queue.Changed, error) { return a.Hold(b.Context(), s, "") },
			"Release": func(s queue.Selection) (queue.Changed, error) { return a.Release(b.Context(), s) },
			"Cancel":  func(s queue.Selection) (queue.Changed, error) { return a.Cancel(b.Context(), s, "", false) },
		} {
			zero := store.Filter{Since: time.Time{}.Local()} // an empty field of a form
			if got, err := f(queue.Selection{Filter: zero}); err == nil || got != (queue.Changed{}) {
				b.Errorf("%s of a filter with the zero time: got %+v, %v, want an error", name, got, err)
			}
			if got, err := f(queue.Selection{}); err == nil || !strings.Contains(err.Error(), "All") || got != (queue.Changed{}) {
				b.Errorf("%s of an empty filter: got %+v, %v, want an error that says what to set", name, got, err)
			}
		}
		changes(b.T, "Cancel of all", queue.Changed{Done: 6, Busy: 1}, func() (queue.Changed, error) {
			return a.Cancel(b.Context(), queue.Selection{All: true}, "test", false)
		})
		b.wantDepth(1)
		if n := len(b.from("")); n != 0 {
			b.Errorf("%d bounces, want none", n)
		}
	})
}

// A change begins behind After, and says where it has ended.
func TestAdminAfter(t *testing.T) {
	adminBench(t, func(b *bench, a *queue.Admin) {
		list, err := a.List(b.Context(), store.Filter{Tenant: "rival"}, store.Page{})
		if err != nil || len(list) != 3 {
			b.Fatalf("got %d, %v", len(list), err)
		}
		s := queue.Selection{Filter: store.Filter{Tenant: "rival"}, After: list[0].Delivery.Key()}
		got, err := a.Hold(b.Context(), s, "")
		if want := (queue.Changed{Done: 2, After: list[2].Delivery.Key()}); err != nil || got != want {
			b.Errorf("Hold: got %+v, %v, want %+v", got, err, want)
		}
		s.After = got.After
		got, err = a.Hold(b.Context(), s, "")
		if want := (queue.Changed{After: s.After}); err != nil || got != want {
			b.Errorf("Hold at the end: got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestAdminRetry(t *testing.T) {
	adminBench(t, func(b *bench, a *queue.Admin) {
		before := len(b.sink.all())
		changes(b.T, "Retry", queue.Changed{Done: 2, Busy: 1}, func() (queue.Changed, error) { return a.Retry(b.Context(), acmeTo("one.example")) })
		b.pass(2 * time.Second)
		if n := len(b.sink.all()) - before; n != 2 {
			b.Errorf("%d were tried after Retry, want the two", n)
		}
		if got := of[*queue.Retried](b.events); len(got) != 2 || got[0].By != "alice" || got[0].Tenant != "acme" {
			b.Errorf("events: %+v", got)
		}
		if n := tries(b, "sending@one.example"); n != 1 {
			b.Errorf("what was being sent was tried %d times, want once", n)
		}
	})
}

func TestAdminHoldAndRelease(t *testing.T) {
	t.Parallel()
	adminBench(t, func(b *bench, a *queue.Admin) {
		all := queue.Selection{All: true}
		changes(b.T, "Hold", queue.Changed{Done: 2, Busy: 1}, func() (queue.Changed, error) { return a.Hold(b.Context(), acmeTo("one.example"), "looks odd") })
		changes(b.T, "Hold again", queue.Changed{Busy: 1}, func() (queue.Changed, error) { return a.Hold(b.Context(), acmeTo("one.example"), "odd") })
		changes(b.T, "Retry of all", queue.Changed{Done: 4, Busy: 1}, func() (queue.Changed, error) { return a.Retry(b.Context(), all) })
		b.pass(10 * day)
		b.wantDepth(2)
		list := b.deliveries()
		if !list[0].Delivery.Held || list[0].Delivery.Reason != "looks odd" || list[0].Delivery.Attempts != 1 {
			b.Errorf("held is %+v", list[0].Delivery)
		}
		if got := of[*queue.Held](b.events); len(got) != 2 || got[0].By != "alice" || got[0].Reason != "looks odd" {
			b.Errorf("events: %+v", got)
		}
		b.sink.script = nil
		changes(b.T, "Release", queue.Changed{Done: 2}, func() (queue.Changed, error) { return a.Release(b.Context(), all) })
		b.pass(10 * time.Second)
		b.wantDepth(0)
		if n := len(of[*queue.Expired](b.events)); n != 0 {
			b.Errorf("%d expired, want none of those that were held", n)
		}
		if got := of[*queue.Released](b.events); len(got) != 2 || got[0].By != "alice" {
			b.Errorf("events: %+v", got)
		}
	})
}

func TestAdminCancelWithBounce(t *testing.T) {
	adminBench(t, func(b *bench, a *queue.Admin) {
		m := message(30, "shop@acme.example", "x@three.example", "y@three.example")
		b.forward(m)
		b.pass(time.Second)
		changes(b.T, "Cancel", queue.Changed{Done: 2}, func() (queue.Changed, error) {
			return a.Cancel(b.Context(), acmeTo("three.example"), "sent by mistake", true)
		})
		b.pass(time.Second)
		bounces := b.from("")
		if len(bounces) != 1 || bounces[0].to[0] != "shop@acme.example" || !strings.Contains(bounces[0].data, "sent by mistake") ||
			!strings.Contains(bounces[0].data, "y@three.example") {
			b.Errorf("bounces: %+v, want one to the sender about both recipients, with the reason", bounces)
		}
		if n, err := a.Count(b.Context(), store.Filter{Destination: "three.example"}); n != 0 || err != nil {
			b.Errorf("%d are left, %v", n, err)
		}
		if got := of[*queue.Canceled](b.events); len(got) != 2 || got[0].By != "alice" || got[0].Reason != "sent by mistake" {
			b.Errorf("events: %+v", got)
		}
	})
}

// If the bounce can't be kept, nothing is cancelled, and nothing is sent.
func TestAdminCancelWithoutRoomForTheBounce(t *testing.T) {
	adminBench(t, func(b *bench, _ *queue.Admin) {
		full := &queue.Queue{Next: b.sink, Logger: quiet, OnEvent: b.events.add, Spool: &badSpool{
			Spool: b.spool, put: func(context.Context, func() error) error { return store.ErrFull },
		}}
		a := &queue.Admin{Queue: full}
		got, err := a.Cancel(b.Context(), acmeTo("two.example"), "no", true)
		if err == nil || got.Done != 0 {
			b.Errorf("Cancel: got %+v, %v, want an error", got, err)
		}
		if list := b.deliveries(); len(list) != 7 || len(of[*queue.Canceled](b.events)) != 0 {
			b.Errorf("%d are left, want all 7, and no event", len(list))
		}
		changes(b.T, "Cancel", queue.Changed{Done: 1}, func() (queue.Changed, error) { return a.Cancel(b.Context(), acmeTo("two.example"), "no", false) })
	})
}

func TestAdminSuspendAndResume(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Suspension{"destination": {Destination: "four.example", Reason: "they asked"}, "tenant": {Tenant: "fourth", Reason: "unpaid"}} {
		t.Run(name, func(t *testing.T) {
			adminBench(t, func(b *bench, a *queue.Admin) {
				if err := a.Suspend(b.Context(), s); err != nil {
					b.Fatal(err)
				}
				if err := a.Suspend(b.Context(), s); err != nil { // again is fine
					b.Fatal(err)
				}
				b.pass(10 * time.Second)
				b.forward(ofTenant("fourth", message(40, "shop@fourth.example", "x@four.example")))
				b.pass(5 * day)
				if n := tries(b, "x@four.example"); n != 0 {
					b.Errorf("tried %d times while suspended", n)
				}
				if list, err := a.Suspensions(b.Context()); err != nil || len(list) != 1 || list[0].By != "alice" || list[0].Reason != s.Reason {
					b.Errorf("Suspensions: got %+v, %v", list, err)
				}
				b.sink.script = nil
				if err := a.Resume(b.Context(), s); err != nil {
					b.Fatal(err)
				}
				b.pass(10 * time.Second)
				if n := tries(b, "x@four.example"); n != 1 {
					b.Errorf("tried %d times after Resume, want once", n)
				}
				if err := a.Resume(b.Context(), s); !errors.Is(err, store.ErrNotFound) {
					b.Errorf("Resume again: %v, want %q", err, store.ErrNotFound)
				}
				suspended, resumed := of[*queue.Suspended](b.events), of[*queue.Resumed](b.events)
				if len(suspended) != 2 || len(resumed) != 1 || suspended[0].By != "alice" || fmt.Sprint(resumed[0].Destination, resumed[0].Tenant) != fmt.Sprint(s.Destination, s.Tenant) {
					b.Errorf("events: %+v %+v", suspended, resumed)
				}
			})
		})
	}
}

// Without a field that is required each method returns an error that names it.
func TestAdminWithoutQueue(t *testing.T) {
	all := queue.Selection{All: true}
	for want, a := range map[string]*queue.Admin{
		"queue: Admin.Queue is required": {}, "queue: Admin.Queue.Spool is required": {Queue: new(queue.Queue)},
	} {
		for name, err := range map[string]error{
			"List":        second(a.List(t.Context(), store.Filter{}, store.Page{})),
			"Count":       second(a.Count(t.Context(), store.Filter{})),
			"Backlogs":    second(a.Backlogs(t.Context())),
			"Retry":       second(a.Retry(t.Context(), all)),
			"Hold":        second(a.Hold(t.Context(), all, "")),
			"Release":     second(a.Release(t.Context(), all)),
			"Cancel":      second(a.Cancel(t.Context(), all, "", false)),
			"bounce":      second(a.Cancel(t.Context(), all, "", true)),
			"Suspend":     a.Suspend(t.Context(), store.Suspension{Tenant: "acme"}),
			"Resume":      a.Resume(t.Context(), store.Suspension{Tenant: "acme"}),
			"Suspensions": second(a.Suspensions(t.Context())),
		} {
			if err == nil || err.Error() != want {
				t.Errorf("%s: got %v, want %q", name, err, want)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
