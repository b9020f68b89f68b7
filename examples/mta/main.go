// Mta is a whole sending server in one program, for a machine that may connect
// to port 25 of others: it takes mail from SMTP users, queues it in SQLite, signs
// it (DKIM), and delivers it to the recipients' own hosts (MX). All settings come
// from the environment:
//
//	GATEPOST_HOSTNAME          the server's name; its address has this name in the DNS, and the name this address
//	GATEPOST_CERTIFICATE       file with the certificate chain for that name, in PEM
//	GATEPOST_KEY               file with its key
//	GATEPOST_DATABASE          file of the SQLite database (default gatepost.db)
//	GATEPOST_DKIM              directory of the DKIM keys, a file SELECTOR.pem for each (default dkim)
//	GATEPOST_LISTEN            address for STARTTLS (default :587)
//	GATEPOST_LISTEN_TLS        address for TLS from the first byte (default :465)
//	GATEPOST_SHUTDOWN_TIMEOUT  how long messages in progress may take after SIGTERM (default 10s)
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
	_ "embed"
	"fmt"
	"log/slog"
	"os"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/daemon"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// source begins with the comment that -help prints.
//
//go:embed main.go
var source string

// settings are what the environment says.
type settings struct {
	daemon.Settings
	database string
	keyDir   string // of DKIM
}

func readSettings(env *daemon.Env) settings {
	return settings{env.Settings(), env.Get("GATEPOST_DATABASE", "gatepost.db"), env.Get("GATEPOST_DKIM", "dkim")}
}

func main() {
	daemon.Main(source, readSettings, func(ctx context.Context, set settings, log *slog.Logger) error {
		out := &mx.Forwarder{Hostname: set.Hostname, Logger: log}
		go func() {
			if err := out.CheckSelf(ctx); err != nil {
				log.Warn("other hosts may refuse mail from here", "error", err)
			}
		}()
		return run(ctx, set, out, log)
	})
}

// run runs the server until ctx ends. Mail goes out by way of out.
func run(ctx context.Context, set settings, out *mx.Forwarder, log *slog.Logger) error {
	defer out.Close()
	cert, err := tls.LoadX509KeyPair(set.CertFile, set.KeyFile)
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
	q := &queue.Queue{Spool: st, Next: signer, Destination: mx.Destination, Hostname: set.Hostname, Node: "mta", Logger: log}
	srv := &relay.Server{
		Hostname:    set.Hostname,
		Credentials: &credentials.Manager{Store: st, Logger: log},
		Forwarder:   q,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
		Logger:      log,
	}
	return set.Serve(ctx, srv, log, q.Run)
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
