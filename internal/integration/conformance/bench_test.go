package conformance_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// BenchmarkLookup measures a login's look-up on SQLite, of any user among
// 1,000,000. The yardstick is the same among 1,000, which are all in SQLite's
// cache. With a million, most look-ups read two pages into it and evict two. A
// larger cache, larger pages, or a table with a row id did not help; a memory
// map is.
func BenchmarkLookup(b *testing.B) {
	for _, backend := range sqlite() {
		b.Run(backend.name, func(b *testing.B) {
			lookups := func(users int) func(n int) error {
				st := filled(b, backend, users)
				return func(n int) error {
					for range n {
						username := fmt.Sprintf("u%07d", rand.IntN(users))
						if _, _, _, err := st.Lookup(b.Context(), username); err != nil {
							return err
						}
					}
					return nil
				}
			}
			yardstick.Compare(b, lookups(1_000), lookups(1_000_000))
		})
	}
}

// BenchmarkLogin connects, does the TLS handshake, logs in with a password that
// was verified before, and quits. The yardstick does all that but log in.
func BenchmarkLogin(b *testing.B) {
	for _, backend := range sqlite() {
		b.Run(backend.name, func(b *testing.B) {
			_, st := backend.pool(b)
			addr, auth := serve(b, st, discard)
			config := relaytest.ClientTLS()
			visitors := func(lines ...string) func(n int) error {
				visitor := func() error { return visit(addr, config, lines) }
				return yardstick.Parallel(slices.Repeat([]func() error{visitor}, 10))
			}
			yardstick.Compare(b, visitors("EHLO b.test", "QUIT"), visitors("EHLO b.test", auth, "QUIT"))
		})
	}
}

var quiet = slog.New(slog.DiscardHandler)

// discard takes everything and forgets it.
var discard = relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })

// serve starts a relay with one new user in front of f, and returns its address
// and the line with which the user logs in.
func serve(b *testing.B, st store.Store, f relay.Forwarder) (addr, auth string) {
	b.Helper()
	return serveAs(b, st, &relay.Server{Forwarder: f})
}

// serveAs is serve with a Server that has its other fields.
func serveAs(b *testing.B, st store.Store, srv *relay.Server) (addr, auth string) {
	b.Helper()
	creds := &credentials.Manager{Store: st}
	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(b.Context(), "acme.example"); err != nil && !errors.Is(err, store.ErrTaken) {
		b.Fatal(err)
	}
	user, password, err := acme.AddUser(b.Context(), "acme.example", "the shop")
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv.Hostname, srv.Credentials, srv.Logger = "relay.test", creds, quiet
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}
	go srv.ServeTLS(l)
	b.Cleanup(func() { srv.Close() })
	plain := "\x00" + user.Username + "\x00" + password.Reveal()
	return l.Addr().String(), "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte(plain))
}

// visit connects, and says each line once the one before is answered.
func visit(addr string, config *tls.Config, lines []string) error {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				return err
			}
		}
		for {
			reply, err := r.ReadString('\n')
			if err != nil || reply[0] != '2' {
				return fmt.Errorf("%.10q was answered %q, %v", line, reply, err)
			}
			if reply[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// sqlite returns the backends for SQLite.
func sqlite() (list []backend) {
	for _, backend := range append(backends[:len(backends):len(backends)], mapped) {
		if backend.dialect == sqlstore.SQLite {
			list = append(list, backend)
		}
	}
	return list
}

// filled returns a store of n users, u0000000 and so on.
func filled(b *testing.B, backend backend, n int) *sqlstore.Store {
	b.Helper()
	dsn := backend.create(b)
	st := backend.open(b, dsn)
	if err := st.AddDomain(b.Context(), domain, 0); err != nil {
		b.Fatal(err)
	}
	db := backend.openDB(b, dsn)
	tx, err := db.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	for _, statement := range []string{
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
		 INSERT INTO gatepost_usernames SELECT printf('u%07d', i) FROM n`,
		`INSERT INTO gatepost_users (tenant, domain, username, name, generation, created, password_set, last_connection, last_from, hash)
		 SELECT 'acme', 'acme.example', username, 'the shop', 1, 0, 0, 0, '192.0.2.1',
		        '$argon2id$v=19$m=19456,t=2,p=1$' || hex(randomblob(11)) || '$' || hex(randomblob(21))
		 FROM gatepost_usernames WHERE ? > 0`,
	} {
		if _, err := tx.ExecContext(b.Context(), statement, n); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	return st
}
