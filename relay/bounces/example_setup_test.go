package bounces_test

import (
	"context"
	"crypto/tls"
	"log"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// The receiver and the rewriter in the process of the relay. docs/bounces.md has this code.
func Example_setup() {
	var (
		ctx       = context.Background()
		st        *sqlstore.Store                                  // the store of the relay
		signer    relay.Forwarder                                  // what signs and delivers
		node      string                                           // the name of this machine
		publish   func(context.Context, []store.Event) error       // webhooks, suppression list
		cfg       *tls.Config                                      // certificate of mx.example.net
		addresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} // that mail leaves from
	)

	keys := []credentials.Password{credentials.NewPassword(os.Getenv("BOUNCE_SECRET"))}
	var ready atomic.Bool
	out := &bounces.Rewriter{Next: signer, Secrets: keys, Domain: func(context.Context, string) (string, error) {
		if !ready.Load() {
			return "", nil // the sender stays, and so do its reports
		}
		return "bounces.example.net", nil
	}}
	q := &queue.Queue{Spool: st, Record: true, Next: out, Node: node}
	hist := &history.History{Store: st, Node: node, Publish: publish}
	go q.Run(ctx)
	go hist.Run(ctx)

	receiver := &bounces.Receiver{Secrets: keys, Bounced: hist.Bounced, Forwarder: q}
	srv := &bounces.Server{Hostname: "mx.example.net", Receiver: receiver, TLSConfig: cfg}
	go srv.ListenAndServe(":25")

	err := bounces.CheckDomain(ctx, nil, "bounces.example.net", "mx.example.net", addresses...)
	if err != nil {
		log.Print(err) // each line says what to publish
	}
	ready.Store(err == nil)
}
