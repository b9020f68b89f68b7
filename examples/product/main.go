// Product is a product with everything in one process: the relay, the queue and
// the console, on SQLite or PostgreSQL. It is the shortest program that loses no
// mail; the example production adds settings and a certificate that is renewed.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

const hostname = "smtp.example.com" // yours: clients connect to it by this name

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, dialect, err := open(os.Getenv("DATABASE"))
	if err != nil {
		return err
	}
	defer db.Close()
	st := sqlstore.New(db, dialect)
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
	if err != nil {
		return err
	}

	upstream := &smarthost.Forwarder{
		Addr:     os.Getenv("UPSTREAM"), // such as smtp.example.net:587
		Username: os.Getenv("UPSTREAM_USERNAME"),
		Password: credentials.NewPassword(os.Getenv("UPSTREAM_PASSWORD")),
	}
	defer upstream.Close()
	q := &queue.Queue{Spool: st, Next: upstream, Hostname: hostname, Node: hostname}
	creds := &credentials.Manager{Store: st}
	srv := &relay.Server{
		Hostname:    hostname,
		Credentials: creds,
		Forwarder:   q, // or upstream: then the client waits until the upstream has the message
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{cert}},
	}
	pages := &console.Handler{
		Credentials: creds,
		SMTPHost:    hostname,
		Tenant: func(*http.Request) (store.TenantID, error) {
			return "acme", nil // yours: the customer who is signed in
		},
	}
	http.Handle("/smtp/", http.StripPrefix("/smtp", pages))

	return serve(ctx, srv, q)
}

// serve serves until ctx ends, a port fails or the delivery ends. Then messages in
// progress finish. The delivery ends with an error if another process has the same
// Node: with several replicas, give each a Node of its own, such as its host name.
func serve(ctx context.Context, srv *relay.Server, q *queue.Queue) error {
	delivering, endDelivery := context.WithCancel(context.Background())
	delivered := make(chan error, 1)
	go func() { delivered <- q.Run(delivering); close(delivered) }()
	ended := make(chan error, 3)
	go func() { ended <- srv.ListenAndServe(":587") }()
	go func() { ended <- srv.ListenAndServeTLS(":465") }()
	go func() { ended <- http.ListenAndServe("127.0.0.1:8080", nil) }()
	var err error
	select {
	case err = <-ended:
	case err = <-delivered:
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(deadline), srv.Close())
	endDelivery() // no more mail comes in
	return errors.Join(err, <-delivered)
}

// open opens a database: a postgres:// URL, or else the name of a file for SQLite.
func open(name string) (*sql.DB, sqlstore.Dialect, error) {
	if strings.HasPrefix(name, "postgres://") {
		db, err := sql.Open("pgx", name)
		return db, sqlstore.Postgres, err
	}
	file := cmp.Or(name, "product.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	return db, sqlstore.SQLite, err
}
