package queue_test

import (
	"testing"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// While a person keeps mail from being tried, it does not age: neither towards the
// notice of a delay, nor towards being given up.
func TestTimeThatAPersonTakesDoesNotAge(t *testing.T) {
	t.Parallel()
	all := queue.Selection{All: true}
	for name, stop := range map[string]func(b *bench, a *queue.Admin) (goOn func() error){
		"held": func(b *bench, a *queue.Admin) func() error {
			if _, err := a.Hold(b.Context(), all, "looking into it"); err != nil {
				b.Fatal(err)
			}
			return func() error { _, err := a.Release(b.Context(), all); return err }
		},
		"tenant suspended": func(b *bench, a *queue.Admin) func() error {
			s := store.Suspension{Tenant: "acme"}
			if err := a.Suspend(b.Context(), s); err != nil {
				b.Fatal(err)
			}
			b.pass(hour)
			if err := a.Suspend(b.Context(), s); err != nil { // again, with another reason
				b.Fatal(err)
			}
			return func() error { return a.Resume(b.Context(), s) }
		},
		"destination suspended": func(b *bench, a *queue.Admin) func() error {
			s := store.Suspension{Destination: "example.com"}
			if err := a.Suspend(b.Context(), s); err != nil {
				b.Fatal(err)
			}
			return func() error { return a.Resume(b.Context(), s) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Destination = domainOf
				b.sink.script = failing(reply(450, "not now"))
			}, func(b *bench) {
				m := message(1, "a@acme.example", "r@example.com")
				m.To[0].Notify = []string{"DELAY"}
				b.forward(m)
				b.pass(3 * hour)
				goOn := stop(b, &queue.Admin{Queue: b.q})
				b.pass(4 * day)
				tried := len(b.from("a@acme.example"))
				if err := goOn(); err != nil {
					t.Fatal(err)
				}
				b.pass(59 * minute)
				if got := len(b.from("")); got != 0 {
					t.Error("a notice of the delay was sent too early")
				}
				b.pass(4 * hour)
				if got := len(b.from("")); got != 1 {
					t.Errorf("%d notices of the delay, want 1", got)
				}
				b.pass(2*day + 15*hour)
				if got := len(of[*queue.Expired](b.events)); got != 0 {
					t.Errorf("the message was given up %d attempts after it went on", len(b.from("a@acme.example"))-tried)
				}
				b.pass(4 * hour)
				if got := of[*queue.Expired](b.events); len(got) != 1 {
					t.Errorf("%d recipients were given up, want 1", len(got))
				}
			})
		})
	}
}
