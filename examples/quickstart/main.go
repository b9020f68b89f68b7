// Quickstart is a whole relay in one program, to see how gatepost feels and to
// copy from. It keeps a domain and its SMTP users in SQLite, takes mail from
// them, and writes each message to a file. Run it in the root of a checkout:
//
//	go run ./examples/quickstart
//
// It prints where its console is, which credentials it made, and a command that
// sends a message. To send mail for real, give it a server that takes your mail:
//
//	export GATEPOST_UPSTREAM_PASSWORD=...
//	go run ./examples/quickstart -upstream smtp://user@smtp.example.net:587
//
// The client is then told 250 as soon as the message is in the queue in SQLite.
// Stop the upstream to see an outage: -queue lists what waits and why, and the
// queue delivers it when the server is back. From another terminal, while the
// relay runs or not, a person can act on the mail of an ID, or on all mail:
//
//	go run ./examples/quickstart -queue=retry:all
//	go run ./examples/quickstart -queue=cancel:06h2bta3mqzp6a443ap4958w18
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	hostname                = "localhost"
	tenant   store.TenantID = "quickstart" // the only customer here; a product has many
)

var (
	domain      = flag.String("domain", "mycompany.example", "the sending `domain`; it is added if it is new")
	listenAddr  = flag.String("listen", "127.0.0.1:2587", "`address` for STARTTLS; port 0 is any free one")
	listenTLS   = flag.String("listen-tls", "127.0.0.1:2465", "`address` for TLS from the first byte")
	consoleAddr = flag.String("console", "127.0.0.1:2580", "`address` of the console; it has no login, so give a loopback address")
	asJSON      = flag.Bool("json", false, "print JSON: a line when the relay is ready, then a line for each event")
	upstreamURL = flag.String("upstream", "", "queue messages for the server of this `URL`: smtp://user@host:port for STARTTLS,\nsmtps://user@host:port for TLS from the first byte; the environment variable\n"+passwordVariable+" has the user's password. In private networks\n?tls=skip-verify accepts any certificate, and ?tls=none does without TLS")
)

// operation is "true" for -queue, or what follows -queue=.
var operation string

func main() {
	flag.BoolFunc("queue", "list the recipients in the queue, and end; "+operations, func(value string) error {
		operation = value
		return nil
	})
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: unexpected argument %q (see -help)\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends the program at once
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	log := newLogger()
	st, db, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if operation != "" {
		return operate(ctx, st, log)
	}
	// The ports come before the first user: its password is shown only once.
	ports, err := listen(*listenAddr, *listenTLS, *consoleAddr)
	if err != nil {
		return err
	}
	cert, err := certificate()
	if err != nil {
		return err
	}
	upstream, err := parseUpstream(*upstreamURL)
	if err != nil {
		return fmt.Errorf("-upstream: %w", err)
	}
	creds := &credentials.Manager{Store: st, Logger: log}
	first, err := firstUser(ctx, creds.Tenant(tenant), *domain)
	if err != nil {
		return err
	}

	srv := &relay.Server{
		Hostname:    hostname,
		Credentials: creds,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
		Logger:      log,
	}
	deliver := func(ctx context.Context) error { <-ctx.Done(); return nil } // the outbox needs nothing beside
	if upstream == nil {
		srv.Forwarder = outbox(outboxDir)
	} else {
		defer upstream.Close()
		q := &queue.Queue{Spool: st, Next: upstream, Hostname: hostname, Node: "quickstart", Retry: retry, Logger: log}
		srv.Forwarder, deliver = q, q.Run
	}
	first.on(ports)
	pages := &http.Server{Handler: newConsole(creds, first, log), ReadTimeout: time.Minute}
	defer pages.Close()
	first.print()
	return serve(ctx, srv, pages, ports, deliver)
}

// serve serves the ports until ctx ends, one of them fails or the delivery ends. Then it
// lets the messages in progress finish, and ends the delivery.
func serve(ctx context.Context, srv *relay.Server, pages *http.Server, ports []net.Listener, deliver func(context.Context) error) error {
	delivering, endDelivery := context.WithCancel(context.Background())
	delivered := make(chan error, 1)
	go func() { delivered <- deliver(delivering); close(delivered) }()
	ended := make(chan error, 3)
	go func() { ended <- srv.Serve(ports[0]) }()
	go func() { ended <- srv.ServeTLS(ports[1]) }()
	go func() { ended <- pages.Serve(ports[2]) }()
	var err error
	select {
	case err = <-ended:
	case err = <-delivered:
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(deadline), srv.Close()) // messages in progress finish
	endDelivery()                                               // no more mail comes in
	return errors.Join(err, <-delivered)
}

// listen opens the ports of the relay and the console.
func listen(addrs ...string) (ports []net.Listener, err error) {
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		ports = append(ports, l)
	}
	if !loopback(ports[2].Addr().String()) {
		return nil, errors.New("-console: the console has no login, so give a loopback address such as 127.0.0.1:2580")
	}
	return ports, nil
}

// firstUser adds the domain, and a user if the domain has none. Only a new user
// has a password.
func firstUser(ctx context.Context, t credentials.Tenant, domain string) (*ready, error) {
	domain, err := credentials.NormalizeDomain(domain)
	if err != nil {
		return nil, err
	}
	if _, err := t.AddDomain(ctx, domain); err != nil && !errors.Is(err, store.ErrTaken) {
		return nil, err
	}
	users, _, err := t.Users(ctx, domain, store.Query{Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return &ready{Domain: domain, Username: users[0].Username}, nil
	}
	user, password, err := t.AddUser(ctx, domain, "first tool")
	return &ready{Domain: domain, Username: user.Username, Password: password.Reveal()}, err
}

// newConsole returns the pages of the one tenant. They share the relay's Manager,
// so a reset on a page ends live sessions at once.
func newConsole(creds *credentials.Manager, r *ready, log *slog.Logger) *console.Handler {
	return &console.Handler{
		Credentials:  creds,
		SMTPHost:     r.Server,
		PortSTARTTLS: r.PortSTARTTLS,
		PortTLS:      r.PortTLS,
		Logger:       log,
		// A product looks at its session here. This one has no accounts and
		// trusts this machine, under its own name: another site's name may lead
		// here as well.
		Tenant: func(r *http.Request) (store.TenantID, error) {
			if !loopback(r.Host) {
				return "", fmt.Errorf("the console is for this machine only, and was asked for as %q", r.Host)
			}
			return tenant, nil
		},
	}
}

// loopback reports whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// retry makes an outage short to try out: mail goes at most a minute after its
// end. A product leaves Queue.Retry nil, which is easier on the upstream.
func retry(attempt int) time.Duration { return min(time.Second<<min(attempt-1, 6), time.Minute) }
