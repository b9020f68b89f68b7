package history_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A message to two recipients, one of whom does not exist: history says what became of
// each. A refusal is there too.
func Example() {
	st := new(memory.Store) // in production one that lasts, of package sqlstore
	hist := &history.History{Store: st}
	q := &queue.Queue{
		Spool:  st,
		Record: true,
		Logger: slog.New(slog.DiscardHandler),
		Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			return &relay.RefusedError{Partial: true, Recipients: []relay.RefusedRecipient{{
				Address: "eve@example.com",
				Err:     &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.example.com"},
			}}}
		}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go q.Run(ctx)
	go hist.Run(ctx)

	// A relay.Server does this for each message it accepts, or refuses.
	shop := credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "k7m2q9x4"}
	content := []byte("From: shop@acme.example\r\nSubject: Your order\r\n\r\nThank you.\r\n")
	m := &relay.Message{
		ID: relay.NewID(), Identity: shop, From: "shop@acme.example", Subject: "Your order", Received: time.Now(),
		To: []relay.Recipient{{Address: "bob@example.com"}, {Address: "eve@example.com"}},
	}
	if err := q.Forward(ctx, m.WithContent(bytes.NewReader(content), int64(len(content)))); err != nil {
		fmt.Println(err)
	}
	hist.OnRelayEvent(&relay.MessageRefused{
		Client: relay.Client{Identity: shop}, From: "shop@other.example",
		Field: relay.FieldMailFrom, Code: 550, Reason: "MAIL FROM: other.example is not acme.example",
	})

	acme := hist.Tenant("acme")
	waitForEnds(acme, 3)
	mail, err := acme.Mail(ctx, m.ID, store.RecipientFilter{})
	if err != nil {
		fmt.Println(err)
	}
	for _, r := range mail.Recipients {
		fmt.Printf("%s, %q: %v\n", r.Recipient, r.Subject, r.State)
		for _, e := range r.Events {
			fmt.Println(strings.TrimRight(fmt.Sprintf("    %v %v", e.Kind, e.Reply), " "))
		}
	}
	page, _ := acme.Activities(ctx, store.ActivityFilter{States: []store.ActivityState{store.ActivityRejected}})
	for _, a := range page.List {
		fmt.Println(a.State, a.Reason)
	}
	stats, _ := acme.Statistics(ctx, history.Last(7, time.Now(), time.Local), "", "")
	fmt.Printf("%d recipients, %.0f %% delivered\n", stats.Total.Accepted, history.Rate(stats.Total.Delivered, stats.Total.Accepted))
	// Output:
	// bob@example.com, "Your order": delivered
	//     accepted
	//     delivered
	// eve@example.com, "Your order": hard bounced
	//     accepted
	//     hard bounced 550 5.1.1 no such user
	// rejected MAIL FROM: other.example is not acme.example
	// 2 recipients, 50 % delivered
}

// waitForEnds waits until so many activities are final, for at most ten seconds.
func waitForEnds(t history.Tenant, n int) {
	ends := []store.ActivityState{store.ActivityDelivered, store.ActivityHardBounced, store.ActivityRejected}
	for range 1000 {
		page, err := t.Activities(context.Background(), store.ActivityFilter{States: ends})
		if err != nil || len(page.List) == n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
