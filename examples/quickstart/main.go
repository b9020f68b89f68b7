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
// The client then has to wait for that server, and is told what it says.
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

func runRelay(ctx context.Context, opts options) error {
	// First the ports: a password that is shown once had better not be made
	// in vain.
	starttls, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return err
	}
	defer starttls.Close()
	implicit, err := net.Listen("tcp", opts.listenTLS)
	if err != nil {
		return err
	}
	defer implicit.Close()
	web, err := net.Listen("tcp", opts.console)
	if err != nil {
		return err
	}
	defer web.Close()
	cert, err := certificate()
	if err != nil {
		return err
	}
	dest, err := openDestination(opts.upstream)
	if err != nil {
		return err
	}
	defer dest.close()
	st, closeDatabase, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer closeDatabase()
	creds := &credentials.Manager{Store: st}
	first, err := setUp(ctx, creds.Tenant(tenant), opts.domain)
	if err != nil {
		return err
	}

	out := printer{json: opts.json}
	// What happens is printed, so the log is left with troubles.
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	access := accessTo(starttls.Addr().String(), implicit.Addr().String())
	srv := &relay.Server{
		Hostname:    "localhost",
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

	select {
	case err := <-ended:
		srv.Close()
		return err
	case <-ctx.Done():
		return shutDown(srv)
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
