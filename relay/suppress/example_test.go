package suppress_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A product's page that lists addresses, and removes those of an outage.
func Example() {
	ctx := context.Background()
	sup := &suppress.List{Store: new(memory.Store), Logger: slog.New(slog.DiscardHandler)}

	// The history tells what became of the mail.
	gone := store.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user", Host: "mx1.mail.example.net"}
	err := sup.Learn(ctx, []store.Event{
		{ID: "e1", Kind: store.EventHardBounced, Time: time.Now(), Tenant: "acme", Mail: "m1", Recipient: "Bob@example.net", Reply: gone},
	})
	if err != nil {
		log.Fatal(err)
	}
	// A recipient has complained.
	if err := sup.Add(ctx, "acme", "eve@example.org", store.SuppressedByComplaint, "report 17"); err != nil {
		log.Fatal(err)
	}

	list, err := sup.Addresses(ctx, "acme", store.SuppressionFilter{}, store.Page{})
	if err != nil {
		log.Fatal(err)
	}
	for _, su := range list {
		fmt.Println(su.Address, "-", su.Reason)
	}

	n, err := sup.RemoveAll(ctx, "acme", store.SuppressionFilter{Site: "example.net", Source: store.SuppressedByReply})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("removed", n)
	// Output:
	// bob@example.net - mx1.mail.example.net replied 550 5.1.1 No such user
	// eve@example.org - report 17
	// removed 1
}

func ExampleList_AllowRecipient() {
	sup := &suppress.List{Store: new(memory.Store)}
	srv := &relay.Server{AllowRecipient: sup.AllowRecipient}
	// … fill in the rest and start it.

	if err := sup.Add(context.Background(), "acme", "bob@example.net", store.SuppressedByPerson, "asked us to"); err != nil {
		log.Fatal(err)
	}
	// The server asks this at RCPT.
	err := srv.AllowRecipient(context.Background(), &relay.PolicyRequest{
		Client:  relay.Client{Identity: credentials.Identity{Tenant: "acme"}},
		Address: "bob@example.net",
	})
	text, _, _ := strings.Cut(err.Error(), " since ")
	fmt.Println(text)
	// Output:
	// relay: 550 5.7.1 <bob@example.net> is on the suppression list
}
