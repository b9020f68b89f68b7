package smarthost_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

func ExampleForwarder() {
	// In place of the provider's server.
	up := &relaytest.Upstream{Username: "relay", Password: "a secret"}
	up.Start()
	defer up.Close()

	upstream := &smarthost.Forwarder{
		Addr:      up.Addr(),
		TLSConfig: up.ClientTLS(), // not needed with a certificate that is valid on the internet
		Username:  "relay",
		Password:  credentials.NewPassword("a secret"),
	}
	defer upstream.Close()

	content := "From: shop@acme.example\r\nSubject: Your order\r\n\r\nThank you.\r\n"
	m := &relay.Message{
		From: "shop@acme.example",
		To:   []relay.Recipient{{Address: "bob@example.com"}},
	}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	if err := upstream.Forward(context.Background(), m); err != nil {
		fmt.Println(err)
		return
	}

	for _, d := range up.Received() {
		fmt.Printf("from %s to %s, %d bytes, TLS: %v\n", d.From, d.To[0].Address, len(d.Content), d.TLS != nil)
	}
	// Output:
	// from shop@acme.example to bob@example.com, 60 bytes, TLS: true
}

// A refused recipient is named, with the upstream's own words, and nothing is
// sent to the others.
func ExampleForwarder_Forward_refused() {
	up := &relaytest.Upstream{
		Script: func(c relaytest.Command) relaytest.Answer {
			if c.Line == "RCPT TO:<nobody@example.com>" {
				return relaytest.Answer{Text: "550 5.1.1 There is no such user here"}
			}
			return relaytest.Answer{}
		},
	}
	up.Start()
	defer up.Close()

	upstream := &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS()}
	defer upstream.Close()

	m := &relay.Message{
		From: "shop@acme.example",
		To:   []relay.Recipient{{Address: "bob@example.com"}, {Address: "nobody@example.com"}},
	}
	err := upstream.Forward(context.Background(), m)

	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			fmt.Println(r.Address, "temporary:", relay.Temporary(r.Err))
			fmt.Println(r.Err)
		}
	}
	fmt.Println("delivered:", len(up.Received()))
	// Output:
	// nobody@example.com temporary: false
	// relay: 127.0.0.1 replied 550 5.1.1 There is no such user here
	// delivered: 0
}
