// Hello is the shortest program with a relay in it: everything is in memory, and
// each message is printed.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func main() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(ctx, "acme.example"); err != nil {
		log.Fatal(err)
	}
	user, password, err := acme.AddUser(ctx, "acme.example", "billing")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.Username, password.Reveal()) // the only time it is shown

	srv := &relay.Server{
		Hostname:    "localhost",
		Credentials: creds,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}, // yours, in production
		Forwarder: relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
			for _, to := range m.To {
				fmt.Println("from", m.From, "to", to.Address, m.Size(), "bytes")
			}
			return nil // the client is told 250
		}),
	}
	log.Fatal(srv.ListenAndServe("127.0.0.1:2525"))
}
