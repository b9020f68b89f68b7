package main

import (
	"context"
	"fmt"
	"net"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/bounces"
)

// addBounces gives mail a return address in the bounce domain, and takes the reports that
// come to it: a delivered recipient becomes a bounce, and the report goes on to the
// author by way of the queue.
func (p *program) addBounces() (*bounces.Server, error) {
	secrets := []credentials.Password{p.set.bounceSecret}
	p.queue.Next = &bounces.Rewriter{Next: p.queue.Next, Secrets: secrets, Domain: func(context.Context, string) (string, error) { return p.set.bounceDomain, nil }}
	l, err := net.Listen("tcp", p.set.listenBounces)
	if err != nil {
		return nil, fmt.Errorf("GATEPOST_LISTEN_BOUNCES: %w", err)
	}
	srv := &bounces.Server{
		Hostname: p.set.Hostname, TLSConfig: p.srv.TLSConfig.Clone(), Logger: p.log,
		Receiver: &bounces.Receiver{Secrets: secrets, Bounced: p.hist.Bounced, Forwarder: p.queue, Logger: p.log},
	}
	go srv.Serve(l) // until it is closed: the server that it cuts off sends the report again
	return srv, nil
}
