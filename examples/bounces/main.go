// Bounces receives the reports of late bounces for a relay: servers send them to
// the return addresses that a bounces.Rewriter has made. It runs beside the relay, on
// the same SQLite database, and is what the MX record of the return addresses leads
// to. It takes mail for these addresses and no other. All settings come from the
// environment:
//
//	GATEPOST_HOSTNAME        the server's name, to which the MX record leads
//	GATEPOST_BOUNCE_SECRETS  secrets of the Rewriter, the newest first, with commas between them
//	GATEPOST_BOUNCE_DOMAIN   domain of the return addresses; its records are checked at the start (optional)
//	GATEPOST_DATABASE        file of the SQLite database (default gatepost.db)
//	GATEPOST_LISTEN          address to listen on (default :25)
//	GATEPOST_CERTIFICATE     file with the certificate chain for STARTTLS, in PEM (optional)
//	GATEPOST_KEY             file with its key (optional)
//
// A failure is recorded in the history of the mail, if the relay's queue records it
// (Queue.Record). Every report is then delivered to the mail host of the original
// sender, while the other server waits: if that fails, the other server sends it
// again.
//
// Only the relay calls History.Run: what another process applied would reach neither its
// webhooks nor its suppression list. So a report about mail whose events the relay has not
// applied yet waits for up to 10 seconds, and is then sent again by the other server.
//
// The log is JSON on standard error, the exit status 1 after an error.
package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/daemon"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// source begins with the comment that -help prints.
//
//go:embed main.go
var source string

// settings are what the environment says.
type settings struct {
	hostname, domain  string
	secrets           []credentials.Password
	database, listen  string
	certFile, keyFile string
}

func readSettings(env *daemon.Env) settings {
	set := settings{
		hostname: env.Need("GATEPOST_HOSTNAME", "the server's name, to which the MX record leads"),
		domain:   env.Get("GATEPOST_BOUNCE_DOMAIN", ""),
		database: env.Get("GATEPOST_DATABASE", "gatepost.db"),
		listen:   env.Get("GATEPOST_LISTEN", ":25"),
		certFile: env.Get("GATEPOST_CERTIFICATE", ""),
		keyFile:  env.Get("GATEPOST_KEY", ""),
	}
	for secret := range strings.SplitSeq(env.Need("GATEPOST_BOUNCE_SECRETS", "the secrets of the Rewriter"), ",") {
		set.secrets = append(set.secrets, credentials.NewPassword(secret))
	}
	return set
}

func main() {
	daemon.Main(source, readSettings, func(ctx context.Context, set settings, log *slog.Logger) error {
		out := &mx.Forwarder{Hostname: set.hostname, Logger: log}
		defer out.Close()
		go func() {
			if set.domain == "" {
				return
			}
			if err := bounces.CheckDomain(ctx, nil, set.domain, set.hostname); err != nil {
				log.Warn("reports do not come here", "error", err)
			}
		}()
		return run(ctx, set, out, log)
	})
}

// run takes reports until ctx ends. It passes them on by way of out.
func run(ctx context.Context, set settings, out relay.Forwarder, log *slog.Logger) error {
	db, err := sql.Open("sqlite", "file:"+set.database+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		return fmt.Errorf("GATEPOST_DATABASE: %w", err)
	}
	defer db.Close()
	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(ctx); err != nil {
		return fmt.Errorf("GATEPOST_DATABASE: %w", err)
	}
	hist := &history.History{Store: st, Logger: log} // without Run, which belongs to the relay
	srv := &bounces.Server{
		Hostname: set.hostname,
		Receiver: &bounces.Receiver{Secrets: set.secrets, Bounced: hist.Bounced, Forwarder: out, Logger: log},
		Logger:   log,
	}
	if set.certFile != "" {
		cert, err := tls.LoadX509KeyPair(set.certFile, set.keyFile)
		if err != nil {
			return fmt.Errorf("GATEPOST_CERTIFICATE and GATEPOST_KEY: %w", err)
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	return serve(ctx, set, srv, log)
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, set settings, srv *bounces.Server, log *slog.Logger) error {
	l, err := net.Listen("tcp", set.listen)
	if err != nil {
		return fmt.Errorf("GATEPOST_LISTEN: %w", err)
	}
	log.Info("listening", "address", l.Addr().String())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	srv.Shutdown(deadline) // a message that is cut off is sent again
	srv.Close()
	<-served
	return nil
}
