// Mta is a whole sending server in one program, for a machine that may connect
// to port 25 of others: it takes mail from SMTP users, queues it in SQLite, signs
// it (DKIM), and delivers it to the recipients' own hosts (MX). All settings come
// from the environment:
//
//	GATEPOST_HOSTNAME     the server's name; its address has this name in the DNS, and the name this address
//	GATEPOST_CERTIFICATE  file with the certificate chain for that name, in PEM
//	GATEPOST_KEY          file with its key
//	GATEPOST_DATABASE     file of the SQLite database (default gatepost.db)
//	GATEPOST_DKIM         directory of the DKIM keys, a file SELECTOR.pem for each (default dkim)
//	GATEPOST_LISTEN       address for STARTTLS (default :587)
//	GATEPOST_LISTEN_TLS   address for TLS from the first byte (default :465)
//
// A first DKIM key is made if there is none. The log says which TXT records the
// DNS must have for the keys; all domains have the same.
//
// Tenants, domains and SMTP users are made by the product, by a
// [credentials.Manager] in this process or in another one on the same database.
// The log is JSON on standard error, the exit status 1 after an error. How a
// certificate is renewed while the server runs is in the example production.
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

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
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
	out := &mx.Forwarder{Hostname: set.hostname, Logger: log}
	go func() {
		if err := out.CheckSelf(ctx); err != nil {
			log.Warn("other hosts may refuse mail from here", "error", err)
		}
	}()
	if err := run(ctx, set, out, log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

// run runs the server until ctx ends. Mail goes out by way of out.
func run(ctx context.Context, set settings, out *mx.Forwarder, log *slog.Logger) error {
	defer out.Close()
	cert, err := tls.LoadX509KeyPair(set.certFile, set.keyFile)
	if err != nil {
		return fmt.Errorf("GATEPOST_CERTIFICATE and GATEPOST_KEY: %w", err)
	}
	keys, err := loadKeys(set.keyDir)
	if err != nil {
		return fmt.Errorf("GATEPOST_DKIM: %w", err)
	}
	if err := keys.tell(log); err != nil {
		return fmt.Errorf("GATEPOST_DKIM: %w", err)
	}
	db, err := openDatabase(set.database)
	if err != nil {
		return fmt.Errorf("GATEPOST_DATABASE: %w", err)
	}
	defer db.Close()
	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(ctx); err != nil {
		return fmt.Errorf("GATEPOST_DATABASE: %w", err)
	}

	signer := &dkim.Signer{Keys: keys.of, Next: out, Logger: log}
	q := &queue.Queue{Spool: st, Next: signer, Destination: mx.Destination, Hostname: set.hostname, Node: "mta", Logger: log}
	srv := &relay.Server{
		Hostname:    set.hostname,
		Credentials: &credentials.Manager{Store: st, Logger: log},
		Forwarder:   q,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
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
	defer srv.Close()
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(starttls) }()
	go func() { ended <- srv.ServeTLS(implicit) }()
	select {
	case err := <-ended: // it can't
		return err
	case <-ctx.Done():
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return srv.Shutdown(deadline) // messages in progress are let in
	}
}

func openDatabase(file string) (*sql.DB, error) {
	// Only the user may read it. SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"+
		"&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-32000)") // for mail; see package sqlstore
	if err == nil {
		db.SetMaxOpenConns(20)
		db.SetMaxIdleConns(20)
	}
	return db, err
}
