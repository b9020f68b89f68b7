package main

import (
	"context"
	"fmt"
	"net"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/bounces"
)

// addBounces gives mail a return address in the bounce domain. It returns what takes the
// reports that come to it: a delivered recipient becomes a bounce, and the report goes on to
// the author by way of the queue.
func (p *program) addBounces() (serve func(context.Context) error, err error) {
	secrets := []credentials.Password{p.set.bounceSecret}
	p.queue.Next = &bounces.Rewriter{Next: p.queue.Next, Secrets: secrets, Domain: func(context.Context, string) (string, error) { return p.set.bounceDomain, nil }}
	l, err := net.Listen("tcp", p.set.listenBounces)
	if err != nil {
		return nil, fmt.Errorf("GATEPOST_LISTEN_BOUNCES: %w", err)
	}
	p.reports = &bounces.Server{
		Hostname: p.set.Hostname, TLSConfig: p.srv.TLSConfig.Clone(), Logger: p.log,
		Receiver: &bounces.Receiver{Secrets: secrets, Bounced: p.hist.Bounced, Forwarder: p.queue, Logger: p.log},
	}
	return func(ctx context.Context) error {
		go p.checkBounceDomain(ctx)
		defer context.AfterFunc(ctx, func() { p.reports.Close() })() // the server that it cuts off sends the report again
		if err := p.reports.Serve(l); ctx.Err() == nil {
			return fmt.Errorf("GATEPOST_LISTEN_BOUNCES: %w", err) // mail would go on with addresses whose reports are lost
		}
		return nil
	}, nil
}

// checkBounceDomain says what is wrong with the DNS of the bounce domain.
func (p *program) checkBounceDomain(ctx context.Context) {
	err := bounces.CheckDomain(ctx, nil, p.set.bounceDomain, p.set.Hostname)
	if err != nil && ctx.Err() == nil {
		p.log.Warn("GATEPOST_BOUNCE_DOMAIN: other servers may refuse mail until its DNS is right", "error", err)
	}
}
