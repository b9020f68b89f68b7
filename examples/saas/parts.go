package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// openStores opens the database and makes its tables. requests is for webhooks, which wait
// in tables of their own.
func openStores(ctx context.Context) (db *sql.DB, st, requests *sqlstore.Store, err error) {
	db, dialect, err := openDatabase(cmp.Or(os.Getenv("DATABASE"), "saas.db"))
	if err != nil {
		return nil, nil, nil, err
	}
	st, requests = sqlstore.New(db, dialect), sqlstore.New(db, dialect)
	requests.TablePrefix = "webhook_"
	if err = errors.Join(st.Migrate(ctx), requests.Migrate(ctx)); err != nil {
		db.Close()
	}
	return db, st, requests, err
}

// certificate returns the certificate that the environment names, or one for this
// machine only.
func certificate() (cert tls.Certificate, named bool, err error) {
	if file := os.Getenv("CERTIFICATE"); file != "" {
		cert, err = tls.LoadX509KeyPair(file, os.Getenv("KEY"))
		return cert, true, err
	}
	return relaytest.Certificate(), false, nil
}

// ports listen for SMTP with STARTTLS, for SMTP with TLS, and for the pages.
type ports [3]net.Listener

// number returns the number of a port.
func (p ports) number(i int) int { return p[i].Addr().(*net.TCPAddr).Port }

func listen(withTLS bool) (p ports, err error) {
	for i, addr := range []string{*listenAddr, *listenTLS, *webAddr} {
		if p[i], err = net.Listen("tcp", addr); err != nil {
			return p, err
		}
	}
	if !withTLS && !p[2].Addr().(*net.TCPAddr).IP.IsLoopback() {
		return p, errors.New("-web: others can reach this address, so set CERTIFICATE and KEY")
	}
	return p, nil
}

// upstream returns what takes the mail, and a function that closes it.
func upstream() (next relay.Forwarder, shut func()) {
	addr := os.Getenv("UPSTREAM")
	if addr == "" {
		return outbox("outbox"), func() {}
	}
	f := &smarthost.Forwarder{
		Addr: addr, Username: os.Getenv("UPSTREAM_USERNAME"), Password: credentials.NewPassword(os.Getenv("UPSTREAM_PASSWORD")),
	}
	return f, func() { f.Close() }
}

// openDatabase opens a postgres:// URL, or else a file with SQLite.
func openDatabase(name string) (*sql.DB, sqlstore.Dialect, error) {
	if strings.HasPrefix(name, "postgres://") {
		db, err := sql.Open("pgx", name)
		if err == nil {
			db.SetMaxOpenConns(20) // PostgreSQL has 100 by default, for all programs together
			db.SetMaxIdleConns(20)
		}
		return db, sqlstore.Postgres, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // only this user may read it
	if err != nil {
		return nil, 0, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	return db, sqlstore.SQLite, err
}

// outbox writes each message to a file, and refuses mail to unknown@ any domain.
func outbox(dir string) relay.ForwarderFunc {
	return func(_ context.Context, m *relay.Message) error {
		var refused []relay.RefusedRecipient
		for _, to := range m.To {
			if strings.HasPrefix(to.Address, "unknown@") {
				refused = append(refused, relay.RefusedRecipient{
					Address: to.Address, Err: &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "No such user here", Host: "outbox.example"},
				})
			}
		}
		if len(refused) < len(m.To) {
			content, err := io.ReadAll(m.Content())
			if err == nil {
				err = os.MkdirAll(dir, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, m.ID+".eml"), content, 0o600)
			}
			if err != nil {
				return err
			}
		}
		if len(refused) > 0 {
			return &relay.RefusedError{Recipients: refused, Partial: true}
		}
		return nil
	}
}
