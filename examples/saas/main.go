// Saas is a small product around a relay, to try and to copy from. Customers sign in and
// manage all that concerns their mail on the pages of package console: domains with
// their DNS records, SMTP users, test messages, what became of each message, statistics,
// limits, a suppression list and webhooks. Operators sign in and see the queue. Run it in
// the root of a checkout:
//
//	go run ./examples/saas
//
// It prints the address of the pages and the passwords. Mail is written
// to files in the directory outbox, which refuses mail to unknown@ any domain, so
// that you see a bounce. These environment variables change that:
//
//	DATABASE           a postgres:// URL, or the name of a file for SQLite (default saas.db)
//	UPSTREAM           host:port of a server with STARTTLS that takes the mail
//	UPSTREAM_USERNAME  login there (default: none)
//	UPSTREAM_PASSWORD  its password
//	CERTIFICATE, KEY   files of the relay's certificate and key; the pages then have TLS too
//
// Read main.go first, which connects the parts of the relay, and then pages.go, which puts
// the console into the product. The word "yours" marks what a product replaces: accounts.go
// has who signs in, plan.go what customers may send, and parts.go the database, the ports
// and the way out.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // the customers' time zones

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

const hostname = "localhost" // yours: clients connect to it by this name

var (
	webAddr    = flag.String("web", "127.0.0.1:2580", "`address` of the pages")
	listenAddr = flag.String("listen", "127.0.0.1:2587", "`address` of the relay, for STARTTLS")
	listenTLS  = flag.String("listen-tls", "127.0.0.1:2465", "`address` of the relay, for TLS from the first byte")
	unproved   = flag.Bool("unproved-domains", os.Getenv("UPSTREAM") == "", "let a domain send before its owner has proved it; mail to files harms no owner")
	suspended  = flag.String("suspend", "", "`customer` that may not send, to see what its tools are told")
	localHooks = flag.Bool("local-webhooks", false, "allow webhooks to this machine, also without TLS, to try them")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends the program at once
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "saas:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	db, st, requests, err := openStores(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	cert, withTLS, err := certificate()
	if err != nil {
		return err
	}
	ports, err := listen(withTLS)
	if err != nil {
		return err
	}
	next, closeNext := upstream()
	defer closeNext()

	p := &product{accounts: accounts(), withTLS: withTLS, sessions: make(map[string]session)}
	p.wire(st, requests, next)
	p.srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	web := &http.Server{
		Handler:           p.handler(ports.number(0), ports.number(1)),
		TLSConfig:         p.srv.TLSConfig.Clone(),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	return p.serve(ctx, ports, web, p.queue.Run, p.history.Run, p.limits.Run, p.domains.Run, p.runWebhooks)
}

// A product is the relay and the web pages.
type product struct {
	creds        *credentials.Manager
	srv          *relay.Server
	queue        *queue.Queue
	history      *history.History
	limits       *limits.Limiter
	domains      *domains.Manager
	suppressions *suppress.List
	sender       *webhook.Sender
	webhooks     *webhook.Manager

	accounts []account
	withTLS  bool
	mu       sync.Mutex
	sessions map[string]session
}

// A database keeps everything. It is a [sqlstore.Store], or in tests a memory.Store.
type database interface {
	store.Store
	store.Spool
	store.History
	store.Suppressions
	store.Allowances
	store.Setups
	store.Endpoints
}

// wire connects the parts of the relay. Mail goes from the server through limits, queue and
// signer to next. The queue and the server record events. The history makes of them what
// the pages show, and passes each one to webhooks and suppressions. Node names this
// process: each of several on one database needs a name of its own.
//
// The secrets of webhooks and the keys of domains are in the database as they are. Set the
// fields Secret to a secret of yours, and they are sealed.
func (p *product) wire(st, requests database, next relay.Forwarder) {
	p.creds = &credentials.Manager{Store: st, ClaimDomains: true} // domains decides who has proved one
	p.domains = &domains.Manager{Store: st, Domains: st, AllowUnverified: *unproved, OnChange: tellDomain}
	p.suppressions = &suppress.List{Store: st, History: st}
	p.sender = &webhook.Sender{Queue: queue.Queue{Spool: requests, Node: "saas"}, AllowHTTP: *localHooks}
	if *localHooks {
		p.sender.AllowAddr = func(a netip.Addr) bool { return a.IsLoopback() || mx.IsPublic(a) }
	}
	p.webhooks = &webhook.Manager{Store: st, Sender: p.sender}
	p.sender.Endpoints, p.sender.OnGone, p.sender.OnAttempt = p.webhooks.Endpoints, p.webhooks.OnGone, p.webhooks.OnAttempt
	p.history = &history.History{Store: st, Node: "saas", Publish: func(ctx context.Context, events []store.Event) error {
		if err := p.suppressions.Learn(ctx, events); err != nil {
			return err
		}
		return p.sender.Publish(ctx, events)
	}}
	signer := &dkim.Signer{Keys: p.domains.Keys, Next: next}
	p.queue = &queue.Queue{Spool: st, Record: true, Next: signer, Hostname: hostname, Node: "saas"}
	p.limits = &limits.Limiter{Store: st, Limits: p.plan, OnNotice: tellUsed, Next: p.queue}
	p.srv = &relay.Server{
		Hostname:       hostname,
		Credentials:    p.creds,
		Forwarder:      p.limits,
		AllowUser:      p.allowUser,
		AllowRecipient: p.suppressions.AllowRecipient,
		OnEvent:        p.history.OnRelayEvent,
	}
}

// runWebhooks sends webhooks until ctx ends. Then it keeps the last requests, for the pages.
func (p *product) runWebhooks(ctx context.Context) error {
	sending, stopSending := context.WithCancel(ctx)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	kept := make(chan error, 1)
	go func() {
		defer stopSending()
		kept <- p.webhooks.Run(keeping)
	}()
	err := p.sender.Run(sending)
	stopKeeping()
	return errors.Join(err, <-kept)
}

// serve serves SMTP and the pages, and runs what works in the background, until ctx ends.
func (p *product) serve(ctx context.Context, ports ports, web *http.Server, work ...func(context.Context) error) error {
	working, stop := context.WithCancel(context.Background())
	defer stop()
	var workers sync.WaitGroup
	ended := make(chan error, len(work)+len(ports))
	for _, run := range work {
		workers.Go(func() { ended <- run(working) })
	}
	go func() { ended <- p.srv.Serve(ports[0]) }()
	go func() { ended <- p.srv.ServeTLS(ports[1]) }()
	scheme := "http"
	if p.withTLS {
		scheme = "https"
		go func() { ended <- web.ServeTLS(ports[2], "", "") }()
	} else {
		go func() { ended <- web.Serve(ports[2]) }()
	}
	fmt.Printf("The pages are at %s://%v/ and the relay is at %v.\n", scheme, ports[2].Addr(), ports[0].Addr())
	for _, a := range p.accounts {
		fmt.Printf("Sign in as %s with the password %s\n", a.Name, a.password)
	}
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, web.Shutdown(deadline), p.srv.Shutdown(deadline), p.srv.Close()) // messages in progress finish
	stop()                                                                                  // no more mail comes in
	workers.Wait()
	return err
}
