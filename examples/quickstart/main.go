// Quickstart is a whole relay in one program, to see how gatepost feels and to
// copy from. It keeps a domain and its SMTP users in SQLite, takes mail from
// them, and writes each message to a file. Run it in the root of a checkout:
//
//	go run ./examples/quickstart
//
// It says where its console is, which credentials it made, and shows commands
// that send a message. To send mail for real, give it a server that takes your
// mail:
//
//	export GATEPOST_UPSTREAM_PASSWORD=...
//	go run ./examples/quickstart -upstream smtp://user@smtp.example.net:587
//
// The client is then told 250 as soon as the message is safe in SQLite; a queue
// hands it on. Try what happens while that server can't be reached: -queue lists
// what waits and why, and it goes out when the server is back.
//
// This file is what a product that embeds the relay has to write, too. The
// others keep the example comfortable.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
)

func main() {
	opts := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends the program at once
	var err error
	if opts.command != nil {
		err = runCommand(ctx, opts)
	} else {
		err = runRelay(ctx, opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", inWords(err))
		os.Exit(1)
	}
}

// hostname is the relay's name, in its greeting and in bounces.
const hostname = "localhost"

func runRelay(ctx context.Context, opts options) error {
	// First the ports and files: a password that is shown once had better not
	// be made in vain.
	ports, err := listen(opts.listen, opts.listenTLS, opts.console)
	if err != nil {
		return err
	}
	defer ports.close()
	cert, err := certificate()
	if err != nil {
		return err
	}
	st, closeDatabase, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer closeDatabase()
	out := printer{json: opts.json}
	// What happens is printed, so the log is left with troubles.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	dest, err := openDestination(ctx, opts.upstream, st, out, logger)
	if err != nil {
		return err
	}
	defer dest.close()
	creds := &credentials.Manager{Store: st}
	first, err := setUp(ctx, creds.Tenant(tenant), opts.domain)
	if err != nil {
		return err
	}

	starttls, implicit, web := ports[0], ports[1], ports[2]
	access := accessTo(starttls.Addr().String(), implicit.Addr().String())
	srv := &relay.Server{
		Hostname:    hostname,
		Credentials: creds,
		Forwarder:   out.announce(dest),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
		OnEvent:     out.event,
		Logger:      logger,
	}
	pages := newConsole(creds, access, logger)
	defer pages.Close()
	ended := make(chan error, 3)
	go func() { ended <- srv.Serve(starttls) }()
	go func() { ended <- srv.ServeTLS(implicit) }()
	go func() { ended <- serveConsole(pages, web) }()
	out.print(ready{"http://" + web.Addr().String() + "/", access.with(first), dest})
	endDelivery := dest.start()

	select {
	case err = <-ended:
		srv.Close()
	case <-ctx.Done():
		err = shutDown(srv)
	}
	// No more mail comes in. The database is closed when none goes out, either.
	return errors.Join(err, endDelivery())
}

// listeners are what the program listens on.
type listeners []net.Listener

func listen(addrs ...string) (listeners, error) {
	var ls listeners
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			ls.close()
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func (ls listeners) close() {
	for _, l := range ls {
		l.Close()
	}
}

// shutDown lets messages in progress finish, within reason.
func shutDown(srv *relay.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if srv.Shutdown(ctx) == nil {
		return nil
	}
	srv.Close()
	return errors.New("a message took too long to arrive and was cut off; its sender knows that it wasn't accepted")
}
