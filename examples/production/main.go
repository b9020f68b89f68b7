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
//	GATEPOST_LISTEN_METRICS     address for /metrics, for your monitoring only (default: none)
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
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/daemon"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/metrics"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// source begins with the comment that -help prints.
//
//go:embed main.go
var source string

// settings are what the environment says.
type settings struct {
	daemon.Settings
	databaseURL        string
	listenMetrics      string
	upstream, username string
	password           credentials.Password
}

func readSettings(env *daemon.Env) settings {
	s := settings{databaseURL: env.Need("GATEPOST_DATABASE_URL", "the URL of a PostgreSQL database")}
	if _, err := pgx.ParseConfig(s.databaseURL); err != nil && s.databaseURL != "" {
		env.Wrong("GATEPOST_DATABASE_URL is not understood: it has to be like postgres://user:password@host/name")
	}
	s.Settings = env.Settings()
	s.listenMetrics = env.Get("GATEPOST_LISTEN_METRICS", "")
	s.upstream = env.Need("GATEPOST_UPSTREAM", "the host:port that takes the mail")
	if _, _, err := net.SplitHostPort(s.upstream); err != nil && s.upstream != "" {
		env.Wrong("GATEPOST_UPSTREAM is not understood: it has to be like smtp.example.net:587")
	}
	if s.username = env.Get("GATEPOST_UPSTREAM_USERNAME", ""); s.username != "" {
		s.password = credentials.NewPassword(env.Need("GATEPOST_UPSTREAM_PASSWORD", "the password of GATEPOST_UPSTREAM_USERNAME"))
	}
	return s
}

func main() { daemon.Main(source, readSettings, run) }

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
	cert, err := loadCertificate(set.CertFile, set.KeyFile, log)
	if err != nil {
		return err
	}
	upstream := &smarthost.Forwarder{
		Addr: set.upstream, Username: set.username, Password: set.password,
		Hostname: set.Hostname, Logger: log,
	}
	defer upstream.Close()

	machine, err := os.Hostname() // one process of this program on each
	if err != nil {
		return err
	}
	q := &queue.Queue{Spool: st, Next: upstream, Hostname: set.Hostname, Node: machine, Logger: log}
	srv := &relay.Server{
		Hostname:    set.Hostname,
		Credentials: &credentials.Manager{Store: st, Logger: log},
		Forwarder:   q,
		TLSConfig:   &tls.Config{GetCertificate: cert.get},
		Logger:      log,
	}
	if set.listenMetrics != "" {
		l, err := net.Listen("tcp", set.listenMetrics)
		if err != nil {
			return fmt.Errorf("GATEPOST_LISTEN_METRICS: %w", err)
		}
		mux := http.NewServeMux()
		mux.Handle("/metrics", &metrics.Handler{Server: srv, Queue: q})
		pages := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
		defer pages.Close()
		go pages.Serve(l)
	}
	return set.Serve(ctx, srv, q, log)
}
