package bounces_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/store"
)

// A message leaves with a return address, and a report about it comes back.
func Example() {
	ctx := context.Background()
	secrets := []credentials.Password{credentials.NewPassword("an example, never use this")}

	var sent, token string // what the other server got
	out := &bounces.Rewriter{
		Secrets: secrets,
		Domain:  func(context.Context, string) (string, error) { return "bounces.acme.example", nil },
		Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error { // in production a *smarthost.Forwarder
			sent, token = m.From, m.Options.EnvelopeID
			return nil
		}),
	}
	content := "From: billing@acme.example\r\n\r\nHello.\r\n"
	m := &relay.Message{ID: "A1", From: "billing@acme.example", To: []relay.Recipient{{Address: "bob@example.com"}}}
	m.Identity.Tenant = "acme"
	if err := out.Forward(ctx, m.WithContent(strings.NewReader(content), int64(len(content)))); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent from", sent)

	in := &bounces.Receiver{
		Secrets: secrets,
		Logger:  slog.New(slog.DiscardHandler),
		Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error { // in production History.Bounced
			fmt.Println(recipient, "bounced, mail", mail, "of", tenant, "-", r)
			return nil
		},
		Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error { // in production the queue
			n, err := io.Copy(io.Discard, m.Content())
			fmt.Println("passed on to", m.To[0].Address, n > 0)
			return err
		}),
	}
	report := strings.Replace(intact, "E1", token, 1) // from the server of example.com
	if err := in.Receive(ctx, sent, strings.NewReader(report)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// sent from b-cqhugw2t-billing@bounces.acme.example
	// bob@example.com bounced, mail A1 of acme - relay: store.example.com replied 550 5.1.1 no such mailbox
	// passed on to billing@acme.example true
}
