// Production is a relay as a product runs it: users and the queue in PostgreSQL,
// mail handed to an upstream, a certificate that is renewed while it runs, and a
// graceful end. Any number of them may run on one database; what one leaves in
// the queue when it dies, the others deliver. All settings come from the
// environment:
//
//	GATEPOST_DATABASE_URL       a PostgreSQL database, as postgres://user:password@host/name
//	GATEPOST_HOSTNAME           the relay's name, by which clients know it
//	GATEPOST_CERTIFICATE        file with the certificate chain for that name, in PEM
//	GATEPOST_KEY                file with its key; both are read again when they change
//	GATEPOST_UPSTREAM           host:port that takes the mail; it has STARTTLS and a valid certificate
//	GATEPOST_UPSTREAM_USERNAME  login there (default: none)
//	GATEPOST_UPSTREAM_PASSWORD  its password
//	GATEPOST_LISTEN             address for STARTTLS (default :587)
//	GATEPOST_LISTEN_TLS         address for TLS from the first byte (default :465)
//	GATEPOST_SHUTDOWN_TIMEOUT   how long messages in progress may take after SIGTERM (default 10s)
//
// After that, deliveries under way have 15 seconds more; those that they are too
// short for go on elsewhere, or after a restart.
//
// Tenants, domains and SMTP users are made by the product, by a
// [credentials.Manager] in this process or in another one on the same database.
// The log is JSON on standard error, the exit status 1 after an error.
package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

func main() {
	parseArguments()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	set, wrong := readSettings()
	for _, text := range wrong {
		log.Error(text)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends the program at once
	if err := run(ctx, set, log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, set settings, log *slog.Logger) error {
	db, err := sql.Open("pgx", set.databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(20) // PostgreSQL has 100 by default, for all programs together
	db.SetMaxIdleConns(20)
	st := sqlstore.New(db, sqlstore.Postgres)
	if err := st.Migrate(ctx); err != nil {
		return fmt.Errorf("GATEPOST_DATABASE_URL: %w", err)
	}
	cert, err := loadCertificate(set.certFile, set.keyFile, log)
	if err != nil {
		return err
	}
	upstream := &smarthost.Forwarder{
		Addr: set.upstream, Username: set.username, Password: set.password,
		Hostname: set.hostname, Logger: log,
	}
	defer upstream.Close()

	machine, err := os.Hostname() // one process of this program on each
	if err != nil {
		return err
	}
	q := &queue.Queue{Spool: st, Next: upstream, Hostname: set.hostname, Node: machine, Logger: log}
	srv := &relay.Server{
		Hostname:    set.hostname,
		Credentials: &credentials.Manager{Store: st, Logger: log},
		Forwarder:   q,
		TLSConfig:   &tls.Config{GetCertificate: cert.get},
		Logger:      log,
	}
	delivery, endDelivery := context.WithCancel(context.Background())
	delivered := make(chan error, 1)
	go func() { delivered <- q.Run(delivery) }()
	err = serve(ctx, set, srv, log)
	endDelivery() // now that no more mail comes in
	return errors.Join(err, <-delivered)
}

// serve takes mail until ctx ends.
func serve(ctx context.Context, set settings, srv *relay.Server, log *slog.Logger) error {
	starttls, implicit, err := set.open()
	if err != nil {
		return err
	}
	log.Info("listening", "STARTTLS", starttls.Addr().String(), "TLS", implicit.Addr().String())
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(starttls) }()
	go func() { ended <- srv.ServeTLS(implicit) }()
	select {
	case err := <-ended: // it can't
		srv.Close()
		return err
	case <-ctx.Done():
		return shutDown(srv, set.shutdownTimeout)
	}
}

// shutDown lets messages in progress finish within the timeout. A message that is
// cut off was not accepted, and its sender knows that.
func shutDown(srv *relay.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := srv.Shutdown(ctx)
	srv.Close()
	if err != nil {
		return fmt.Errorf("messages in progress were cut off after %v", timeout)
	}
	return nil
}
