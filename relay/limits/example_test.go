package limits_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A tenant may send to two recipients a month.
func Example() {
	st := new(memory.Store)
	q := &queue.Queue{Spool: st, Record: true, Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })}
	lim := &limits.Limiter{
		Store: st,
		Next:  q,
		Limits: func(_ context.Context, id credentials.Identity) ([]limits.Limit, error) {
			return []limits.Limit{{Max: 2}}, nil // what the plan of id.Tenant says
		},
	}
	srv := &relay.Server{Forwarder: lim, AllowUser: lim.AllowUser}
	// … fill in the rest and start it, q.Run, lim.Run and a history.History.

	for i := range 3 {
		m := &relay.Message{
			ID: fmt.Sprint("m", i), Identity: credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u1"},
			From: "shop@acme.example", To: []relay.Recipient{{Address: "bob@example.net"}},
		}
		if err := srv.Forwarder.Forward(context.Background(), m); err != nil {
			text := err.Error()
			fmt.Println(text[:len("relay: 550 5.7.1 the monthly limit of 2 recipients is used up (2 of 2)")])
			continue
		}
		fmt.Println("accepted")
	}
	// Output:
	// accepted
	// accepted
	// relay: 550 5.7.1 the monthly limit of 2 recipients is used up (2 of 2)
}

// A line for a screen.
func ExampleLimiter_Usage() {
	lim := &limits.Limiter{
		Store: new(memory.Store),
		Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) {
			return []limits.Limit{{Max: 10_000, Anchor: time.Date(2026, 11, 14, 0, 0, 0, 0, time.UTC)}}, nil
		},
	}
	used, err := lim.Usage(context.Background(), credentials.Identity{Tenant: "acme"})
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range used {
		fmt.Printf("%d of %d recipients (%d%%), anew on day %d\n", u.Used, u.Max, u.Percent(), u.End.Day())
	}
	// Output:
	// 0 of 10000 recipients (0%), anew on day 14
}
